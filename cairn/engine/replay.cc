// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/replay.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cairn/engine/engine.h"

namespace cairn {
namespace {

constexpr std::size_t kLeadTokens = 8;  // of the part before, to say where the next one begins

// What the model is told, in its own tokens.
std::vector<TokenId> request(const Engine& engine, std::span<const TokenId> before) {
  const auto encode = [&](const char* text) { return engine.tokenizer().encode(text, {.add_bos = false}); };
  if (before.empty()) return encode("\n\nRepeat the previous context exactly.\n");
  std::vector<TokenId> tokens = encode("\n\nRepeat the part of the previous context exactly, starting with: ");
  const auto lead = before.last(std::min(before.size(), kLeadTokens));
  tokens.insert(tokens.end(), lead.begin(), lead.end());
  return tokens;
}

}  // namespace

Status replay_prompt(Engine& engine, Sequence& sequence) {
  if (!sequence.wants_replay()) return {};
  const std::vector<TokenId> prompt(sequence.tokens().begin(), sequence.tokens().end());
  for (std::size_t first = sequence.begin_replays(); first < prompt.size();) {
    std::vector<TokenId> told = request(engine, std::span(prompt).first(first));
    const std::size_t used = prompt.size() + told.size();
    const std::size_t room = engine.context() > used ? engine.context() - used : 0;
    const std::size_t count = std::min({prompt.size() - first, kReplayTokens, room});
    if (count < std::min(prompt.size() - first, kMinReplayTokens)) {
      return fail(ErrorCode::kTooLong, "policy '" + sequence.policy_report().policy +
                                           "' reads the prompt again after " + std::to_string(used) +
                                           " tokens, and the context ends at " + std::to_string(engine.context()) +
                                           "; raise --ctx");
    }
    const auto part = std::span(prompt).subspan(first, count);
    told.insert(told.end(), part.begin(), part.end());
    Sequence twin = sequence.replay_fork();
    std::size_t max_rows = Forward::kMaxRows;
    for (std::size_t done = 0; done < told.size();) {
      const std::size_t rows = chunk_rows(twin.size(), told.size() - done, max_rows);
      const ForwardRows batch[] = {{&twin, std::span(told).subspan(done, rows)}};
      if (Status computed = engine.forward(batch); computed) {
        done += rows;
      } else if (twin.recover(computed.error(), rows, engine.pool()) == PassRemedy::kFewerRows) {
        max_rows = rows / 2;
      } else {
        return computed;
      }
    }
    first += count;
    sequence.absorb_replay(twin, first);
  }
  return {};
}

}  // namespace cairn
