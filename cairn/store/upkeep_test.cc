// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/upkeep.h"

#include <gtest/gtest.h>

#include <cstring>

#include "cairn/base/file.h"
#include "cairn/store/disk/disk_tier.h"
#include "cairn/store/ram_tier.h"
#include "cairn/store/record/record_header.h"
#include "cairn/testing/stored_blocks.h"

namespace cairn::upkeep {
namespace {

Deadline soon() {
  return deadline_in(std::chrono::seconds(20));
}

std::unique_ptr<RamTier> ram(std::uint64_t budget = 1 << 20) {
  return *RamTier::create({.budget_bytes = budget});
}

TestBlock dull(std::uint64_t number) {
  return {.number = number, .part_bytes = {256, 20000}, .dull = true};
}

BlockStatus put(Tier& tier, const TestBlock& block) {
  const auto record = block.record();
  return tier.put({&record, 1}, soon())[0];
}

// The block with a part that its checksum does not fit.
BlockStatus put_damaged(Tier& tier, const TestBlock& block) {
  RecordBytes bytes = block.record()->stamped(0);
  bytes.data()[kDirectIoPage + 300] ^= std::byte{1};
  const auto record = *BlockRecord::parse(std::move(bytes), 0);
  return tier.put({&record, 1}, soon())[0];
}

bool holds(Tier& tier, std::uint64_t number) {
  const Digest key = test_key(number);
  return tier.contains({&key, 1}, soon())[0] == BlockStatus::kOk;
}

// Lets this many calls of progress() pass.
Watch stopping_after(int calls, std::vector<double>* shares) {
  return {.progress = [shares](double share) { shares->push_back(share); },
          .stopped = [calls, shares] { return static_cast<int>(shares->size()) >= calls; }};
}

TEST(Upkeep, SummarizesByRecipeAndTenant) {
  const auto tier = ram();
  ASSERT_EQ(put(*tier, {.number = 1}), BlockStatus::kOk);
  ASSERT_EQ(put(*tier, {.number = 2, .tenant = 5, .parent = 1, .depth = 6}), BlockStatus::kOk);
  ASSERT_EQ(put(*tier, {.number = 3, .tenant = 5}), BlockStatus::kOk);
  ASSERT_EQ(tier->pin(test_key(3), unix_seconds() + 100), BlockStatus::kOk);
  const auto blocks = all_blocks(*tier, soon());
  ASSERT_TRUE(blocks);
  const Summary summary = summarize(*blocks);
  EXPECT_EQ(summary.groups.size(), 2u);
  const Digest recipe = blocks->front().meta.recipe;
  EXPECT_EQ(summary.groups.at({recipe, 5}).blocks, 2u);
  EXPECT_EQ(summary.groups.at({recipe, 5}).longest, 7u);
  EXPECT_EQ(summary.bytes, tier->stats().bytes);
  EXPECT_EQ(summary.pinned, 1u);
  EXPECT_EQ(summary.compressed, 0u);
  EXPECT_EQ(blocks_with_prefix(*tier, test_key(1).hex().substr(0, 20), soon())->size(), 1u);
  EXPECT_EQ(blocks_with_prefix(*tier, "xyz", soon()).error().message,
            "no block of ram has a key that begins with 'xyz'");
  EXPECT_EQ(blocks_with_prefix(*ram(), "", soon()).error().message, "ram is empty");
}

TEST(Upkeep, VerifyingFindsAndErasesDamage) {
  const auto tier = ram();
  for (std::uint64_t i = 0; i < 20; ++i) ASSERT_EQ(put(*tier, {.number = i}), BlockStatus::kOk);
  ASSERT_EQ(put_damaged(*tier, {.number = 50}), BlockStatus::kOk);
  auto verified = upkeep::verify(*tier, {});
  ASSERT_TRUE(verified);
  EXPECT_EQ(verified->blocks, 21u);
  EXPECT_EQ(verified->counts[BlockStatus::kOk], 20u);
  EXPECT_EQ(verified->counts[BlockStatus::kCorrupt], 1u);
  EXPECT_EQ(verified->damaged, std::vector{test_key(50)});
  EXPECT_FALSE(holds(*tier, 50));
  EXPECT_EQ(verified->bytes, tier->stats().bytes);
  std::vector<double> shares;
  EXPECT_EQ(upkeep::verify(*tier, stopping_after(1, &shares))->counts[BlockStatus::kOk], 8u);
  EXPECT_EQ(shares.size(), 1u);
}

TEST(Upkeep, CompressingChangesNoBlock) {
  const auto tier = ram();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(put(*tier, dull(i)), BlockStatus::kOk);
  ASSERT_EQ(put(*tier, {.number = 7}), BlockStatus::kOk);
  ASSERT_EQ(put_damaged(*tier, dull(50)), BlockStatus::kOk);
  const std::uint64_t before = tier->stats().bytes;
  const auto figures = compress(*tier, {}, {});
  ASSERT_TRUE(figures);
  EXPECT_EQ(figures->compressed, 3u);
  EXPECT_EQ(figures->left, 1u);
  EXPECT_EQ(figures->damaged, 1u);
  EXPECT_LT(figures->after, figures->before);
  EXPECT_LT(tier->stats().bytes, before);
  const Digest key = test_key(1);
  tier->get({&key, 1}, soon(), [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
    ASSERT_EQ(status, BlockStatus::kOk);
    EXPECT_TRUE(record->meta().compressed && dull(1).equals(*record));
  });
  EXPECT_EQ(compress(*tier, {}, {})->already, 3u);
  EXPECT_EQ(compress(*tier, {.older_than_s = unix_seconds() + 10}, {})->left, 0u) << "none is so old";
  const StoreKey key_of_blocks({1});
  const auto locked = ram();
  const auto record = dull(1).record(&key_of_blocks);
  ASSERT_EQ(locked->put({&record, 1}, soon())[0], BlockStatus::kOk);
  EXPECT_EQ(compress(*locked, {}, {})->locked, 1u);
  EXPECT_EQ(compress(*locked, {.key = &key_of_blocks}, {})->compressed, 1u);
}

TEST(Upkeep, MovingLosesNothing) {
  const auto from = ram(), to = ram();
  for (std::uint64_t i = 0; i < 20; ++i) ASSERT_EQ(put(*from, {.number = i}), BlockStatus::kOk);
  ASSERT_EQ(put_damaged(*from, {.number = 50}), BlockStatus::kOk);
  ASSERT_EQ(put_damaged(*to, {.number = 3}), BlockStatus::kOk);  // in the way of a sound one
  ASSERT_EQ(from->pin(test_key(4), unix_seconds() + 100), BlockStatus::kOk);
  const auto copied = move(*from, *to, "", /*copy=*/true, {});
  ASSERT_TRUE(copied);
  EXPECT_EQ(copied->moved, 20u);
  EXPECT_EQ(copied->damaged, 1u);
  EXPECT_EQ(copied->pins_lost, 0u);
  EXPECT_EQ(verify(*to, {})->counts[BlockStatus::kOk], 20u);
  EXPECT_EQ(summarize(*all_blocks(*to, soon())).pinned, 1u);
  const auto moved = move(*from, *to, "", /*copy=*/false, {});
  EXPECT_EQ(moved->moved, 20u);
  EXPECT_EQ(all_blocks(*from, soon())->size(), 0u);
  const auto same = move(*to, *to, "", /*copy=*/false, {});
  EXPECT_TRUE(same->same_store);
  EXPECT_EQ(verify(*to, {})->counts[BlockStatus::kOk], 20u) << "nothing is lost by it";
  const auto small = ram(2 * 8192);
  const auto refused = move(*to, *small, "", /*copy=*/false, {});
  EXPECT_EQ(refused->moved + refused->refused, 20u);
  EXPECT_EQ(all_blocks(*to, soon())->size(), refused->refused);
}

TEST(Upkeep, AProbeLeavesNothingBehind) {
  const auto tier = ram(4 << 20);
  EXPECT_TRUE(probe(*tier, soon()).good());
  EXPECT_EQ(tier->stats().blocks, 0u);
  const auto small = ram(4096);
  EXPECT_EQ(probe(*small, soon()).put, BlockStatus::kFull);
  EXPECT_FALSE(probe(*small, soon()).good());
}

TEST(Upkeep, ExplainsEachBlock) {
  const TestFolder folder;
  const std::string path = folder.path() + "/store";
  { (void)DiskTier::open({.folder = path, .residency = {.budget_bytes = 1 << 20}, .min_free_bytes = 0}); }
  // One of format version 1, as an earlier build has left it.
  const auto golden = read_file(std::string(CAIRN_SOURCE_DIR) + "/cairn/store/golden/segment_v1.seg", 1 << 20);
  ASSERT_TRUE(golden && write_file(path + "/segments/00000001.seg", *golden));
  std::filesystem::remove(path + "/checkpoint");
  const auto opened = DiskTier::open({.folder = path, .residency = {.budget_bytes = 1 << 20}, .min_free_bytes = 0});
  ASSERT_TRUE(opened) << opened.error().message;
  DiskTier& tier = **opened;
  ASSERT_EQ(put(tier, {.number = 1}), BlockStatus::kOk);
  ASSERT_EQ(put(tier, {.number = 2}), BlockStatus::kOk);
  ASSERT_EQ(put(tier, {.number = 3, .expires_s = unix_seconds() - 5}), BlockStatus::kOk);
  ASSERT_EQ(put_damaged(tier, {.number = 4}), BlockStatus::kOk);
  ASSERT_EQ(put(tier, {.number = 1005}), BlockStatus::kOk);  // the fifth, as the other recipe names it
  const Digest second = test_key(2), other = numbered_digest("test.recipe", 9);
  (void)tier.erase({&second, 1}, soon());
  tier.describe_recipe(other, "codec_plan: theirs\n");
  const OtherRecipes recipes{.mine = numbered_digest("test.recipe", 1),
                             .key = [](const Digest&, std::size_t block) { return test_key(1000 + block); },
                             .difference = [](const std::string& text) { return "differs from " + text; }};
  std::vector<Digest> keys{test_key(41)};
  for (std::uint64_t i = 1; i < 7; ++i) keys.push_back(test_key(i));
  const auto explained = explain(tier, keys, nullptr, recipes, soon());
  std::vector<std::string> why;
  for (const Explained& block : explained) why.push_back(block.why);
  EXPECT_EQ(why, (std::vector<std::string>{"format version 1; this build reads version 2",
                                           "here, but unreachable: a block before it is missing",
                                           "erased or moved on request", "its time had come",
                                           "a checksum does not hold: it will be computed and stored anew",
                                           "held under another recipe: differs from codec_plan: theirs\n",
                                           "never stored, as far as the store remembers"}));
  EXPECT_TRUE(explain(tier, std::span(keys).subspan(1, 1), nullptr, recipes, soon())[0].usable);
  const StoreKey key({1});
  EXPECT_EQ(explain(tier, std::span(keys).subspan(1, 1), &key, recipes, soon())[0].why,
            "stored without encryption, which --store-key does not take");
}

}  // namespace
}  // namespace cairn::upkeep
