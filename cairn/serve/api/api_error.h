// SPDX-License-Identifier: Apache-2.0
// Errors as OpenAI's clients expect them.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "cairn/base/result.h"
#include "cairn/serve/http/http_message.h"

namespace cairn {

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
HttpReply error_reply(const ApiError& error);

}  // namespace cairn
