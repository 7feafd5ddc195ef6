// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/api_error.h"

#include "cairn/serve/api/json_text.h"

namespace cairn {
namespace {

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

HttpReply error_reply(const ApiError& error) {
  HttpReply reply{.status = error.status, .body = error_body(error)};
  if (error.retry_after_s > 0) reply.headers.emplace_back("Retry-After", std::to_string(error.retry_after_s));
  if (!error.allow.empty()) reply.headers.emplace_back("Allow", error.allow);
  if (error.status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

}  // namespace cairn
