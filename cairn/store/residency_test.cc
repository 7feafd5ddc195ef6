// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/residency.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

#include "cairn/testing/stored_blocks.h"

namespace cairn {
namespace {

BlockMeta meta_of(std::uint64_t number, std::uint64_t tenant) {
  BlockMeta meta;
  meta.key = test_key(number);
  meta.parent = numbered_digest("test.parent", number);
  meta.tenant = tenant;
  return meta;
}

RC_GTEST_PROP(Residency, NobodyLosesToOthersWhileItHoldsNoMoreThanAnEqualPart, ()) {
  const auto budget = *rc::gen::inRange<std::uint64_t>(50, 200);
  const auto policy = *rc::gen::elementOf(eviction_policy_names());
  auto residency = *Residency::create({.budget_bytes = budget, .policy = policy});
  std::map<Digest, std::uint64_t> tenant_of;
  for (std::uint64_t number = 0; number < 300; ++number) {
    const auto tenant = *rc::gen::inRange<std::uint64_t>(0, 4);
    const auto bytes = *rc::gen::inRange<std::uint64_t>(1, 20);
    if (!tenant_of.empty() && *rc::gen::inRange(0, 4) == 0) residency.used(tenant_of.begin()->first);
    std::set<std::uint64_t> tenants = {tenant};
    for (const auto& [key, of] : tenant_of) tenants.insert(of);
    std::map<std::uint64_t, std::uint64_t> before;
    for (const std::uint64_t of : tenants) before[of] = residency.tenant_bytes(of);
    const Residency::Admission admission = residency.admit(meta_of(number, tenant), bytes);
    for (const Digest& key : admission.evict) {
      const std::uint64_t of = tenant_of.at(key);
      RC_ASSERT(of == tenant || before[of] > budget / tenants.size());
      tenant_of.erase(key);
    }
    if (admission.admitted) tenant_of[meta_of(number, tenant).key] = tenant;
    std::uint64_t all = 0;
    for (const std::uint64_t of : tenants) all += residency.tenant_bytes(of);
    RC_ASSERT(all == residency.bytes());
    RC_ASSERT(all <= budget);
    // Others stay above, or where they were.
    for (const std::uint64_t of : tenants) {
      if (of != tenant) RC_ASSERT(residency.tenant_bytes(of) + 20 > std::min(before[of], budget / tenants.size()));
    }
  }
}

TEST(Residency, TheLastUserEndsTheLease) {
  auto residency = *Residency::create({.budget_bytes = 10, .policy = "lru"});
  ASSERT_TRUE(residency.admit(meta_of(1, 0), 10).admitted);
  residency.begin_use(test_key(1), Deadline::max());
  residency.begin_use(test_key(1), Deadline::max());
  residency.end_use(test_key(1));
  EXPECT_FALSE(residency.admit(meta_of(2, 0), 10).admitted);
  residency.end_use(test_key(1));
  EXPECT_TRUE(residency.admit(meta_of(2, 0), 10).admitted);
}

TEST(Residency, AReaderDoesNotEndTheLeaseOfTheNext) {
  auto residency = *Residency::create({.budget_bytes = 10, .policy = "lru"});
  ASSERT_TRUE(residency.admit(meta_of(1, 0), 10).admitted);
  for (int reader = 0; reader < 2; ++reader) residency.lease(test_key(1), Deadline::max());
  residency.begin_use(test_key(1), Deadline::max());
  residency.end_use(test_key(1));
  EXPECT_FALSE(residency.admit(meta_of(2, 0), 10).admitted) << "the other has not read it yet";
  residency.begin_use(test_key(1), Deadline::max());
  residency.end_use(test_key(1));
  EXPECT_TRUE(residency.admit(meta_of(2, 0), 10).admitted);
}

// What goes next must not depend on how often others asked in vain.
TEST(Residency, ARefusedBlockLeavesTheOrderOfEvictionAlone) {
  for (const std::string& policy : eviction_policy_names()) {
    auto residency = *Residency::create({.budget_bytes = 100, .policy = policy});
    for (std::uint64_t number = 0; number < 6; ++number) {
      ASSERT_TRUE(residency.admit(meta_of(number, 2), 10).admitted);
    }
    ASSERT_TRUE(residency.admit(meta_of(100, 1), 40).admitted);
    residency.begin_use(test_key(100), Deadline::max());
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(residency.admit(meta_of(101, 1), 25).admitted) << policy;
    // One block of the other's is above its equal part: its oldest.
    const Residency::Admission admission = residency.admit(meta_of(102, 1), 10);
    ASSERT_TRUE(admission.admitted) << policy;
    EXPECT_EQ(admission.evict, std::vector{test_key(0)}) << policy;
  }
}

// A tenth of the bytes is a tenth of what the tenant has, not of what all may have.
TEST(Residency, ManyTenantsDoNotSpoilThePolicyOfOne) {
  constexpr std::uint64_t kTenants = 12, kShare = 100;
  auto residency = *Residency::create({.budget_bytes = kTenants * kShare, .policy = "s3fifo"});
  std::set<Digest> held;
  std::uint64_t number = 0;
  const auto write = [&](std::uint64_t of) {
    const BlockMeta meta = meta_of(number++, of);
    const Residency::Admission admission = residency.admit(meta, 1);
    for (const Digest& key : admission.evict) held.erase(key);
    if (admission.admitted) held.insert(meta.key);
    return meta.key;
  };
  for (std::uint64_t of = 1; of < kTenants; ++of) {
    for (std::uint64_t i = 0; i < kShare; ++i) (void)write(of);
  }
  std::vector<Digest> hot;
  for (int i = 0; i < 40; ++i) hot.push_back(write(0));
  for (int round = 0; round < 40; ++round) {
    for (const Digest& key : hot) residency.used(key);
    for (int i = 0; i < 50; ++i) (void)write(0);
  }
  for (const Digest& key : hot) EXPECT_TRUE(held.contains(key));
}

}  // namespace
}  // namespace cairn
