// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/feed_forward.h"

#include <algorithm>
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

}  // namespace

Status FeedForward::compute(LayerWeights& layer, const float* x, std::uint32_t rows, float* out) {
  if (!layer.experts.empty()) return mixture(layer, x, rows, out);
  GatedFfn* const one[] = {&layer.ffn};
  return gated(one, x, rows, out);
}

// Several feed-forwards of one width, each over all rows: out is [feed-forwards, rows, width].
Status FeedForward::gated(std::span<GatedFfn* const> weights, const float* x, std::uint32_t rows, float* out) {
  const std::size_t ffn = weights.front()->gate.rows(), each = rows * ffn, width = config_.width;
  float* gate = gate_.ensure(weights.size() * each);
  float* up = up_.ensure(weights.size() * each);
  targets_.clear();
  for (std::size_t w = 0; w < weights.size(); ++w) {
    targets_.push_back({&weights[w]->gate, gate + w * each, ffn});
    targets_.push_back({&weights[w]->up, up + w * each, ffn});
  }
  CAIRN_TRY_VOID(linear_.multiply(x, rows, config_.width, targets_));
  const Gate activate = gate_of(config_.activation);
  pool_.run(weights.size() * rows, [&](std::size_t r, unsigned) {
    add_bias(gate + r * ffn, weights[r / rows]->gate_bias);
    add_bias(up + r * ffn, weights[r / rows]->up_bias);
    activate(gate + r * ffn, up + r * ffn, ffn);
  });
  for (std::size_t w = 0; w < weights.size(); ++w) {
    const LinearTarget down[] = {{&weights[w]->down, out + w * rows * width, width}};
    CAIRN_TRY_VOID(linear_.multiply(gate + w * each, rows, static_cast<std::uint32_t>(ffn), down));
    for (std::size_t r = w * rows; r < (w + 1) * rows; ++r) add_bias(out + r * width, weights[w]->down_bias);
  }
  return {};
}

Status FeedForward::mixture(LayerWeights& layer, const float* x, std::uint32_t rows, float* out) {
  CAIRN_TRY_VOID(choose(layer, x, rows));
  CAIRN_TRY_VOID(chosen_experts(layer, x, rows));
  const std::size_t used = config_.experts.used, width = config_.width;
  pool_.run(rows, [&](std::size_t r, unsigned) {
    float* sum = out + r * width;
    std::fill_n(sum, width, 0.0f);
    for (std::size_t c = r * used; c < (r + 1) * used; ++c) {
      const float* part = by_choice_.data() + c * width;
      for (std::size_t i = 0; i < width; ++i) sum[i] += choices_[c].weight * part[i];
    }
  });
  return layer.shared.gate.rows() == 0 ? Status() : add_shared(layer, x, rows, out);
}

// The most probable experts of each row; of equals the first.
Status FeedForward::choose(LayerWeights& layer, const float* x, std::uint32_t rows) {
  const ExpertSpec& spec = config_.experts;
  const LinearTarget target[] = {{&layer.router, router_.ensure(std::size_t{rows} * spec.count), spec.count}};
  CAIRN_TRY_VOID(linear_.multiply(x, rows, config_.width, target));
  choices_.resize(std::size_t{rows} * spec.used);
  pool_.run(rows, [&](std::size_t r, unsigned) {
    float* probability = router_.data() + r * spec.count;
    add_bias(probability, layer.router_bias);
    kernels().softmax(probability, spec.count);
    // Not-a-numbers have no order.
    std::replace_if(
        probability, probability + spec.count, [](float p) { return !(p >= 0.0f); }, 0.0f);
    std::vector<std::uint32_t> order(spec.count);
    std::iota(order.begin(), order.end(), 0u);
    std::partial_sort(order.begin(), order.begin() + spec.used, order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return probability[a] > probability[b] || (!(probability[b] > probability[a]) && a < b);
    });
    float total = 0;
    for (std::uint32_t i = 0; i < spec.used; ++i) total += probability[order[i]];
    const float factor = spec.normed ? spec.scale / std::max(total, 1e-30f) : spec.scale;
    for (std::uint32_t i = 0; i < spec.used; ++i) {
      choices_[r * spec.used + i] = {order[i], probability[order[i]] * factor};
    }
  });
  return {};
}

// by_choice_ [rows, used, width]: what each chosen expert gives.
Status FeedForward::chosen_experts(LayerWeights& layer, const float* x, std::uint32_t rows) {
  const std::size_t used = config_.experts.used, width = config_.width;
  float* by_choice = by_choice_.ensure(choices_.size() * width);
  if (rows == 1) {  // one input for all of them
    std::vector<GatedFfn*> experts;
    for (const Choice& choice : choices_) experts.push_back(&layer.experts[choice.expert]);
    return gated(experts, x, 1, by_choice);
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
    CAIRN_TRY_VOID(gated(one, gathered, static_cast<std::uint32_t>(own.size()), given));
    for (std::size_t i = 0; i < own.size(); ++i) std::copy_n(given + i * width, width, by_choice + own[i] * width);
  }
  return {};
}

Status FeedForward::add_shared(LayerWeights& layer, const float* x, std::uint32_t rows, float* out) {
  const std::size_t width = config_.width;
  const LinearTarget target[] = {{&layer.shared_gate, router_.ensure(rows), 1}};
  CAIRN_TRY_VOID(linear_.multiply(x, rows, config_.width, target));
  GatedFfn* const one[] = {&layer.shared};
  CAIRN_TRY_VOID(gated(one, x, rows, given_.ensure(rows * width)));
  pool_.run(rows, [&](std::size_t r, unsigned) {
    float open[] = {router_.data()[r], 0.0f};  // a softmax over it and 0 is its sigmoid
    kernels().softmax(open, 2);
    const float* part = given_.data() + r * width;
    for (std::size_t i = 0; i < width; ++i) out[r * width + i] += open[0] * part[i];
  });
  return {};
}

}  // namespace cairn
