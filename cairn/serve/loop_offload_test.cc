// SPDX-License-Identifier: Apache-2.0
// Requests whose blocks move out of the KV budget: what they take is counted where it lies.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/serve/loop.h"
#include "cairn/testing/loop_case.h"

namespace cairn {
namespace {

class LoopOffload : public LoopCase {};

// Two requests of one prompt that the budget does not hold as a whole. The place holds what both of them move, or what
// one does: then the second waits. Where blocks lie changes no bit.
TEST_P(LoopOffload, RequestsOfOnePrefixAreAdmittedByWhatIsTheirs) {
  const GenerateRequest asked = with_policy(request(random_prompt(1, 1900), 40), "quest+keep=0.2+unread=offload");
  const std::vector<TokenId> expected = alone(with_policy(asked, "quest+keep=0.2"));
  for (const std::size_t places : {2u, 1u}) {
    EngineOptions engine = engine_options(GetParam());
    engine.offload.bytes = std::size_t{64} << 20;
    const PlannedBytes planned = (*load_tiny(model_, engine))->planned_bytes(&*asked.policy, 1900, 0, 1940);
    ASSERT_GT(planned.beside, planned.whole);
    engine.offload.bytes = places * planned.beside;
    LoopOptions options;
    options.engine = engine;
    options.kv_budget_bytes = 2 * planned.whole;
    const auto served = *ServeLoop::create(*load_tiny(model_, engine), options);
    const auto first = *served->submit(asked), second = *served->submit(asked);
    for (const auto& each : {first, second}) {
      const Answer answer = collect(*each);
      EXPECT_EQ(answer.result.reason, FinishReason::kLength) << answer.result.error;
      EXPECT_EQ(answer.ids, expected) << places;
    }
    EXPECT_LE(served->state().tenants[0].cache.high_water, options.kv_budget_bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, LoopOffload, ::testing::Values("raw_f16", "tok4"), loop_case_name);

}  // namespace
}  // namespace cairn
