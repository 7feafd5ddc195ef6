// SPDX-License-Identifier: Apache-2.0
// JSON from clients, with bounds on what it may unfold to; JSON to them; and errors in the form that OpenAI's clients
// expect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/base/result.h"
#include "cairn/serve/http/message.h"

namespace cairn::api {

struct ApiError {
  int status = 400;
  std::string message{};
  std::string param{};  // the field of the request that is wrong
  std::string code{};
  int retry_after_s = 0;
  std::string allow{};  // methods, with status 405
};

template <class T>
using ApiResult = std::expected<T, ApiError>;

inline std::unexpected<ApiError> refuse(ApiError error) {
  return std::unexpected(std::move(error));
}
// 400, naming the field.
std::unexpected<ApiError> bad_field(std::string param, std::string what);

// How an error of the backend is told; `draining` turns "busy" into "stopping".
ApiError api_error(const Error& error, bool draining = false);

// {"error": {"message", "type", "param", "code"}}
std::string error_body(const ApiError& error);
http::Reply error_reply(const ApiError& error);

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

}  // namespace cairn::api
