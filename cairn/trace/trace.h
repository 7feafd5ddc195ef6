// SPDX-License-Identifier: Apache-2.0
// What requests asked of a cache, without their text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cairn/eviction/eviction.h"

namespace cairn {

// Blocks by number; equal numbers are equal blocks with equal prefixes. Immutable once built.
struct Trace {
  struct Block {
    EvictionItem item;         // bytes are the simulator's business
    std::uint32_t tokens = 0;  // in it
  };
  struct Request {
    std::vector<std::uint32_t> input;   // looked up, then kept, block by block
    std::vector<std::uint32_t> output;  // kept afterwards, never looked up
    std::uint64_t input_tokens = 0;     // those of a part at the end that fills no block included
    double arrival_s = 0;               // after the trace's own zero
    std::uint64_t output_tokens = 0;    // 0: the trace does not say
  };

  std::string format;
  std::uint32_t block_tokens = 0;
  std::vector<Block> blocks;
  std::vector<Request> requests;

  std::uint64_t input_blocks() const {
    std::uint64_t sum = 0;
    for (const Request& request : requests) sum += request.input.size();
    return sum;
  }
};

}  // namespace cairn
