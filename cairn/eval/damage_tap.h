// SPDX-License-Identifier: Apache-2.0
// The damages of a recipe that change keys and values on their way into the cache: negative controls for the
// instruments, not compression.
#pragma once

#include <cstdint>
#include <string>

#include "cairn/block/rope.h"
#include "cairn/block/shape.h"
#include "cairn/engine/forward.h"
#include "cairn/eval/recipe.h"

namespace cairn {

// Immutable and thread-safe.
class DamageTap final : public KvTap {
 public:
  // Requires: recipe.changes_rows().
  DamageTap(const EvalRecipe& recipe, PageShape shape, const RopeSpec& rope);

  void change(std::uint32_t layer, std::int32_t position, float* k, float* v) const override;
  std::string name() const override { return recipe_.text; }

 private:
  EvalRecipe recipe_;
  PageShape shape_;
  RopeShift shift_;
};

}  // namespace cairn
