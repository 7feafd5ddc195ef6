// SPDX-License-Identifier: Apache-2.0
// A hit from a store changes nothing: the logits have the bits of a cold run, whatever tier the prefix came from and
// whatever happened to it there.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "cairn/engine/engine.h"
#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/testing/stored_blocks.h"
#include "cairn/testing/tiny_cold.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

constexpr std::size_t kPrompt = 300;  // four whole blocks and some

std::vector<TokenId> prompt(std::uint64_t seed) {
  return random_prompt(seed, kPrompt);
}

class StoredReuse : public ::testing::TestWithParam<std::string> {
 protected:
  std::shared_ptr<Store> store(bool ram = false, std::optional<StoreKey> key = std::nullopt) const {
    StoreOptions options;
    if (ram) options.tiers.push_back(*RamTier::create({.budget_bytes = std::size_t{64} << 20}));
    DiskTierOptions disk{.folder = folder_.path() + "/store", .residency = {.budget_bytes = std::size_t{64} << 20}};
    disk.min_free_bytes = 0;
    options.tiers.push_back(*DiskTier::open(std::move(disk)));
    options.key = std::move(key);
    return std::make_shared<Store>(std::move(options));
  }
  std::unique_ptr<Engine> engine(std::shared_ptr<Store> store, std::string tenant = {}) const {
    EngineOptions options;
    options.threads = 2;
    options.kv_budget_bytes = std::size_t{64} << 20;
    options.codec = codec();
    options.store = std::move(store);
    options.break_even = false;
    options.tenant = std::move(tenant);
    return *load_tiny(long_context_model(), options);
  }
  // Made once: what another process finds was stored under the same tables.
  const std::string& codec() const {
    if (codec_.empty()) codec_ = with_cold_tables(long_context_model(), GetParam());
    return codec_;
  }
  // Logits of the last token, and how many tokens were not computed.
  struct Answer {
    std::vector<float> logits;
    std::size_t reused = 0;
    bool operator==(const Answer&) const = delete;
  };
  // `whole`: the sequence waits for all blocks before anything is computed.
  static Answer answer(Engine& engine, std::span<const TokenId> tokens, bool whole = false) {
    Sequence sequence = whole ? engine.open(tokens) : engine.open_while_loading(tokens);
    const auto logits = engine.prefill(sequence, tokens.subspan(sequence.size()));
    EXPECT_TRUE(logits);
    EXPECT_EQ(sequence.size(), tokens.size());
    return {{logits->begin(), logits->end()}, sequence.reused_tokens()};
  }
  static void expect_same(const Answer& a, const Answer& b) {
    ASSERT_EQ(a.logits.size(), b.logits.size());
    EXPECT_EQ(std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)), 0);
  }
  TestFolder folder_;
  mutable std::string codec_;
};

TEST_P(StoredReuse, AnotherProcessFindsThePrefix) {
  const std::vector<TokenId> tokens = prompt(1);
  const Answer cold = answer(*engine(nullptr), tokens);
  EXPECT_EQ(cold.reused, 0u);
  { expect_same(answer(*engine(store()), tokens), cold); }  // writes behind, and the store is closed
  const auto second = engine(store(/*ram=*/true));
  const Answer warm = answer(*second, tokens);
  EXPECT_EQ(warm.reused, 256u);
  expect_same(warm, cold);
  EXPECT_EQ(second->connector()->stats().blocks_loaded, 4u);
  // Gone from the cache, it comes from the store's memory.
  second->cache().clear();
  ASSERT_TRUE(second->connector()->store().flush(deadline_in(std::chrono::seconds(20))));
  const Answer again = answer(*second, tokens);
  EXPECT_EQ(again.reused, 256u);
  expect_same(again, cold);
  EXPECT_GT(second->connector()->store().stats().tiers[0].stats.hits, 0u);
  const Answer whole = answer(*engine(store()), tokens, /*whole=*/true);
  EXPECT_EQ(whole.reused, 256u);
  expect_same(whole, cold);
}

TEST_P(StoredReuse, DamageIsComputedAnew) {
  const std::vector<TokenId> tokens = prompt(2);
  const Answer cold = answer(*engine(nullptr), tokens);
  { (void)answer(*engine(store()), tokens); }
  std::string segment;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path() + "/store/segments")) {
    segment = entry.path();
  }
  const auto size = std::filesystem::file_size(segment);
  SeededRandom random(7);
  for (int round = 0; round < 12; ++round) {
    const int fd = ::open(segment.c_str(), O_RDWR);
    const auto at = static_cast<off_t>(random.below(size));
    char byte = 0;
    if (pread(fd, &byte, 1, at) == 1) {
      byte ^= static_cast<char>(1 << random.below(8));
      ASSERT_EQ(pwrite(fd, &byte, 1, at), 1);
    }
    ::close(fd);
    const auto warm = engine(store());
    expect_same(answer(*warm, tokens, /*whole=*/round % 2 == 0), cold);
  }
}

TEST_P(StoredReuse, OtherTenantsAndOtherKeysFindNothing) {
  const std::vector<TokenId> tokens = prompt(3);
  const StoreKey key({1, 2, 3}), other({4, 5, 6});
  { (void)answer(*engine(store(false, key), "alice"), tokens); }
  EXPECT_EQ(answer(*engine(store(false, key), "bob"), tokens).reused, 0u);
  EXPECT_EQ(answer(*engine(store(false, key), ""), tokens).reused, 0u);
  EXPECT_EQ(answer(*engine(store(false, other), "alice"), tokens).reused, 0u);
  EXPECT_EQ(answer(*engine(store(false, key), "alice"), tokens).reused, 256u) << "another key must not erase blocks";
}

TEST_P(StoredReuse, ASlowTierIsNotWaitedFor) {
  const std::vector<TokenId> tokens = prompt(4);
  { (void)answer(*engine(store()), tokens); }
  EngineOptions options;
  options.threads = 2;
  options.kv_budget_bytes = std::size_t{64} << 20;
  options.codec = codec();
  options.store = store();
  const auto guarded = *load_tiny(long_context_model(), options);
  guarded->connector()->observe_prefill(1000000000, 1.0);  // computing costs nothing
  (void)answer(*guarded, prompt(4));                       // the first load measures the tier
  guarded->cache().clear();
  guarded->connector()->observe_prefill(1000000000, 1.0);
  const std::uint64_t before = guarded->connector()->stats().loads_skipped;
  EXPECT_EQ(answer(*guarded, tokens).reused, 0u);
  EXPECT_GT(guarded->connector()->stats().loads_skipped, before);
}

INSTANTIATE_TEST_SUITE_P(Codecs, StoredReuse,
                         ::testing::Values("raw_f16", "tok4", "kivi2-g32", "raw_f32/tok8", "zip", "raw_f16+cold",
                                           "tok8+cold"),
                         [](const auto& codec) {
                           std::string name = codec.param;
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace cairn
