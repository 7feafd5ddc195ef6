// SPDX-License-Identifier: Apache-2.0
// A trace has lengths and equal blocks, no text: equal blocks get equal made-up words.
#include <algorithm>
#include <cmath>

#include "cairn/load/workload.h"

namespace cairn {
namespace {

constexpr double kMax = 1 << 30;  // of seconds and of words: traces may say anything

std::size_t words_of(double tokens, double scale, double tokens_per_word) {
  return static_cast<std::size_t>(std::clamp(std::round(tokens * scale / tokens_per_word), 1.0, kMax));
}

SeededRandom random_of(const std::string& salt, const Digest& key) {
  return {0, salt + std::string(key.bytes.begin(), key.bytes.end())};
}

// Holds the trace: plans outlive their workload.
struct TraceText {
  std::shared_ptr<const Trace> trace;
  std::size_t request;
  std::string salt;
  double scale, tokens_per_word;

  std::string operator()() const {
    const Trace::Request& from = trace->requests[request];
    std::string made;
    std::uint64_t tokens = 0;
    for (const std::uint32_t number : from.input) {
      const Trace::Block& block = trace->blocks[number];
      made += made_words(random_of(salt, block.item.key), words_of(block.tokens, scale, tokens_per_word));
      tokens += block.tokens;
    }
    if (tokens < from.input_tokens) {
      const std::size_t words = words_of(static_cast<double>(from.input_tokens - tokens), scale, tokens_per_word);
      made += made_words({0, salt + "cairn.load.rest", request}, words);
    }
    return made;
  }
};

}  // namespace

RoundSpec LoadWorkload::trace_round(const std::string& salt) const {
  RoundSpec plan;
  const auto& requests = trace_->requests;
  const std::size_t count = options_.limit == 0 ? requests.size() : std::min(options_.limit, requests.size());
  double first_s = requests.front().arrival_s;
  for (std::size_t i = 0; i < count; ++i) first_s = std::min(first_s, requests[i].arrival_s);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t told = requests[i].output_tokens;
    const std::size_t output = told == 0 ? options_.max_tokens : words_of(static_cast<double>(told), options_.scale, 1);
    plan.conversations.push_back({.client = i,
                                  .due_s = std::min((requests[i].arrival_s - first_s) / options_.speed, kMax),
                                  .turns = {{TraceText{trace_, i, salt, options_.scale, tokens_per_word_}, output}}});
  }
  std::ranges::stable_sort(plan.conversations, {}, &LoadConversation::due_s);
  return plan;
}

}  // namespace cairn
