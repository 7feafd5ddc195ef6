// SPDX-License-Identifier: Apache-2.0
// What a block of a prompt tree looks like to a policy that wants to know whether blocks like it came back.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace cairn {

// Blocks that were new one after the other: what one request added to what was known. Long additions are documents that
// seldom return; short ones behind something that was used again are turns of a conversation.
struct AddedRun {
  std::uint32_t blocks = 0;
  bool continues = false;  // behind a block that few others follow, so behind a conversation, not a system prompt
};

struct BlockHistory {
  std::uint32_t uses = 0;      // the insertion among them
  std::uint32_t children = 0;  // different blocks seen behind it
  std::shared_ptr<AddedRun> run;
};

inline constexpr std::uint32_t kHubChildren = 8;  // followed by more: a shared prompt
inline constexpr std::size_t kBlockClasses = 4 * 2 * 2 * 4;

// Puts a new block behind `parent`, or alone when that is null.
inline void join_run(BlockHistory& block, BlockHistory* parent) {
  if (parent != nullptr && parent->uses == 1 && parent->children == 0) {
    block.run = parent->run;
  } else {
    block.run = std::make_shared<AddedRun>();
    block.run->continues = parent != nullptr && parent->children <= kHubChildren;
  }
  ++block.run->blocks;
  if (parent != nullptr) ++parent->children;
}

// Requires: join_run() was called. Below kBlockClasses.
inline std::size_t block_class(const BlockHistory& block) {
  const std::uint32_t length = block.run->blocks;
  const std::size_t length_class = length <= 2 ? 0 : length <= 8 ? 1 : length <= 32 ? 2 : 3;
  const std::size_t uses_class = std::clamp(block.uses, 1u, 4u) - 1;
  const std::size_t last = block.children == 0 ? 1 : 0;  // the end of a prompt is hardly ever continued as it is
  return ((uses_class * 2 + last) * 2 + (block.run->continues ? 1 : 0)) * 4 + length_class;
}

}  // namespace cairn
