// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/recipe.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

TEST(EvalRecipe, OneTextForOneMeaning) {
  EXPECT_EQ(parse_recipe("raw_f16")->text, "raw_f16");
  EXPECT_EQ(parse_recipe("raw_f16+drop=0.20+value-bits=1")->text, "raw_f16+value-bits=1+drop=0.2");
  EXPECT_EQ(parse_recipe("raw_bf16+shift=-3")->text, "raw_bf16+shift=-3");
  EXPECT_EQ(parse_recipe("raw_f16+drop=0+zero-heads=0")->text, "raw_f16");
  for (const char* text : {"raw_f32", "raw_f16+value-bits=8+shift=5+zero-heads=2+drop=0.125+evict=1"}) {
    EXPECT_EQ(parse_recipe(text)->text, text);
  }
}

TEST(EvalRecipe, SaysWhetherRowsChange) {
  EXPECT_FALSE(parse_recipe("raw_f16+drop=0.5+evict=0.5")->changes_rows());
  EXPECT_TRUE(parse_recipe("raw_f16+shift=1")->changes_rows());
  EXPECT_TRUE(parse_recipe("raw_f16+value-bits=4")->changes_rows());
  EXPECT_TRUE(parse_recipe("raw_f16+zero-heads=1")->changes_rows());
}

TEST(EvalRecipe, RefusesWhatMeansNothing) {
  for (const char* text :
       {"", "+", "raw_f17", "raw_f16+", "raw_f16+drop", "raw_f16+drop=", "raw_f16+drop=1.1", "raw_f16+drop=-0.1",
        "raw_f16+drop=nan", "raw_f16+drop=0.2x", "raw_f16+value-bits=1.5", "raw_f16+value-bits=0",
        "raw_f16+value-bits=9", "raw_f16+shift=1e99", "raw_f16+quant=2", "raw_f16++drop=0.1", "raw_f16 + drop=0.1"}) {
    const auto recipe = parse_recipe(text);
    ASSERT_FALSE(recipe) << text;
    EXPECT_EQ(recipe.error().message.find('\n'), std::string::npos);
  }
  EXPECT_NE(parse_recipe("raw_f16+quant=2").error().message.find("value-bits, shift"), std::string::npos);
}

}  // namespace
}  // namespace cairn
