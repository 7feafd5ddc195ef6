// SPDX-License-Identifier: Apache-2.0
// What is asked of a server: one streamed request, timed, and facts about the server before it is measured.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/load/figures.h"
#include "cairn/load/http_client.h"
#include "cairn/load/workload.h"

namespace cairn::load {

struct Message {
  std::string role, content;
};

struct AskOptions {
  bool chat = false;        // /v1/chat/completions; else /v1/completions with the contents joined
  bool ignore_eos = false;  // sent as a field, for servers that know it
  std::chrono::milliseconds timeout{300000};
};

struct Question {
  std::string body;
  std::size_t max_tokens = 0;  // that it asks for
};

// Greedy, streamed, with usage.
Question ask_body(const std::vector<Message>& messages, std::size_t max_tokens, const std::string& model,
                  const AskOptions& options);

// Sends the question and fills everything of the record but who asks and when it was due. `on_piece` hears of every
// piece of text. Returns the text of the answer.
std::string ask(const HttpClient& client, Question question, const AskOptions& options,
                std::chrono::steady_clock::time_point round_start, Record& record,
                const std::function<void()>& on_piece);

// The first of /v1/models. Errors: kIo (unreachable), kInvalidArgument (no list of models, a wrong key).
Result<std::string> first_model(const HttpClient& client, std::chrono::milliseconds timeout);

// Gives each target its model: the one given, or the first of its list where that is empty. A given model is also right
// for a server without a list. Errors: those of first_model.
Status choose_models(std::span<Target> targets, DeadlineWatch& watch, const std::string& given,
                     std::chrono::milliseconds timeout);

// By POST /tokenize, as cairn, llama-server have it ({"content"}). Nothing: the server does not offer it. Errors: kIo.
Result<std::optional<std::size_t>> count_tokens(const HttpClient& client, const std::string& text,
                                                std::chrono::milliseconds timeout);

// How long texts are in a server's tokens.
struct TokenLengths {
  TokenCounter count;   // empty: the server does not count
  double per_word = 1;  // of made_words
};
// Tried on made-up text of `seed`. The client must outlive what is returned. Errors: kIo.
Result<TokenLengths> token_lengths(const HttpClient& client, std::uint64_t seed, std::chrono::milliseconds timeout);

}  // namespace cairn::load
