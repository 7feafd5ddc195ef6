// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/recipe.h"

#include <charconv>
#include <cstdio>
#include <span>

#include "cairn/codec/plan.h"

namespace cairn {
namespace {

struct Part {
  std::string_view name;
  double least, most;
  bool whole;
  void (*set)(EvalRecipe& recipe, double amount);
  double (*get)(const EvalRecipe& recipe);
};

// In the order of the canonical text.
std::span<const Part> parts() {
  static const Part table[] = {
      {"value-bits", 1, 8, true, [](EvalRecipe& r, double x) { r.value_bits = static_cast<std::uint32_t>(x); },
       [](const EvalRecipe& r) { return static_cast<double>(r.value_bits); }},
      {"shift", -1e6, 1e6, true, [](EvalRecipe& r, double x) { r.shift = static_cast<std::int32_t>(x); },
       [](const EvalRecipe& r) { return static_cast<double>(r.shift); }},
      {"zero-heads", 0, 1e6, true, [](EvalRecipe& r, double x) { r.zero_heads = static_cast<std::uint32_t>(x); },
       [](const EvalRecipe& r) { return static_cast<double>(r.zero_heads); }},
      {"drop", 0, 1, false, [](EvalRecipe& r, double x) { r.drop = x; }, [](const EvalRecipe& r) { return r.drop; }},
      {"evict", 0, 1, false, [](EvalRecipe& r, double x) { r.evict = x; }, [](const EvalRecipe& r) { return r.evict; }},
  };
  return table;
}

std::string shortest(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::string known_parts() {
  std::string known;
  for (const Part& part : parts()) known += std::string(part.name) + ", ";
  return known + "and those of plans: sinks, recent, prefill, codebooks";
}

Status set_part(EvalRecipe& recipe, std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  for (const Part& part : parts()) {
    if (part.name != name) continue;
    const std::string_view number = equals == text.npos ? std::string_view() : text.substr(equals + 1);
    double amount = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), amount);
    const bool complete = error == std::errc() && end == number.data() + number.size() && !number.empty();
    if (!complete || !(amount >= part.least && amount <= part.most) ||
        (part.whole && amount != static_cast<double>(static_cast<std::int64_t>(amount)))) {
      return fail(ErrorCode::kInvalidArgument, "recipe part '" + std::string(text) + "': write " + std::string(name) +
                                                   "=N with a " + (part.whole ? "whole " : "") + "number from " +
                                                   shortest(part.least) + " to " + shortest(part.most));
    }
    part.set(recipe, amount);
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "unknown recipe part '" + std::string(name) + "'; the parts are " + known_parts());
}

}  // namespace

Result<EvalRecipe> parse_recipe(std::string_view text) {
  EvalRecipe recipe;
  recipe.codec.clear();
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('+', begin), text.size());
    const std::string_view piece = text.substr(begin, end - begin);
    if (begin == 0) {
      CAIRN_TRY_VOID(check_codecs(piece));
      recipe.codec = piece;
    } else if (is_plan_part(piece)) {
      recipe.codec += "+" + std::string(piece);
    } else {
      CAIRN_TRY_VOID(set_part(recipe, piece));
    }
    begin = end + 1;
  }
  recipe.text = recipe.codec;
  for (const Part& part : parts()) {
    if (const double amount = part.get(recipe); amount != 0) {
      recipe.text += "+" + std::string(part.name) + "=" + shortest(amount);
    }
  }
  return recipe;
}

}  // namespace cairn
