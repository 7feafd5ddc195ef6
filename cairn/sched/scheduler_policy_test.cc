// SPDX-License-Identifier: Apache-2.0
// Requests under token policies: what they take depends on what their policies have done by now, and a pass ends where
// they act.
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "cairn/block/shape.h"
#include "cairn/sched/scheduler.h"

namespace cairn {
namespace {

constexpr std::size_t kBlockBytes = 1000;

std::size_t bytes_for(std::size_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens * kBlockBytes;
}

SchedulerOptions options_of(std::size_t blocks) {
  return {.growth_tokens = 0,
          .tenants = {{.kv_bytes = blocks * kBlockBytes}},
          .bytes_for = bytes_for,
          .block_bytes = [](std::size_t) { return kBlockBytes; }};
}

std::size_t nothing_cached(std::size_t, const std::vector<Digest>&) {
  return 0;
}

std::vector<Digest> keys_of(std::size_t tokens) {
  std::vector<Digest> keys;
  for (std::size_t b = 0; b < tokens / kBlockTokens; ++b) keys.push_back(Hasher("test").u64(b).finish());
  return keys;
}

// A prompt of 640 tokens, of whose ten blocks its end leaves `kept`, beside which it needs no room.
SchedRequest packing(RequestId id, std::size_t kept) {
  return {.id = id,
          .prompt_tokens = 640,
          .max_new = 1,
          .arrival_s = static_cast<double>(id),
          .keys = keys_of(640),
          .growth = [kept](std::size_t from, std::size_t to) {
            GrowthBytes bytes;
            if (from < 640) bytes.whole = bytes_for(std::min<std::size_t>(to, 640));
            if (to >= 640) bytes.packed = kept * kBlockBytes;
            return bytes;
          }};
}

SchedRequest plain(RequestId id) {
  return {.id = id, .prompt_tokens = 640, .max_new = 1, .arrival_s = static_cast<double>(id), .keys = keys_of(640)};
}

std::size_t started(Scheduler& scheduler) {
  std::size_t count = 0;
  for (;;) {
    const BatchStep plan = scheduler.plan(0, nothing_cached);
    if (plan.start.empty()) return count;
    for (const RequestId id : plan.start) {
      scheduler.opened(id, 0);
      scheduler.advanced(id, 639, 640);  // it is not being computed by others any more
      ++count;
    }
  }
}

// The blocks that one lets go of are held by the other one still.
TEST(SchedulerPolicy, WhatOnePacksTheOtherHolds) {
  for (const bool packs_first : {true, false}) {
    for (const std::size_t budget : {14u, 15u, 16u}) {
      Scheduler scheduler(options_of(budget));
      scheduler.submit(packs_first ? packing(1, 5) : plain(1));
      scheduler.submit(packs_first ? plain(2) : packing(2, 5));
      EXPECT_EQ(started(scheduler), budget < 15 ? 1u : 2u) << packs_first << ' ' << budget;
    }
  }
}

// The end of the prompt was reached, and what happens there was not possible: all of it is there still.
TEST(SchedulerPolicy, WhatIsOwedIsNotDone) {
  for (const bool owes : {false, true}) {
    Scheduler scheduler(options_of(12));
    scheduler.submit(packing(1, 3));
    EXPECT_EQ(scheduler.plan(0, nothing_cached).start, std::vector<RequestId>{1});
    scheduler.opened(1, 0);
    scheduler.advanced(1, 640, 641, owes);
    SchedRequest small = plain(2);
    small.prompt_tokens = 300;
    small.keys = {};
    scheduler.submit(small);
    EXPECT_EQ(scheduler.plan(0, nothing_cached).start.empty(), owes);
  }
}

// Most of each prompt moves to a place beside the budget, and of what stays in memory nothing is shared.
TEST(SchedulerPolicy, BlocksThatMoveElsewhereAreCountedThere) {
  for (const auto& [blocks, place, both] :
       {std::tuple(8u, 16u, true), {7u, 16u, false}, {8u, 15u, false}, {12u, 12u, true}, {11u, 12u, false}}) {
    SchedulerOptions options = options_of(blocks);
    options.tenants[0].beside_bytes = place * kBlockBytes;
    Scheduler scheduler(options);
    for (const RequestId id : {1u, 2u}) {
      SchedRequest moves = plain(id);
      moves.growth = [](std::size_t, std::size_t to) {
        return GrowthBytes{.packed = 4 * kBlockBytes, .beside = to >= 640 ? 8 * kBlockBytes : 0};
      };
      scheduler.submit(moves);
    }
    EXPECT_EQ(started(scheduler), both ? 2u : 1u) << blocks << ' ' << place;
  }
  // One alone moves what there is room for.
  SchedulerOptions options = options_of(4);
  Scheduler scheduler(options);
  SchedRequest alone = plain(1);
  alone.growth = [](std::size_t, std::size_t) {
    return GrowthBytes{.packed = 4 * kBlockBytes, .beside = 8 * kBlockBytes};
  };
  scheduler.submit(alone);
  EXPECT_EQ(started(scheduler), 1u);
}

// The place fills while answers grow: what finds no room there takes room in memory, and where that is full too the
// newer request makes way until the other one ends.
TEST(SchedulerPolicy, AFullPlaceCostsAPreemption) {
  for (const auto& [blocks, place, both] :
       {std::tuple(8u, 18u, true), {8u, 17u, false}, {9u, 17u, true}, {9u, 16u, false}, {10u, 16u, true}}) {
    SchedulerOptions options = options_of(blocks);
    options.tenants[0].beside_bytes = place * kBlockBytes;
    Scheduler scheduler(options);
    for (const RequestId id : {1u, 2u}) {
      SchedRequest moves = plain(id);
      moves.max_new = 100;
      moves.growth = [](std::size_t, std::size_t to) {
        return GrowthBytes{.packed = 4 * kBlockBytes, .beside = to / kBlockTokens * kBlockBytes - 2 * kBlockBytes};
      };
      scheduler.submit(moves);
    }
    ASSERT_EQ(started(scheduler), 2u) << blocks << ' ' << place;
    for (const RequestId id : {1u, 2u}) scheduler.advanced(id, 703, 704);
    const BatchStep plan = scheduler.plan(0, nothing_cached);
    EXPECT_EQ(plan.preempt, both ? std::vector<RequestId>() : std::vector<RequestId>{2}) << blocks << ' ' << place;
    EXPECT_TRUE(plan.start.empty());
    if (both) continue;
    scheduler.advanced(1, 704, 705);
    EXPECT_TRUE(scheduler.plan(0, nothing_cached).start.empty()) << "it would be in the way again";
    scheduler.remove(1);
    EXPECT_EQ(scheduler.plan(0, nothing_cached).start, std::vector<RequestId>{2});
  }
}

TEST(SchedulerPolicy, WhatAPassDoesNotTakeIsForOthers) {
  SchedulerOptions options = options_of(1000);
  options.pass_rows = 256;
  Scheduler scheduler(options);
  SchedRequest chunked = packing(1, 3), other = plain(2);
  chunked.keys = other.keys = {};
  chunked.pass_tokens = [](std::size_t held, std::size_t wanted) {
    return std::min<std::size_t>(wanted, 128 - held % 128);
  };
  scheduler.submit(chunked);
  scheduler.submit(other);
  (void)scheduler.plan(0, nothing_cached);
  const BatchStep plan = scheduler.plan(0, nothing_cached);
  ASSERT_EQ(plan.rows.size(), 2u);
  EXPECT_EQ(plan.rows[0].count, 128u);
  EXPECT_EQ(plan.rows[1].count, 128u);
}

// What comes behind the place where a pass ends need not fit yet.
TEST(SchedulerPolicy, RoomIsMadeForTheNextPassAlone) {
  for (const bool ends : {false, true}) {
    SchedulerOptions options = options_of(11);
    options.pass_rows = 256;
    Scheduler scheduler(options);
    SchedRequest first = plain(1), second = plain(2);
    for (SchedRequest* request : {&first, &second}) {
      request->prompt_tokens = 250;
      request->keys = {};
      if (!ends) continue;
      request->pass_tokens = [](std::size_t held, std::size_t wanted) {
        return std::min<std::size_t>(wanted, kBlockTokens - held % kBlockTokens);
      };
    }
    scheduler.submit(first);
    scheduler.submit(second);
    EXPECT_EQ(scheduler.plan(0, nothing_cached).start.size(), 2u);
    scheduler.advanced(1, 250, 500);
    scheduler.advanced(2, 250, 500);  // four blocks each, and eight at the end of the next pass
    EXPECT_EQ(scheduler.plan(0, nothing_cached).preempt.empty(), ends);
  }
}

}  // namespace
}  // namespace cairn
