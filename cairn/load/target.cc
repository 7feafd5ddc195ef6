// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/target.h"

#include <algorithm>
#include <charconv>

namespace cairn::load {
namespace {

bool read_port(std::string_view text, int& port) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port > 0 && port < 65536;
}

// HOST, HOST:PORT, [V6] or [V6]:PORT; without a port it is left as it is.
bool read_authority(std::string_view text, std::string& host, int& port) {
  if (text.empty() || text.find_first_of("@ \t?#") != text.npos) return false;
  const bool bracketed = text.front() == '[';
  const std::size_t bracket = bracketed ? text.find(']') : 0;
  if (bracket == text.npos) return false;
  const std::size_t colon = text.find(':', bracket);
  if (colon == 0) return false;
  host = bracketed ? text.substr(1, bracket - 1) : text.substr(0, colon);
  return colon == text.npos ? !bracketed || bracket + 1 == text.size() : read_port(text.substr(colon + 1), port);
}

}  // namespace

Result<Target> parse_target(std::string_view text) {
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, "--url '" + std::string(text) + "': " + what);
  };
  Target target;
  std::string_view url = text;
  const std::size_t scheme = url.find("://"), equals = url.find('=');
  if (equals < scheme) {
    if (equals == 0) return wrong("no name before '='");
    target.name = url.substr(0, equals);
    url.remove_prefix(equals + 1);
  }
  const bool http = url.starts_with("http://"), https = url.starts_with("https://");
  if (!http && !https) return wrong("must be [NAME=]http://HOST:PORT or https://");
  const std::size_t host = url.find("://") + 3, slash = std::min(url.find('/', host), url.size());
  const std::string_view authority = url.substr(host, slash - host);
  target.tls = https;
  target.port = https ? 443 : 80;
  if (!read_authority(authority, target.host, target.port)) return wrong("no HOST or HOST:PORT after ://");
  target.origin = url.substr(0, slash);
  std::string_view path = url.substr(slash);
  if (path.find_first_of(" ?#") != path.npos) return wrong("a path without '?', '#' and blanks is needed");
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/v1")) path.remove_suffix(3);
  target.path = path;
  if (target.name.empty()) target.name = authority;
  return target;
}

Result<std::vector<Target>> parse_targets(std::span<const std::string> texts, const std::string& key,
                                          const std::string& authorities) {
  if (key.find_first_of("\r\n") != key.npos) return fail(ErrorCode::kInvalidArgument, "a key is one line");
  std::vector<Target> targets;
  for (const std::string& text : texts) {
    CAIRN_TRY(Target target, parse_target(text));
    if (std::ranges::find(targets, target.name, &Target::name) != targets.end()) {
      return fail(ErrorCode::kInvalidArgument, "two servers are named '" + target.name + "'; use --url NAME=URL");
    }
    target.key = key;
    target.authorities = authorities;
    targets.push_back(std::move(target));
  }
  return targets;
}

}  // namespace cairn::load
