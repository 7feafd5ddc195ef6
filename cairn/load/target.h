// SPDX-License-Identifier: Apache-2.0
// A server to be measured, as the command line names it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"

namespace cairn::load {

struct Target {
  std::string name;    // in reports
  std::string origin;  // "http://host:port"
  std::string host;    // of the origin, without the brackets of an address
  int port = 0;
  bool tls = false;
  std::string path;         // before "/v1/...": "" or "/prefix"
  std::string key;          // sent as a bearer token; empty: none
  std::string authorities;  // file of certificates (PEM) that https trusts; empty: those of the system
  std::string model;        // what requests ask for
};

// [NAME=]URL with http or https; a trailing slash and a trailing /v1 are left off. Without a name it is host:port.
// Errors: kInvalidArgument.
Result<Target> parse_target(std::string_view text);

// Several, all with the same key and authorities. Errors: kInvalidArgument also for two of one name and for a key of
// several lines.
Result<std::vector<Target>> parse_targets(std::span<const std::string> texts, const std::string& key,
                                          const std::string& authorities);

}  // namespace cairn::load
