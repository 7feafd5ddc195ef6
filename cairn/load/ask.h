// SPDX-License-Identifier: Apache-2.0
// One streamed request, timed.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "cairn/load/http_client.h"
#include "cairn/load/load_record.h"

namespace cairn {

struct LoadMessage {
  std::string role, content;
};

struct AskOptions {
  bool chat = false;        // /v1/chat/completions; else /v1/completions with the contents joined
  bool ignore_eos = false;  // sent as a field, for servers that know it
  std::chrono::milliseconds timeout{300000};
};

struct LoadQuestion {
  std::string body;
  std::size_t max_tokens = 0;  // that it asks for
};

// Greedy, streamed, with usage.
LoadQuestion ask_body(const std::vector<LoadMessage>& messages, std::size_t max_tokens, const std::string& model,
                      const AskOptions& options);

// Sends the question and fills everything of the record but who asks and when it was due. `on_piece` hears of every
// piece of text. Returns the text of the answer.
std::string ask(const HttpClient& client, LoadQuestion question, const AskOptions& options,
                std::chrono::steady_clock::time_point round_start, LoadRecord& record,
                const std::function<void()>& on_piece);

}  // namespace cairn
