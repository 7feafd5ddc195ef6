// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/rest_of_values.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "cairn/kernels/kernels.h"

namespace cairn::cache {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
// What is read weighs at least this beside the rest: so quotients stay finite, and what stands for the rest is its
// mean.
constexpr double kLeastShare = 1e-20;

// Boxes of one sheet, a bit for each.
struct SheetBoxes {
  std::uint64_t read = 0;
  std::uint64_t unread = 0;  // of those that the query sees whole
  std::uint64_t whole = 0;
};

SheetBoxes boxes_of_sheet(const RestOf& what, const AttendLayer& how, std::uint32_t kv_head, std::size_t sheet) {
  SheetBoxes found;
  const std::size_t first = sheet * ValueMeans::kSheetBlocks;
  const std::size_t count = std::min<std::size_t>(ValueMeans::kSheetBlocks, what.pages.size() - first);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t hidden = ~visible_slots(what.pages[first + i], what.position, how.window, kv_head);
    const auto whole = static_cast<std::uint64_t>(kAllBoxes & ~boxes_of_slots(hidden));
    const std::uint64_t read = what.reads[(first + i) * how.shape.kv_heads + kv_head];
    found.read |= read << i * kBlockBoxes;
    found.whole |= whole << i * kBlockBoxes;
  }
  found.unread = found.whole & ~found.read;
  return found;
}

// Of one query head, `own` is [1 + value_dim].
void rest_of_head(const RestOf& what, std::span<const SheetBoxes> sheets, std::uint32_t kv_head, std::size_t head,
                  std::span<float> own) {
  const std::span scores = what.weights.scores(head), weights = what.weights.weights(head);
  const std::span sum_of_values = own.subspan(1);
  std::ranges::fill(own, 0.0f);
  float greatest = what.weights.open_score(head), unused = 0;
  double read = static_cast<double>(what.weights.open_weight(head)), unread = 0;
  std::size_t whole = 0;
  std::array<float, kBlockTokens> p{};
  for (std::size_t s = 0; s < sheets.size(); ++s) {
    const SheetBoxes& boxes = sheets[s];
    const std::size_t first = s * kBlockTokens, count = std::min<std::size_t>(kBlockTokens, scores.size() - first);
    std::uint64_t known = boxes.read | boxes.unread;
    for (std::size_t b = 0; b < count; ++b) {
      const float score = scores[first + b], weight = weights[first + b];
      const bool is_known = weight > 0 && std::isfinite(weight) && std::isfinite(score);
      p[b] = is_known ? score : kNone;
      if (!is_known) known &= ~(std::uint64_t{1} << b);
    }
    float correction = 1;
    kernels().softmax_block(p.data(), &known, 1, &greatest, &unused, &correction);
    read *= static_cast<double>(correction);
    unread *= static_cast<double>(correction);
    for (std::size_t b = 0; b < count; ++b) {
      const bool is_read = (boxes.read >> b & 1) != 0;
      p[b] = (known >> b & 1) != 0 ? p[b] * weights[first + b] : 0;
      (is_read ? read : unread) += static_cast<double>(p[b]);
      if (is_read) p[b] = 0;
    }
    if (what.rule == RestRule::kMean) {
      correction = 1;
      for (std::size_t b = 0; b < kBlockTokens; ++b) p[b] = static_cast<float>(boxes.whole >> b & 1);
      whole += static_cast<std::size_t>(std::popcount(boxes.whole));
    }
    what.means.accumulate(kv_head, s, p.data(), &correction, 1, sum_of_values.data());
  }
  const double unit = std::max(read, unread * kLeastShare), share = unread / unit;
  if (!std::isfinite(share) || !(unread > 0)) {
    std::ranges::fill(own, 0.0f);
    return;
  }
  const double factor = what.rule == RestRule::kMean ? share / static_cast<double>(whole) : 1 / unit;
  own[0] = static_cast<float>(share);
  for (float& value : sum_of_values) value = static_cast<float>(static_cast<double>(value) * factor);
}

}  // namespace

void TokenWeights::reset(std::size_t heads, std::size_t boxes, float score_cap) {
  boxes_ = boxes;
  score_cap_ = score_cap;
  scores_.assign(heads * boxes, kNone);
  weights_.assign(heads * boxes, 0.0f);
  open_scores_.assign(heads, kNone);
  open_weights_.assign(heads, 0.0f);
}

void TokenWeights::set_means(std::size_t first_head, std::span<const float> scores) {
  const std::span own = std::span(scores_).subspan(first_head * boxes_, scores.size());
  std::ranges::copy(scores, own.begin());
  if (score_cap_ != 0.0f) kernels().soft_cap(own.data(), own.size(), score_cap_);
  std::ranges::fill(std::span(weights_).subspan(first_head * boxes_, scores.size()), static_cast<float>(kBoxTokens));
}

void TokenWeights::set_keys(std::size_t first_head, std::size_t heads, std::size_t block, std::uint8_t wanted,
                            std::uint64_t visible, std::span<float> scores) {
  for (std::size_t g = 0; g < heads; ++g) {
    float* row = scores.data() + g * kBlockTokens;
    float greatest = kNone, sum = 0, correction = 0;
    if (visible != 0) kernels().softmax_block(row, &visible, 1, &greatest, &sum, &correction);
    std::array<float, kBlockBoxes> sums{};  // side by side: a sum waits for itself
    for (std::uint32_t t = 0; visible != 0 && t < kBoxTokens; ++t) {
      for (std::uint32_t b = 0; b < kBlockBoxes; ++b) sums[b] += row[b * kBoxTokens + t];
    }
    for (std::uint32_t b = 0; b < kBlockBoxes; ++b) {
      if ((wanted >> b & 1) == 0) continue;
      const std::size_t at = (first_head + g) * boxes_ + block * kBlockBoxes + b;
      scores_[at] = greatest;
      weights_[at] = sums[b];
    }
  }
}

void TokenWeights::add_open(std::size_t first_head, std::size_t heads, std::uint64_t visible, std::span<float> scores) {
  for (std::size_t g = 0; g < heads; ++g) {
    float correction = 0;
    kernels().softmax_block(scores.data() + g * kBlockTokens, &visible, 1, &open_scores_[first_head + g],
                            &open_weights_[first_head + g], &correction);
  }
}

void rest_of_values(const RestOf& what, const AttendLayer& how, ThreadPool& pool, std::span<float> rest) {
  const std::size_t sheets = (what.pages.size() + ValueMeans::kSheetBlocks - 1) / ValueMeans::kSheetBlocks;
  const std::size_t group = how.heads / how.shape.kv_heads, width = rest.size() / how.heads;
  std::vector<SheetBoxes> boxes(how.shape.kv_heads * sheets);
  pool.run(boxes.size(), [&](std::size_t i, unsigned) {
    boxes[i] = boxes_of_sheet(what, how, static_cast<std::uint32_t>(i / sheets), i % sheets);
  });
  pool.run(how.heads, [&](std::size_t head, unsigned) {
    const auto kv_head = static_cast<std::uint32_t>(head / group);
    const std::span own = std::span(boxes).subspan(kv_head * sheets, sheets);
    rest_of_head(what, own, kv_head, head, rest.subspan(head * width, width));
  });
}

}  // namespace cairn::cache
