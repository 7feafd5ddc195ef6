// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/judged_engine.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>
#include <string>
#include <utility>

#include "cairn/base/random.h"
#include "cairn/codec/plan.h"
#include "cairn/policy/policy.h"

namespace cairn {
namespace {

struct Part {
  std::string_view name;
  double min, max;
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
  return known + "policy, and those of plans: sinks, recent, prefill, codebooks";
}

// Within a recipe a policy has its own parts behind strokes, since plus signs end it. The name of a profile ends with
// ".toml" and keeps its strokes.
std::string swap_marks(std::string_view policy, char from, char to) {
  constexpr std::string_view kProfile = "profile=", kEnding = ".toml";
  std::string text;
  for (std::size_t at = 0; at < policy.size();) {
    const std::string_view rest = policy.substr(at);
    if (!text.empty() && text.back() == to && rest.starts_with(kProfile)) {
      std::size_t end = rest.find(kEnding);
      while (end < rest.size() && end + kEnding.size() < rest.size() && rest[end + kEnding.size()] != from) {
        end = rest.find(kEnding, end + 1);
      }
      const std::size_t length = end < rest.size() ? end + kEnding.size() : kProfile.size();
      text += rest.substr(0, length);
      at += length;
      continue;
    }
    text += rest.front() == from ? to : rest.front();
    ++at;
  }
  return text;
}

Status set_part(EvalRecipe& recipe, std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = text.substr(0, equals);
  if (name == "policy") {
    const std::string asked = swap_marks(equals == text.npos ? "" : text.substr(equals + 1), '/', '+');
    recipe.policy.clear();
    if (asked == "none") return {};
    CAIRN_TRY(const PolicySpec policy, parse_policy(asked));
    recipe.policy = policy.text;
    return {};
  }
  for (const Part& part : parts()) {
    if (part.name != name) continue;
    const std::string_view number = equals == text.npos ? std::string_view() : text.substr(equals + 1);
    double amount = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), amount);
    const bool complete = error == std::errc() && end == number.data() + number.size() && !number.empty();
    if (!complete || !(amount >= part.min && amount <= part.max) ||
        (part.whole && amount != static_cast<double>(static_cast<std::int64_t>(amount)))) {
      return fail(ErrorCode::kInvalidArgument, "recipe part '" + std::string(text) + "': write " + std::string(name) +
                                                   "=N with a " + (part.whole ? "whole " : "") + "number from " +
                                                   shortest(part.min) + " to " + shortest(part.max));
    }
    part.set(recipe, amount);
    return {};
  }
  return fail(ErrorCode::kInvalidArgument,
              "unknown recipe part '" + std::string(name) + "'; the parts are " + known_parts());
}

// One bit keeps the signs and the mean magnitude; more bits are evenly spaced levels from the least to the greatest.
void round_to_levels(std::span<float> x, std::uint32_t bits) {
  if (bits == 1) {
    float sum = 0;
    for (const float value : x) sum += std::fabs(value);
    const float magnitude = sum / static_cast<float>(x.size());
    for (float& value : x) value = std::copysign(magnitude, value);
    return;
  }
  const auto [low, high] = std::ranges::minmax(x);
  const float step = (high - low) / static_cast<float>((1u << bits) - 1);
  if (step == 0) return;
  for (float& value : x) value = low + std::round((value - low) / step) * step;
}

}  // namespace

Result<EvalRecipe> parse_recipe(std::string_view text) {
  CAIRN_TRY_VOID(check_parts_once(text));
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
  if (!recipe.policy.empty()) {
    if (recipe.drop != 0 || recipe.evict != 0) {
      return fail(ErrorCode::kInvalidArgument,
                  "recipe '" + std::string(text) + "': a policy does not go with drop or evict, which hide tokens");
    }
    recipe.text += "+policy=" + swap_marks(recipe.policy, '+', '/');
  }
  return recipe;
}

DamageTap::DamageTap(const EvalRecipe& recipe, std::span<const LayerSpec> layers) : recipe_(recipe) {
  for (const LayerSpec& layer : layers) {
    layers_.push_back({layer.shape, RopeShift(layer.rope, 0, -std::int64_t{recipe.shift})});
  }
}

void DamageTap::change(std::uint32_t layer, std::int32_t, float* k, float* v) const {
  const auto& [shape, shift] = layers_[layer];
  const std::size_t dim = shape.head_dim;
  for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
    const std::span key(k + h * dim, dim);
    const std::span value = shape.has_value_pages() ? std::span(v + h * dim, dim) : key.first(shape.value_dim());
    if (h < recipe_.zero_heads) {
      std::ranges::fill(key, 0.0f);
      std::ranges::fill(value, 0.0f);
      continue;
    }
    if (recipe_.value_bits != 0) round_to_levels(value, recipe_.value_bits);
    shift.apply(key, shape.head_dim);
  }
}

Result<std::unique_ptr<JudgedEngine>> JudgedEngine::make(const Engine& family, const EvalRecipe& recipe,
                                                         EngineOptions options, bool keep_contexts) {
  const ModelConfig& config = family.config();
  if (recipe.zero_heads > config.kv_heads) {
    return fail(ErrorCode::kInvalidArgument,
                "recipe '" + recipe.text + "': the model has only " + std::to_string(config.kv_heads) + " KV heads");
  }
  std::unique_ptr<JudgedEngine> judged(new JudgedEngine(recipe));
  if (recipe.changes_rows()) {
    judged->tap_ = std::make_unique<DamageTap>(recipe, model_layers(config));
  }
  options.codec = recipe.codec;
  options.plan = recipe.plan;
  options.tap = judged->tap_.get();
  options.policy.clear();  // each sequence gets it, so that recipes can share a cache
  options.reuse = keep_contexts && recipe.shares_contexts();
  options.keeps_prefixes = false;  // no two recipes with one policy
  CAIRN_TRY(judged->engine_, family.sibling(options));
  judged->logits_.resize(config.vocab);
  CAIRN_TRY_VOID(judged->take_policy(recipe.policy));
  return judged;
}

Status JudgedEngine::take_policy(const std::string& text) {
  std::optional<PolicySpec> policy;
  if (!text.empty()) {
    CAIRN_TRY(policy, parse_policy(text));
    CAIRN_TRY_VOID(engine_->check_policy(*policy));
  }
  policy_ = std::move(policy);
  return {};
}

Result<bool> JudgedEngine::switch_to(const EvalRecipe& recipe) {
  if (recipe.codec != recipe_.codec || !recipe.shares_contexts() || !recipe_.shares_contexts()) return false;
  CAIRN_TRY_VOID(take_policy(recipe.policy));
  recipe_ = recipe;
  return true;
}

Sequence JudgedEngine::open(std::span<const TokenId> prompt) {
  return engine_->cache().open(prompt, {}, policy_ ? &*policy_ : nullptr);  // take_policy() has looked at it
}

Status JudgedEngine::forward(std::span<const ForwardRows> batch) {
  CAIRN_TRY_VOID(engine_->forward(batch));
  if (recipe_.drop == 0) return {};
  for (const ForwardRows& part : batch) {
    const std::size_t before = (part.sequence->size() - part.tokens.size()) / kBlockTokens;
    for (std::size_t b = before; b < part.sequence->size() / kBlockTokens; ++b) {
      CAIRN_TRY_VOID(hide_share(*part.sequence, b * kBlockTokens, (b + 1) * kBlockTokens, recipe_.drop));
    }
  }
  return {};
}

Result<std::span<const float>> JudgedEngine::extend(Sequence& sequence, std::span<const TokenId> tokens,
                                                    const std::atomic<bool>* cancel) {
  sequence.begin_prompt();
  while (!tokens.empty()) {
    if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
      return fail(ErrorCode::kCancelled, "stopped with " + std::to_string(tokens.size()) + " tokens to go");
    }
    const std::size_t count = std::min(tokens.size(), kBlockTokens - sequence.size() % kBlockTokens);
    const bool last = count == tokens.size();
    const ForwardRows rows[] = {{&sequence, tokens.first(count), last ? 1u : 0u, logits_.data()}};
    CAIRN_TRY_VOID(forward(rows));
    tokens = tokens.subspan(count);
  }
  return std::span<const float>(logits_);
}

Status JudgedEngine::finish_context(Sequence& sequence, std::size_t pinned) {
  CAIRN_TRY_VOID(engine_->finish_prompt(sequence));
  const std::size_t spared = std::max<std::size_t>(pinned, 1);  // models park attention on the first token
  return hide_share(sequence, std::min(spared, sequence.size()), sequence.size(), recipe_.evict);
}

Status JudgedEngine::hide_share(Sequence& sequence, std::size_t first, std::size_t end, double share) {
  std::vector<std::size_t> tokens(end - first);
  std::iota(tokens.begin(), tokens.end(), first);
  const auto hidden = static_cast<std::size_t>(std::lround(share * static_cast<double>(tokens.size())));
  if (hidden == 0) return {};
  std::uint64_t content = 0;
  for (const std::size_t t : tokens)
    content = content * 0x100000001b3u + static_cast<std::uint64_t>(sequence.tokens()[t]);
  SeededRandom(content, "hide", first, end).shuffle(tokens);
  return sequence.hide(std::span(tokens).first(hidden));
}

CacheCost JudgedEngine::cost(const Sequence& sequence) {
  const KvCacheOptions& options = engine_->cache().options();
  const auto held = static_cast<double>(sequence.bytes_held());
  const PolicyReport policy = sequence.policy_report();
  const bool retained = policy.tokens_before > 0;
  const KvCacheStats stats = engine_->cache().stats();
  const auto stored_values = static_cast<double>(std::max<std::uint64_t>(stats.cold_values, 1));
  const auto held_tokens = static_cast<double>(policy.tokens_kept + policy.tokens_demoted);
  return {.bytes_per_token = held / static_cast<double>(sequence.size()),
          .bits_per_value = options.plan.mean_bits(options.layers.front().shape),
          .bytes_held = held,
          .kept = retained ? held_tokens / static_cast<double>(policy.tokens_before) : 1,
          .stored_bits = 8 * static_cast<double>(stats.cold_bytes) / stored_values};
}

}  // namespace cairn
