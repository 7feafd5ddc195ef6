// SPDX-License-Identifier: Apache-2.0
// Answers in OpenAI's JSON: whole ones, and the chunks of a stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/serve/api/json.h"
#include "cairn/serve/backend.h"
#include "cairn/text/tokenizer.h"

namespace cairn::api {

struct AnswerHead {
  bool chat = false;
  std::string id;
  std::string model;
  std::int64_t created = 0;  // Unix time
  const Tokenizer* tokenizer = nullptr;
  bool usage_in_chunks = false;  // "usage": null in all chunks but the last
};

// One choice as it has come so far.
struct AnswerChoice {
  std::string text;
  std::vector<GeneratedPiece> tokens;  // those with log probabilities, if asked for
  FinishReason reason = FinishReason::kStop;
};

std::size_t utf8_length(std::string_view text);  // characters
OrderedJson usage_json(const GenerationUsage& usage);
const char* finish_name(FinishReason reason);

std::string answer_json(const AnswerHead& head, const std::vector<AnswerChoice>& choices, const GenerationUsage& usage);

// "data: {...}\n\n"
std::string sse_event(const OrderedJson& value);
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
inline constexpr std::string_view kSseComment = ": waiting\n\n";  // keeps proxies from closing a silent stream

OrderedJson first_chunk(const AnswerHead& head, std::size_t index, const std::string& echo);
// `text_offset`: the characters of the choice before this piece.
OrderedJson piece_chunk(const AnswerHead& head, std::size_t index, const GeneratedPiece& piece,
                        std::size_t text_offset);
OrderedJson last_chunk(const AnswerHead& head, std::size_t index, FinishReason reason);
OrderedJson usage_chunk(const AnswerHead& head, const GenerationUsage& usage);

}  // namespace cairn::api
