// SPDX-License-Identifier: Apache-2.0
#include "cairn/trace/replay.h"

#include <algorithm>
#include <unordered_map>

namespace cairn {
namespace {

constexpr std::size_t kProgressEvery = 64;  // requests

class Simulator {
 public:
  Simulator(const Trace& trace, EvictionPolicy& policy, const ReplayOptions& options)
      : trace_(trace), policy_(policy), options_(options), states_(trace.blocks.size()) {
    numbers_.reserve(trace.blocks.size());
    for (std::uint32_t number = 0; number < trace.blocks.size(); ++number) {
      numbers_.emplace(trace.blocks[number].item.key, number);
    }
  }

  Status run(const Trace::Request& request) {
    ++running_;
    bool prefix = true;
    counts_.tokens += request.input_tokens;
    for (const std::uint32_t number : request.input) {
      ++counts_.lookups;
      if (states_[number].resident) {
        const std::uint32_t tokens = trace_.blocks[number].tokens;
        ++counts_.hits;
        counts_.hit_tokens += tokens;
        counts_.prefix_hits += prefix ? 1 : 0;
        counts_.prefix_hit_tokens += prefix ? tokens : 0;
      } else {
        prefix = false;
      }
      CAIRN_TRY_VOID(keep(number));
    }
    for (const std::uint32_t number : request.output) CAIRN_TRY_VOID(keep(number));
    return {};
  }

  const ReplayCounts& counts() const { return counts_; }

 private:
  struct State {
    bool resident = false;
    std::uint64_t used_by = 0;  // the request that used it last
  };

  Status keep(std::uint32_t number) {
    State& state = states_[number];
    state.used_by = running_;
    EvictionItem item = trace_.blocks[number].item;
    if (state.resident) return policy_.used(item.key), Status();
    if (options_.capacity_blocks > 0 && resident_ >= options_.capacity_blocks) {
      CAIRN_TRY(const bool freed, evict_one());
      if (!freed) return ++counts_.refused, Status();
    }
    item.bytes = options_.block_bytes;
    policy_.inserted(item);
    state.resident = true;
    ++counts_.inserted;
    counts_.max_resident = std::max(counts_.max_resident, ++resident_);
    return {};
  }

  bool may_go(const Digest& key) const {
    const auto known = numbers_.find(key);
    return known != numbers_.end() && states_[known->second].used_by != running_;
  }

  Result<bool> evict_one() {
    const auto victim = policy_.victim([this](const Digest& key) { return may_go(key); });
    if (!victim) return false;
    if (!may_go(*victim) || !states_[numbers_.at(*victim)].resident) {
      return fail(ErrorCode::kInternal, std::string(policy_.name()) + " named a block that may not go");
    }
    states_[numbers_.at(*victim)].resident = false;
    policy_.removed(*victim);
    --resident_;
    ++counts_.evicted;
    return true;
  }

  const Trace& trace_;
  EvictionPolicy& policy_;
  const ReplayOptions& options_;
  std::unordered_map<Digest, std::uint32_t, DigestHash> numbers_;
  std::vector<State> states_;  // by block number
  std::uint64_t resident_ = 0, running_ = 0;
  ReplayCounts counts_;
};

}  // namespace

Result<ReplayCounts> replay(const Trace& trace, EvictionPolicy& policy, const ReplayOptions& options) {
  Simulator simulator(trace, policy, options);
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    CAIRN_TRY_VOID(simulator.run(trace.requests[i]));
    if (options.progress && i % kProgressEvery == 0 && !options.progress(i, trace.requests.size())) {
      return fail(ErrorCode::kCancelled, "interrupted");
    }
  }
  return simulator.counts();
}

}  // namespace cairn
