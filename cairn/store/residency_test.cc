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

}  // namespace
}  // namespace cairn
