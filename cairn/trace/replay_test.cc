// SPDX-License-Identifier: Apache-2.0
// The simulator on small traces, against the bound, and on the published Mooncake trace where that is present.
#include "cairn/trace/replay.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

namespace cairn {
namespace {

struct TraceMaker {
  Trace trace = {"test", 1, {}, {}};
  std::map<std::uint64_t, std::uint32_t> numbers;

  std::uint32_t block(std::uint64_t id, const std::vector<std::uint32_t>& before) {
    const auto [place, fresh] = numbers.try_emplace(id, static_cast<std::uint32_t>(trace.blocks.size()));
    if (fresh) {
      const Digest parent = before.empty() ? Digest{} : trace.blocks[before.back()].item.key;
      const auto depth = static_cast<std::uint32_t>(before.size());
      trace.blocks.push_back({{Hasher("test").u64(id).finish(), parent, 0, depth, 0}, 1});
    }
    return place->second;
  }
  void request(const std::vector<std::uint64_t>& input, const std::vector<std::uint64_t>& output = {}) {
    Trace::Request request;
    std::vector<std::uint32_t> path;
    for (const std::uint64_t id : input) path.push_back(block(id, path));
    request.input = path;
    for (const std::uint64_t id : output) path.push_back(block(id, path));
    request.output.assign(path.begin() + static_cast<long>(input.size()), path.end());
    request.input_tokens = input.size();
    trace.requests.push_back(std::move(request));
  }
};

Result<ReplayCounts> replay_with(const std::string& name, const Trace& trace, std::uint64_t capacity) {
  const ReplayOptions options = {.capacity_blocks = capacity, .block_bytes = 1, .progress = {}};
  if (name == "optimal") return replay_clairvoyant(trace, options);
  CAIRN_TRY(const auto policy, make_eviction_policy(name, capacity));
  return replay(trace, *policy, options);
}

TEST(Replay, CountsHitsAndPrefixes) {
  TraceMaker maker;
  maker.request({1, 2}, {3});
  maker.request({1, 2, 3, 4});
  maker.request({9, 2});  // 2 is there, but nothing before it
  const ReplayCounts counts = *replay_with("lru", maker.trace, 0);
  EXPECT_EQ(counts.lookups, 8u);
  EXPECT_EQ(counts.hits, 4u);
  EXPECT_EQ(counts.prefix_hits, 3u);
  EXPECT_EQ(counts.inserted, 5u);
  EXPECT_EQ(counts.evicted, 0u);
  EXPECT_EQ(counts.max_resident, 5u);
}

TEST(Replay, ARunningRequestKeepsItsBlocks) {
  TraceMaker maker;
  maker.request({1, 2, 3, 4, 5});
  maker.request({1, 2, 3, 4, 5});
  for (const std::string& name : eviction_policy_names()) {
    const ReplayCounts counts = *replay_with(name, maker.trace, 3);
    EXPECT_EQ(counts.prefix_hits, 3u) << name;
    EXPECT_EQ(counts.refused, 4u) << name;
    EXPECT_EQ(counts.max_resident, 3u) << name;
  }
}

TEST(Replay, StopsWhenTold) {
  TraceMaker maker;
  maker.request({1});
  const ReplayOptions options = {.capacity_blocks = 1, .block_bytes = 1, .progress = [](auto, auto) { return false; }};
  EXPECT_EQ(replay(maker.trace, **make_eviction_policy("lru", 1), options).error().code, ErrorCode::kCancelled);
  EXPECT_EQ(replay_clairvoyant(maker.trace, options).error().code, ErrorCode::kCancelled);
}

class NamesAnything final : public EvictionPolicy {
 public:
  void inserted(const EvictionItem& item) override { last_ = item.key; }
  void used(const Digest&) override {}
  void removed(const Digest&) override {}
  void kept(const EvictionItem&) override {}
  std::optional<Digest> victim(const std::function<bool(const Digest&)>&) override { return last_; }
  std::string_view name() const override { return "anything"; }

 private:
  Digest last_{};
};

TEST(Replay, TellsOnAPolicyThatNamesWhatMayNotGo) {
  TraceMaker maker;
  maker.request({1, 2});
  NamesAnything policy;
  const auto outcome = replay(maker.trace, policy, {.capacity_blocks = 1, .block_bytes = 1, .progress = {}});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, ErrorCode::kInternal);
}

TEST(Clairvoyant, DropsWhatIsNeededLast) {
  TraceMaker maker;
  for (const std::uint64_t id : {1, 2, 3, 1, 2, 3, 1, 2, 3}) maker.request({id});
  EXPECT_EQ((*replay_with("optimal", maker.trace, 2)).hits, 4u);  // one stays for good, one is used every other time
  EXPECT_EQ((*replay_with("lru", maker.trace, 2)).hits, 0u);
}

TEST(Clairvoyant, WaitsForNothingThatIsWrittenAgain) {
  TraceMaker maker;
  maker.request({1}, {2});
  maker.request({1}, {2});
  maker.request({1, 2});
  const ReplayCounts counts = *replay_with("optimal", maker.trace, 2);
  EXPECT_EQ(counts.hits, 3u);
  EXPECT_EQ(counts.inserted, 2u);  // 2 is kept from its second writing on

  TraceMaker other;
  other.request({3}, {2});
  other.request({1}, {2});
  other.request({3});
  EXPECT_EQ((*replay_with("optimal", other.trace, 1)).hits, 1u);
}

Trace any_trace() {
  TraceMaker maker;
  const auto requests = *rc::gen::resize(100, rc::gen::inRange(0, 60));
  for (int i = 0; i < requests; ++i) {
    // Paths in a tree of fan-out 3: the id of a block names the whole path.
    std::vector<std::uint64_t> input, output;
    std::uint64_t id = 1;
    const auto depth = *rc::gen::resize(100, rc::gen::inRange(1, 7));
    const auto from_output = *rc::gen::resize(100, rc::gen::inRange(1, 7));
    for (int d = 0; d < depth; ++d) {
      id = id * 4 + *rc::gen::resize(100, rc::gen::inRange<std::uint64_t>(0, 3));
      (d < from_output ? input : output).push_back(id);
    }
    maker.request(input, output);
  }
  return maker.trace;
}

TEST(Clairvoyant, BoundsEveryPolicy) {
  EXPECT_TRUE(rc::check([] {
    const Trace trace = any_trace();
    const auto capacity = *rc::gen::resize(100, rc::gen::inRange<std::uint64_t>(1, 60));
    const ReplayCounts best = *replay_with("optimal", trace, capacity);
    const ReplayCounts unbounded = *replay_with("optimal", trace, 0);
    RC_ASSERT(best.max_resident <= capacity);
    RC_ASSERT(best.hits <= unbounded.hits);
    RC_ASSERT((*replay_with("lru", trace, 0)).hits == unbounded.hits);
    for (const std::string& name : eviction_policy_names()) {
      const ReplayCounts counts = *replay_with(name, trace, capacity);
      RC_ASSERT(counts.hits <= best.hits);
      RC_ASSERT(counts.prefix_hits <= counts.hits);
      RC_ASSERT(counts.max_resident <= capacity);
      RC_ASSERT(counts.hits + counts.inserted + counts.refused >= counts.lookups);
      if (name == "cost") RC_ASSERT(counts.prefix_hits == counts.hits);
    }
  }));
}

// Only what the figures need; the command's reader is stricter.
Trace read_mooncake(const std::filesystem::path& path) {
  TraceMaker maker;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::vector<std::uint64_t> ids;
    const char* place = line.c_str() + line.find('[') + 1;
    while (*place != ']' && *place != 0) {
      char* end = nullptr;
      ids.push_back(std::strtoull(place, &end, 10));
      place = *end == ',' ? end + 1 : end;
    }
    maker.request(ids);
  }
  return maker.trace;
}

TEST(Replay, MooncakeFigures) {
  const std::filesystem::path path =
      std::string(CAIRN_SOURCE_DIR) + "/../shared/data/traces/mooncake_conversation.jsonl";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const Trace trace = read_mooncake(path);
  ASSERT_EQ(trace.requests.size(), 12031u);
  const auto hits = [&](const std::string& name, std::uint64_t capacity) {
    const ReplayCounts counts = *replay_with(name, trace, capacity);
    return rate(counts.hits, counts.lookups);
  };
  EXPECT_NEAR(hits("lru", 0), 0.3664, 5e-5);
  EXPECT_NEAR(hits("lru", 1000), 0.0445, 5e-5);
  EXPECT_NEAR(hits("lru", 10000), 0.2112, 5e-5);
  EXPECT_NEAR(hits("lru", 50000), 0.3546, 5e-5);
  for (const std::uint64_t capacity : {1000, 10000}) {
    EXPECT_GT(hits("cost", capacity), hits("lru", capacity)) << capacity;
    EXPECT_LT(hits("cost", capacity), hits("optimal", capacity)) << capacity;
  }
  EXPECT_GT(hits("cost", 10000), 1.1 * 0.2112);
}

}  // namespace
}  // namespace cairn
