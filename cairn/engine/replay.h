// SPDX-License-Identifier: Apache-2.0
// A model reads its prompt again, told to repeat it, so that a token policy sees which keys that takes ("KVzip:
// Query-Agnostic KV Cache Compression with Context Reconstruction", Kim et al. 2025, arXiv 2505.23416). It costs about
// as much as the prompt did, and a second product of all these queries with all keys.
#pragma once

#include <algorithm>
#include <cstddef>

#include "cairn/base/result.h"
#include "cairn/cache/sequence.h"

namespace cairn {

class Engine;

// Tokens of the prompt that are repeated at a time.
inline constexpr std::size_t kReplayTokens = 2048;

// Near the end of the context the parts are smaller, but never below this: each part costs a pass over all before it.
inline constexpr std::size_t kMinReplayTokens = 256;

// What the context must hold beyond a prompt for its replay, the words that ask for it included.
constexpr std::size_t replay_room(std::size_t prompt_tokens) {
  constexpr std::size_t kRequestTokens = 64;
  return std::min(prompt_tokens, kMinReplayTokens) + kRequestTokens;
}

// Nothing happens unless sequence.wants_replay(). The sequence's tokens do not change. What it saw by an error stays
// with the sequence: called again, it goes on with the next part. Errors: kTooLong where the
// context has no room for the prompt and a part of it again, those of Engine::forward.
Status replay_prompt(Engine& engine, Sequence& sequence);

}  // namespace cairn
