// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/feed_forward.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "cairn/base/check.h"
#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

using Gate = void (*)(float* gate, const float* up, std::size_t count);

Gate gate_of(Activation activation) {
  switch (activation) {
    case Activation::kSilu: return kernels().silu_mul;
    case Activation::kGelu: return kernels().gelu_mul;
    case Activation::kClampedSilu: return kernels().clamped_silu_mul;
  }
  CAIRN_CHECK(false);
}

void add_bias(float* x, const std::vector<float>& bias) {
  if (!bias.empty()) kernels().add(x, bias.data(), bias.size());
}

float sigmoid(float x) {
  float open[] = {x, 0.0f};  // a softmax over it and 0
  kernels().softmax(open, 2);
  return open[0];
}

// The indices of the `count` greatest, in order; of equals the first.
std::vector<std::uint32_t> greatest(std::span<const float> values, std::uint32_t count) {
  std::vector<std::uint32_t> order(values.size());
  std::iota(order.begin(), order.end(), 0u);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return values[a] > values[b] || (!(values[b] > values[a]) && a < b);
  });
  order.resize(count);
  return order;
}

// Takes the experts of all groups but the best out of the choice.
void leave_groups(std::span<float> rank, const ExpertSpec& spec) {
  const std::size_t each = spec.count / spec.groups;
  std::vector<float> best_two(spec.groups);
  for (std::uint32_t g = 0; g < spec.groups; ++g) {
    const auto group = rank.subspan(g * each, each);
    for (const std::uint32_t e : greatest(group, 2)) best_two[g] += group[e];
  }
  const std::vector<std::uint32_t> used = greatest(best_two, spec.used_groups);
  for (std::uint32_t g = 0; g < spec.groups; ++g) {
    if (std::ranges::find(used, g) != used.end()) continue;
    std::ranges::fill(rank.subspan(g * each, each), -std::numeric_limits<float>::infinity());
  }
}

}  // namespace

void FeedForward::compute(LayerWeights& layer, const float* x, std::uint32_t rows, float* out) {
  if (!layer.experts.empty()) {
    mixture(layer, x, rows, out);
    return;
  }
  GatedFfn* const one[] = {&layer.ffn};
  gated(one, x, rows, out);
}

// Several feed-forwards of one width, each over all rows: out is [feed-forwards, rows, width].
void FeedForward::gated(std::span<GatedFfn* const> weights, const float* x, std::uint32_t rows, float* out) {
  const std::size_t ffn = weights.front()->gate.rows(), each = rows * ffn, width = config_.width;
  float* gate = gate_.ensure(weights.size() * each);
  float* up = up_.ensure(weights.size() * each);
  targets_.clear();
  for (std::size_t w = 0; w < weights.size(); ++w) {
    targets_.push_back({&weights[w]->gate, gate + w * each, ffn});
    targets_.push_back({&weights[w]->up, up + w * each, ffn});
  }
  linear_.multiply(x, rows, config_.width, targets_);
  const Gate activate = gate_of(config_.activation);
  pool_.run(weights.size() * rows, [&](std::size_t r, unsigned) {
    add_bias(gate + r * ffn, weights[r / rows]->gate_bias);
    add_bias(up + r * ffn, weights[r / rows]->up_bias);
    activate(gate + r * ffn, up + r * ffn, ffn);
  });
  for (std::size_t w = 0; w < weights.size(); ++w) {
    const LinearTarget down[] = {{&weights[w]->down, out + w * rows * width, width}};
    linear_.multiply(gate + w * each, rows, static_cast<std::uint32_t>(ffn), down);
    for (std::size_t r = w * rows; r < (w + 1) * rows; ++r) add_bias(out + r * width, weights[w]->down_bias);
  }
}

void FeedForward::mixture(LayerWeights& layer, const float* x, std::uint32_t rows, float* out) {
  choose(layer, x, rows);
  chosen_experts(layer, x, rows);
  const std::size_t used = config_.experts.used, width = config_.width;
  pool_.run(rows, [&](std::size_t r, unsigned) {
    float* sum = out + r * width;
    std::fill_n(sum, width, 0.0f);
    for (std::size_t c = r * used; c < (r + 1) * used; ++c) {
      const float* part = by_choice_.data() + c * width;
      for (std::size_t i = 0; i < width; ++i) sum[i] += choices_[c].weight * part[i];
    }
  });
  if (layer.shared.gate.rows() != 0) add_shared(layer, x, rows, out);
}

void FeedForward::choose(LayerWeights& layer, const float* x, std::uint32_t rows) {
  const ExpertSpec& spec = config_.experts;
  const LinearTarget target[] = {{&layer.router, router_.ensure(std::size_t{rows} * spec.count), spec.count}};
  linear_.multiply(x, rows, config_.width, target);
  choices_.resize(std::size_t{rows} * spec.used);
  pool_.run(rows, [&](std::size_t r, unsigned) {
    add_bias(router_.data() + r * spec.count, layer.router_bias);
    const float* bias = layer.choice_bias.empty() ? nullptr : layer.choice_bias.data();
    choose_for(bias, router_.data() + r * spec.count, choices_.data() + r * spec.used);
  });
}

// The most probable experts of a row, where only those of some groups may be, and a bias has its say; of equals the
// first. `scores` [experts] become probabilities.
void FeedForward::choose_for(const float* bias, float* scores, Choice* chosen) const {
  const ExpertSpec& spec = config_.experts;
  if (spec.gate == ExpertGate::kSigmoid) {
    for (std::uint32_t e = 0; e < spec.count; ++e) scores[e] = sigmoid(scores[e]);
  } else {
    kernels().softmax(scores, spec.count);
  }
  // Not-a-numbers have no order.
  std::replace_if(
      scores, scores + spec.count, [](float p) { return !(p >= 0.0f); }, 0.0f);
  std::vector<float> rank(scores, scores + spec.count);
  for (std::uint32_t e = 0; bias != nullptr && e < spec.count; ++e) rank[e] += bias[e];
  if (spec.groups > 1) leave_groups(rank, spec);
  const std::vector<std::uint32_t> order = greatest(rank, spec.used);
  float total = 0;
  for (const std::uint32_t e : order) total += scores[e];
  const float factor = spec.normed ? spec.scale / std::max(total, 1e-30f) : spec.scale;
  for (const std::uint32_t e : order) *chosen++ = {e, scores[e] * factor};
}

// by_choice_ [rows, used, width]: what each chosen expert gives.
void FeedForward::chosen_experts(LayerWeights& layer, const float* x, std::uint32_t rows) {
  const std::size_t used = config_.experts.used, width = config_.width;
  float* by_choice = by_choice_.ensure(choices_.size() * width);
  if (rows == 1) {  // one input for all of them
    std::vector<GatedFfn*> experts;
    for (const Choice& choice : choices_) experts.push_back(&layer.experts[choice.expert]);
    gated(experts, x, 1, by_choice);
    return;
  }
  members_.resize(choices_.size());
  std::iota(members_.begin(), members_.end(), 0u);
  std::ranges::stable_sort(members_, {}, [&](std::uint32_t c) { return choices_[c].expert; });
  for (std::span<const std::uint32_t> left = members_; !left.empty();) {
    const std::uint32_t expert = choices_[left.front()].expert;
    const auto end = std::ranges::find_if(left, [&](std::uint32_t c) { return choices_[c].expert != expert; });
    const auto own = left.first(static_cast<std::size_t>(end - left.begin()));
    left = left.subspan(own.size());
    float* gathered = gathered_.ensure(own.size() * width);
    float* given = given_.ensure(own.size() * width);
    for (std::size_t i = 0; i < own.size(); ++i) std::copy_n(x + own[i] / used * width, width, gathered + i * width);
    GatedFfn* const one[] = {&layer.experts[expert]};
    gated(one, gathered, static_cast<std::uint32_t>(own.size()), given);
    for (std::size_t i = 0; i < own.size(); ++i) std::copy_n(given + i * width, width, by_choice + own[i] * width);
  }
}

void FeedForward::add_shared(LayerWeights& layer, const float* x, std::uint32_t rows, float* out) {
  const std::size_t width = config_.width;
  const bool gated_too = layer.shared_gate.rows() != 0;
  const LinearTarget target[] = {{&layer.shared_gate, router_.ensure(rows), 1}};
  if (gated_too) linear_.multiply(x, rows, config_.width, target);
  GatedFfn* const one[] = {&layer.shared};
  gated(one, x, rows, given_.ensure(rows * width));
  pool_.run(rows, [&](std::size_t r, unsigned) {
    const float open = gated_too ? sigmoid(router_.data()[r]) : 1.0f;
    const float* part = given_.data() + r * width;
    for (std::size_t i = 0; i < width; ++i) out[r * width + i] += open * part[i];
  });
}

}  // namespace cairn
