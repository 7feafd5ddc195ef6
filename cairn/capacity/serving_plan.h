// SPDX-License-Identifier: Apache-2.0
// The four metrics of long-context serving (Yao Fu, arXiv 2405.08944) and what they add up to: pure arithmetic.
//
// With n tokens of context, W weight bytes, P parameters, L layers, C = heads * head_dim channels, A attention_ops, and
// N devices in tensor parallel, each with M bytes, F operations/s and B bytes/s, and a link of X bytes/s:
//
//   kv bytes      K  = kv_slots * kv_layers * kv_heads * head_dim * bits / 8 * keep_ratio * n
//   concurrency   c  = floor((N M - W) / K)                                                      memory size
//   prefill, s       = max(prefill ops / (N F), (W + K) / (N B))                                 flops, as a rule
//                      prefill ops = n * 2 P + n * n / 2 * A * L * C                             causal: half the pairs
//   decode, s        = a * max((W + b * read_fraction * K) / (N B), b * step ops / (N F))        bandwidth, as a rule
//                      step ops = 2 P + n * keep_ratio * read_fraction * A * L * C
//   switch, s        = (K of all layers + K) / X         one user's cache out and another's in   swap link
//   session, s       = prefill + S * (decode / b + (switch if users > c))
//
// Layers with a window read and pair no more than it covers, and keep somewhat more (ServedModel::window_kept): n is
// the mean over the layers then. What goes out, as records of blocks, has n tokens of every layer.
//
// b = min(users, c) sessions decode together: a step reads the weights once and each one's KV. `decode` is how long one
// answer of a tokens takes to come, and decode / b the device's time for it. A session is one prefill and S rounds of
// question and answer; with more users than places, another user was served before each round, so each costs a
// switch. Prefills and switches overlap with nothing.
//
// Assumptions: every device and the link reach their rates; tensor parallelism is ideal, costs no communication, and
// its devices share one link; KV neither grows during an answer nor needs room for anything else; questions are short.
#pragma once

#include <array>
#include <cstdint>

#include "cairn/base/result.h"
#include "cairn/capacity/serving_inputs.h"

namespace cairn::capacity {

// Seconds, what they are spent on, and which of the two takes longer. Immutable value.
struct Phase {
  double seconds = 0;
  double ops = 0;    // operations
  double bytes = 0;  // moved, in memory or over the link
  Resource binds = Resource::kBandwidth;
};

// Immutable value; every number is finite.
struct ServingEstimate {
  double memory_bytes = 0;          // of all devices of the replica
  double weight_bytes = 0;          // of the model
  double kv_bytes_per_session = 0;  // K
  std::uint64_t concurrency = 0;    // c, of one replica; 0: not one session fits
  std::uint64_t batch = 0;          // b
  Phase prefill, decode, swap;      // decode of zero seconds when nothing fits
  bool switches = false;            // users > c > 0
  double session_s = 0;             // 0 when nothing fits
  double sessions_per_hour = 0;     // of the replica
  double sessions_per_hour_per_device = 0;
  std::array<double, kResources.size()> sessions_per_hour_if_doubled{};  // by Resource
  // Whose doubling gains the most sessions per hour; memory size when nothing fits.
  Resource binds = Resource::kMemorySize;
};

// Errors: kInvalidArgument when a number is not finite or outside its range.
Result<ServingEstimate> plan_serving(const ServedModel& model, const Hardware& hardware, const Workload& workload,
                                     const Levers& levers = {});

}  // namespace cairn::capacity
