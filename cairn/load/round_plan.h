// SPDX-License-Identifier: Apache-2.0
// What is asked of a server in one round: the same for all servers.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace cairn {

// Texts are made when they are needed: a trace at full length is larger than memory. Any thread may make them.
struct LoadTurn {
  std::function<std::string()> text{};
  std::size_t max_tokens = 0;
};

// The turns of one user, each asked when the one before is answered, with all that was said before in front of it.
struct LoadConversation {
  std::size_t client = 0;
  double due_s = 0;          // when the first turn is sent
  bool long_prompt = false;  // sent when every other conversation has got `lead_pieces` pieces of text, or has ended
  std::string system{};      // a message before the first turn; empty: none
  std::vector<LoadTurn> turns{};
};

struct RoundSpec {
  std::vector<LoadTurn> warm_up{};  // asked before, one after the other; not measured
  std::vector<LoadConversation> conversations{};
  std::size_t lead_pieces = 0;

  std::size_t requests() const {
    std::size_t sum = 0;
    for (const LoadConversation& conversation : conversations) sum += conversation.turns.size();
    return sum;
  }
};

}  // namespace cairn
