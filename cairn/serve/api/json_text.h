// SPDX-License-Identifier: Apache-2.0
// JSON from strangers, with bounds on what it may unfold to, and JSON to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "cairn/serve/api/api_error.h"

namespace cairn {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

inline constexpr std::size_t kDeepestJson = 32;
inline constexpr std::size_t kMaxJsonValues = std::size_t{1} << 20;

// An object; 400 for everything else, and for what nests deeper or has more values than the bounds above.
ApiResult<Json> parse_object(std::string_view text);

// One line. Bytes that are not UTF-8 become U+FFFD.
std::string json_text(const OrderedJson& value);

// Known fields of an object. A field that is null counts as absent; one of another type is a 400 that names it.
class Fields {
 public:
  // `within` stands before the names in messages: "messages[2]."
  explicit Fields(const Json& object, std::string within = "") : object_(object), within_(std::move(within)) {}

  const Json* find(const std::string& name) const;  // null when absent
  std::string path(const std::string& name) const { return within_ + name; }
  ApiResult<std::optional<std::string>> text(const std::string& name) const;
  ApiResult<std::string> needed_text(const std::string& name) const;  // absent is an error too
  ApiResult<std::optional<bool>> flag(const std::string& name) const;
  ApiResult<std::optional<double>> number(const std::string& name, double least, double most) const;
  ApiResult<std::optional<std::int64_t>> integer(const std::string& name, std::int64_t least, std::int64_t most) const;

 private:
  const Json& object_;
  const std::string within_;
};

}  // namespace cairn
