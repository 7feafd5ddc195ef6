// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/json.h"

#include <algorithm>

namespace cairn::api {
namespace {

// Before anything is built: the text of a small request can unfold to gigabytes of empty arrays, and code that walks
// values calls itself once per level.
ApiResult<void> check_bounds(std::string_view text) {
  std::size_t depth = 0, values = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    if (c == '[' || c == '{') ++depth, ++values;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    values += c == ',';
    if (depth > kDeepestJson) {
      return refuse({.message = "the JSON nests deeper than " + std::to_string(kDeepestJson), .code = "invalid_json"});
    }
    if (values > kMaxJsonValues) {
      return refuse(
          {.message = "the JSON has more than " + std::to_string(kMaxJsonValues) + " values", .code = "invalid_json"});
    }
  }
  return {};
}

const char* type_of(int status) {
  switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

OrderedJson text_or_null(const std::string& text) {
  return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
}

}  // namespace

ApiResult<Json> parse_object(std::string_view text) {
  CAIRN_TRY_VOID(check_bounds(text));
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return refuse({.message = "the body is not valid JSON", .code = "invalid_json"});
  if (!value.is_object()) return refuse({.message = "the body must be a JSON object", .code = "invalid_json"});
  return value;
}

std::string json_text(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

const Json* Fields::find(const std::string& name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

ApiResult<std::optional<std::string>> Fields::text(const std::string& name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return bad_field(path(name), "must be a string");
  return value->get<std::string>();
}

ApiResult<std::string> Fields::needed_text(const std::string& name) const {
  const Json* value = find(name);
  if (value == nullptr) return bad_field(path(name), "is missing");
  if (!value->is_string()) return bad_field(path(name), "must be a string");
  return value->get<std::string>();
}

ApiResult<std::optional<bool>> Fields::flag(const std::string& name) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return bad_field(path(name), "must be true or false");
  return value->get<bool>();
}

ApiResult<std::optional<double>> Fields::number(const std::string& name, double least, double most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return bad_field(path(name), "must be a number");
  const double number = value->get<double>();
  if (!(number >= least && number <= most)) {
    return bad_field(path(name), "must be between " + Json(least).dump() + " and " + Json(most).dump());
  }
  return number;
}

ApiResult<std::optional<std::int64_t>> Fields::integer(const std::string& name, std::int64_t least,
                                                       std::int64_t most) const {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::string range = "must be a whole number between " + std::to_string(least) + " and " + std::to_string(most);
  if (!value->is_number_integer()) return bad_field(path(name), range);
  // Above the signed range the library keeps it unsigned, and a cast would make it negative.
  if (value->is_number_unsigned() && value->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
    return bad_field(path(name), range);
  }
  const auto number = value->get<std::int64_t>();
  if (number < least || number > most) return bad_field(path(name), range);
  return number;
}

std::unexpected<ApiError> bad_field(std::string param, std::string what) {
  std::string message = "'" + param + "' " + std::move(what);
  return refuse({.message = std::move(message), .param = std::move(param), .code = "invalid_value"});
}

ApiError api_error(const Error& error, bool draining) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument: return {.status = 400, .message = error.message};
    case ErrorCode::kTooLong: return {.status = 400, .message = error.message, .code = "context_length_exceeded"};
    case ErrorCode::kOutOfBudget: return {.status = 400, .message = error.message, .code = "kv_budget_exceeded"};
    case ErrorCode::kUnsupported: return {.status = 501, .message = error.message, .code = "unsupported"};
    case ErrorCode::kBusy:
      if (!draining) {
        return {.status = 429, .message = error.message, .code = "rate_limit_exceeded", .retry_after_s = 1};
      }
      [[fallthrough]];
    case ErrorCode::kCancelled:
      return {.status = 503, .message = error.message, .code = "stopping", .retry_after_s = 5};
    default: return {.status = 500, .message = error.message, .code = "internal_error"};
  }
}

std::string error_body(const ApiError& error) {
  return json_text({{"error",
                     {{"message", error.message},
                      {"type", type_of(error.status)},
                      {"param", text_or_null(error.param)},
                      {"code", text_or_null(error.code)}}}});
}

http::Reply error_reply(const ApiError& error) {
  http::Reply reply{.status = error.status, .body = error_body(error)};
  if (error.retry_after_s > 0) reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after_s));
  if (!error.allow.empty()) reply.headers.emplace_back("Allow", error.allow);
  if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

}  // namespace cairn::api
