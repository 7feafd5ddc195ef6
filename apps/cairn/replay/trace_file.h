// SPDX-License-Identifier: Apache-2.0
// Request traces as they are published, one JSON object per line.
//
// Mooncake (kvcache-ai, FAST '25): {"input_length", "hash_ids": [...]}; blocks of 512 tokens, equal ids are equal
// blocks behind equal prefixes, the last one may be partial. ShareGPT: {"input_tok_ids": [...], "output_tok_ids":
// [...]?}; whole blocks of 16 tokens, chained by hash over inputs and outputs; what fills no block is not cached. Times
// and output lengths are read where they are: "timestamp" (ms), "output_length"; "arrival_time_ns", "output_toks".
#pragma once

#include <string>

#include "cairn/base/result.h"
#include "cairn/trace/trace.h"

namespace cairn::cli {

enum class TraceFormat { kAuto, kMooncake, kShareGpt };  // auto: by the fields of the first line

// Empty lines are skipped. Errors: those of read_text; kCorrupt (the message says file:line), also for no request at
// all.
Result<Trace> read_trace(const std::string& path, TraceFormat format);

}  // namespace cairn::cli
