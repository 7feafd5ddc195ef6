// SPDX-License-Identifier: Apache-2.0
// One line per request on standard error, for people (logfmt) or for machines (JSON).
#pragma once

#include <iosfwd>
#include <memory>
#include <string>

#include "cairn/serve/api/request_record.h"

namespace cairn {

// Thread-safe.
class AccessLog {
 public:
  enum class Form : std::uint8_t { kLogfmt, kJson };
  // To standard error, or to a stream that outlives the log.
  explicit AccessLog(Form form, std::ostream* to = nullptr);
  ~AccessLog();

  void request(const RequestRecord& record);
  // Something that a person should know of.
  void event(const std::string& text);

 private:
  void line(OrderedJson fields);
  struct Impl;
  const Form form_;
  std::unique_ptr<Impl> impl_;
};

// "a=1 b=\"two words\""; what could break a line or a word is escaped.
std::string logfmt(const OrderedJson& fields);

}  // namespace cairn
