// SPDX-License-Identifier: Apache-2.0
// What a server says about itself before it is measured.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "cairn/base/result.h"
#include "cairn/load/http_client.h"

namespace cairn {

// The first of /v1/models. Errors: kIo (unreachable), kInvalidArgument (no list of models, a wrong key).
Result<std::string> first_model(const HttpClient& client, std::chrono::milliseconds timeout);

// By POST /tokenize, as cairn, llama-server have it ({"content"}). Nothing: the server does not offer it. Errors: kIo.
Result<std::optional<std::size_t>> count_tokens(const HttpClient& client, const std::string& text,
                                                std::chrono::milliseconds timeout);

}  // namespace cairn
