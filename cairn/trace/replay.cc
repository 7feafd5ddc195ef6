// SPDX-License-Identifier: Apache-2.0
#include "cairn/trace/replay.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <set>
#include <unordered_map>
#include <utility>

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

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

// When the block of each reference is looked up next. A reference that only writes the block ends the wait: keeping it
// until then saves no lookup.
std::vector<std::uint64_t> next_lookups(const Trace& trace) {
  std::uint64_t references = 0;
  for (const Trace::Request& request : trace.requests) references += request.input.size() + request.output.size();
  std::vector<std::uint64_t> next(references);
  std::vector<std::uint64_t> upcoming(trace.blocks.size(), kNever);
  std::uint64_t now = references;
  for (auto request = trace.requests.rbegin(); request != trace.requests.rend(); ++request) {
    const auto backwards = [&](const std::vector<std::uint32_t>& blocks, bool lookup) {
      for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        next[--now] = upcoming[*block];
        upcoming[*block] = lookup ? now : kNever;
      }
    };
    backwards(request->output, false);
    backwards(request->input, true);
  }
  return next;
}

class Clairvoyant {
 public:
  Clairvoyant(const Trace& trace, std::uint64_t capacity)
      : trace_(trace), capacity_(capacity), next_(next_lookups(trace)), resident_until_(trace.blocks.size(), kNever) {}

  void run(const Trace::Request& request) {
    bool prefix = true;
    counts_.tokens += request.input_tokens;
    for (const std::uint32_t number : request.input) {
      const std::uint32_t tokens = trace_.blocks[number].tokens;
      ++counts_.lookups;
      const bool hit = resident_until_[number] != kNever;
      prefix = prefix && hit;
      counts_.hits += hit ? 1 : 0;
      counts_.hit_tokens += hit ? tokens : 0;
      counts_.prefix_hits += prefix ? 1 : 0;
      counts_.prefix_hit_tokens += prefix ? tokens : 0;
      keep(number);
    }
    for (const std::uint32_t number : request.output) keep(number);
  }

  const ReplayCounts& counts() const { return counts_; }

 private:
  void keep(std::uint32_t number) {
    const std::uint64_t until = next_[now_++];
    const std::uint64_t before = std::exchange(resident_until_[number], until);
    if (before != kNever) by_need_.erase({before, number});
    if (until == kNever) {
      ++(before != kNever ? counts_.evicted : counts_.refused);
      return;
    }
    by_need_.emplace(until, number);
    if (before == kNever) ++counts_.inserted;
    if (capacity_ > 0 && by_need_.size() > capacity_) {
      const auto last = std::prev(by_need_.end());
      const std::uint32_t dropped = last->second;
      resident_until_[dropped] = kNever;
      by_need_.erase(last);
      if (dropped == number && before == kNever) {
        --counts_.inserted;
        ++counts_.refused;
      } else {
        ++counts_.evicted;
      }
    }
    counts_.max_resident = std::max<std::uint64_t>(counts_.max_resident, by_need_.size());
  }

  const Trace& trace_;
  const std::uint64_t capacity_;
  const std::vector<std::uint64_t> next_;      // by reference
  std::vector<std::uint64_t> resident_until_;  // by block; kNever: not resident
  std::set<std::pair<std::uint64_t, std::uint32_t>> by_need_;
  std::uint64_t now_ = 0;
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

Result<ReplayCounts> replay_clairvoyant(const Trace& trace, const ReplayOptions& options) {
  Clairvoyant clairvoyant(trace, options.capacity_blocks);
  for (std::size_t i = 0; i < trace.requests.size(); ++i) {
    clairvoyant.run(trace.requests[i]);
    if (options.progress && i % 64 == 0 && !options.progress(i, trace.requests.size())) {
      return fail(ErrorCode::kCancelled, "interrupted");
    }
  }
  return clairvoyant.counts();
}

}  // namespace cairn
