// SPDX-License-Identifier: Apache-2.0
// A retention that is due while a sequence grows, and fails.
#include "cairn/cache/retention.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cairn/testing/passes.h"

namespace cairn::pass_test {
namespace {

class RunningRetention : public PassTest {};

// h2o counts the attention of every query. A pass that is taken back has been counted, and cannot be taken out again.
TEST_F(RunningRetention, WhatIsNoLackOfRoomEndsTheSequence) {
  const auto cache = make_cache(layers_);
  Sequence sequence = cache->open({});
  ASSERT_TRUE(sequence.set_policy(parse_policy("h2o+keep=0.5").value()));
  compute(sequence, following(0, 40));
  ASSERT_TRUE(sequence.finish_prefill(pool_));
  EXPECT_FALSE(sequence.is_lost());
  compute(sequence, following(40, 20), /*wrong=*/false, /*commits=*/false);
  EXPECT_TRUE(sequence.is_lost());
  // Whatever else goes wrong by then would go wrong again.
  EXPECT_EQ(sequence.recover({ErrorCode::kUnsupported, "rows so far back"}, 1, pool_), PassRemedy::kNone);
  compute(sequence, following(40, 88));  // up to a block border, where it is due
  EXPECT_EQ(sequence.size(), 128u);
  EXPECT_EQ(sequence.policy_report().put_off, 0u) << "there was room";

  const std::vector<std::int32_t> next = {128};
  const PassRows rows{&sequence, next, {}};
  for (int again = 0; again < 2; ++again) {
    const auto pass = passes_.begin({&rows, 1});
    ASSERT_FALSE(pass);
    EXPECT_EQ(pass.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(pass.error().message.find("compute the prompt anew"), std::string::npos) << pass.error().message;
    EXPECT_EQ(sequence.recover(pass.error(), 1, pool_), PassRemedy::kAnew);
    EXPECT_EQ(sequence.size(), 128u);
  }
  ASSERT_TRUE(sequence.trim(0));
  EXPECT_FALSE(sequence.is_lost());
  compute(sequence, following(0, 40));
}

// What is known of the keys of blocks after one that is dropped moves with them.
TEST_F(RunningRetention, BoxesFollowBlocksThatMove) {
  const auto cache = make_cache(layers_);
  for (const char* policy : {"quest+keep=0.3", "sketch+keep=0.3", "double-p+keep=0.3"}) {
    Sequence before = cache->open({}), after = cache->open({});
    for (Sequence* sequence : {&before, &after}) {
      ASSERT_TRUE(sequence->set_policy(parse_policy(policy).value()));
      compute(*sequence, following(0, 960));
      ASSERT_TRUE(sequence->finish_prefill(pool_));
    }
    ASSERT_TRUE(before.drop_block(0, 128));
    compute(before, following(960, 1));
    compute(after, following(960, 1));  // which makes boxes
    EXPECT_GT(after.policy_report().box_bytes, 0u);
    ASSERT_TRUE(after.drop_block(0, 128));
    expect_same(compute(after, following(961, 1)), compute(before, following(961, 1)));
  }
}

}  // namespace
}  // namespace cairn::pass_test
