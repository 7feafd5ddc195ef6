// SPDX-License-Identifier: Apache-2.0
// What requests asked of a cache, without their text; and traces as they are published.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
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

enum class TraceFormat { kAuto, kMooncake, kShareGpt };  // auto: by the fields of the first line

// Reads the text of a trace file, one JSON object per line.
//
// Mooncake (kvcache-ai, FAST '25): {"input_length", "hash_ids": [...]}; blocks of 512 tokens, equal ids are equal
// blocks behind equal prefixes, the last one may be partial. ShareGPT: {"input_tok_ids": [...], "output_tok_ids":
// [...]?}; whole blocks of 16 tokens, chained by hash over inputs and outputs; what fills no block is not cached. Times
// and output lengths are read where they are: "timestamp" (ms), "output_length"; "arrival_time_ns", "output_toks".
//
// Empty lines are skipped. kCorrupt, also for no request at all; the message says name:line.
Result<Trace> parse_trace(std::string_view text, const std::string& name, TraceFormat format);

}  // namespace cairn
