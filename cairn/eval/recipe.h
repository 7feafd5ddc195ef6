// SPDX-License-Identifier: Apache-2.0
// What an evaluation judges: how a cache stores and what it is made to lose (docs/evaluation.md, "Recipes").
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/codec/plan.h"

namespace cairn {

// A value. The parts besides the codec are simulated: they change what attention reads, not what is held.
struct EvalRecipe {
  std::string text;                         // as parse_recipe writes it, one text for one meaning
  std::string codec = "raw_f16";            // with the parts of its plan, see make_plan()
  std::shared_ptr<const CodecPlan> plan{};  // instead of `codec`, if not null
  std::uint32_t value_bits = 0;             // 1 to 8: levels of a value head vector; 0 leaves values alone
  std::int32_t shift = 0;                   // keys stand so many positions too early
  std::uint32_t zero_heads = 0;             // of the KV heads of every layer, from the first
  double drop = 0;                          // share of a finished block's tokens that is hidden
  double evict = 0;                         // share of a finished context's tokens that is hidden

  bool changes_rows() const { return value_bits != 0 || shift != 0 || zero_heads != 0; }
};

// "PLAN[+PART=AMOUNT]...", PLAN as make_plan() takes it; a plan file is not read yet. Errors: kInvalidArgument (the
// message lists the parts or says which amounts are possible), kUnsupported (unknown codec).
Result<EvalRecipe> parse_recipe(std::string_view text);

}  // namespace cairn
