// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/read_scores.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <ranges>
#include <vector>

#include "cairn/base/aligned_buffer.h"
#include "cairn/codec/codec.h"
#include "cairn/kernels/kernels.h"
#include "cairn/policy/query_forms.h"

namespace cairn::cache {
namespace {

// SparQ's r of 32 for heads of 128 channels.
constexpr std::uint32_t kChannelShare = 4;
// MPCache's ratio at the first level; a larger budget leaves more.
constexpr double kClusterShare = 0.5;

// The query heads of one KV head, in the basis of the keys.
struct GroupQueries {
  std::vector<float> q;  // [count, dim]
  std::uint32_t count, dim;
};

GroupQueries queries_of(const AttendRows& rows, const AttendLayer& how, std::uint32_t kv_head, bool hadamard) {
  const std::uint32_t group = how.heads / how.shape.kv_heads, dim = how.shape.head_dim;
  const float* first = rows.q + std::size_t{kv_head} * group * dim;
  GroupQueries queries{{first, first + std::size_t{group} * dim}, group, dim};
  if (hadamard) hadamard_heads(queries.q, dim);
  return queries;
}

// `all` is [heads, units].
void take_greatest(std::span<const float> all, std::span<float> scores) {
  std::ranges::copy(all.first(scores.size()), scores.begin());
  for (std::size_t i = scores.size(); i < all.size(); ++i) {
    float& score = scores[i % scores.size()];
    score = std::max(score, all[i]);
  }
}

// Scores of different query heads are not on one scale; their softmax is. `all` is [heads, units], used up.
void add_softmax(std::span<float> all, std::uint32_t heads, std::span<float> scores) {
  const std::size_t units = all.size() / heads, per_score = units / scores.size();
  std::ranges::fill(scores, 0.0f);
  for (std::uint32_t g = 0; g < heads; ++g) {
    float* row = all.data() + g * units;
    kernels().softmax(row, units);
    for (std::size_t u = 0; u < units; ++u) scores[u / per_score] += row[u];
  }
}

void score_boxes(const Reader& reader, const KeyBoxes& boxes, std::uint32_t kv_head, const GroupQueries& queries,
                 std::span<float> scores) {
  std::vector<float> all(queries.count * scores.size());
  if (reader.fold == nullptr) {
    boxes.scores(kv_head, queries.q.data(), queries.count, all);
  } else {
    const std::size_t dim = queries.dim;
    std::vector<float> folded(std::size_t{queries.count} * 2 * dim);
    for (std::uint32_t g = 0; g < queries.count; ++g) {
      reader.fold(queries.q.data() + g * dim, queries.dim, folded.data() + g * 2 * dim);
    }
    boxes.scores(kv_head, folded.data(), queries.count, all);
  }
  if (reader.greatest) return take_greatest(all, scores);
  add_softmax(all, queries.count, scores);
}

// Scores pages by all channels, or by those that some query has. Raw keys lie by channel: of these the others are not
// read. For codes there is nothing to leave out.
class PageScores {
 public:
  // `sketches` may be null: then by the pages themselves.
  PageScores(const GroupQueries& queries, bool some_channels, const KeySketches* sketches)
      : queries_(queries), sketches_(sketches) {
    for (std::uint32_t c = 0; some_channels && c < queries.dim; ++c) {
      const auto has = [&](std::uint32_t g) { return queries.q[g * queries.dim + c] != 0; };
      if (std::ranges::any_of(std::views::iota(0u, queries.count), has)) channels_.push_back(c);
    }
    for (std::uint32_t g = 0; g < queries.count; ++g) {
      for (const std::uint32_t c : channels_) gathered_.push_back(queries.q[g * queries.dim + c]);
    }
  }

  // scores [heads, kBlockTokens].
  void of(const PageView& page, std::size_t block, std::uint32_t kv_head, float* scores) {
    if (sketches_ != nullptr) {
      const PageFormat& format = sketches_->format();
      PrefetchHint next;
      if (block + 1 < sketches_->blocks()) {
        next = format.codec->head_part(format, sketches_->page(block + 1), kv_head);
      }
      return format.codec->scores(format, sketches_->page(block), kv_head, queries_.q.data(), queries_.count, next,
                                  scores);
    }
    const PageFormat& format = *page.key_format;
    const bool by_channel = format.codec->store_token != nullptr;
    if (channels_.empty() || !by_channel) {
      return format.codec->scores(format, page.keys, kv_head, queries_.q.data(), queries_.count, {}, scores);
    }
    const PrefetchHint head = format.codec->head_part(format, page.keys, kv_head);
    const std::size_t row = head.bytes / queries_.dim;
    std::byte* to = keys_.ensure(channels_.size() * row);
    for (const std::uint32_t c : channels_) {
      std::memcpy(to, static_cast<const std::byte*>(head.data) + c * row, row);
      to += row;
    }
    PageFormat some = format;
    some.shape = {.kv_heads = 1, .head_dim = static_cast<std::uint32_t>(channels_.size())};
    format.codec->scores(some, keys_.data(), 0, gathered_.data(), queries_.count, {}, scores);
  }

 private:
  const GroupQueries& queries_;
  const KeySketches* sketches_;
  std::vector<std::uint32_t> channels_;  // empty: all
  std::vector<float> gathered_;          // [heads, channels]
  Scratch<std::byte> keys_;
};

// By every key that the query sees, of boxes whose score is not -infinity before: these keep it.
void score_keys(const AttendRows& rows, const AttendLayer& how, std::uint32_t kv_head, const GroupQueries& queries,
                bool some_channels, const KeySketches* sketches, std::span<float> scores) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  const std::size_t blocks = rows.pages.size(), tokens = blocks * kBlockTokens;
  std::vector<float> all(queries.count * tokens, kNone), page_scores(std::size_t{queries.count} * kBlockTokens);
  PageScores by_page(queries, some_channels, sketches);
  for (std::size_t b = 0; b < blocks; ++b) {
    std::uint8_t boxes = 0;
    for (std::uint32_t i = 0; i < kBlockBoxes; ++i) {
      boxes |= static_cast<std::uint8_t>((scores[b * kBlockBoxes + i] == kNone ? 0u : 1u) << i);
    }
    if (boxes == 0) continue;
    const PageView& page = rows.pages[b];
    by_page.of(page, b, kv_head, page_scores.data());
    const std::uint64_t visible =
        visible_slots(page, *rows.positions, how.window, kv_head) & slots_of_boxes(boxes);
    for (std::size_t i = 0; i < page_scores.size(); ++i) {
      const std::size_t t = i % kBlockTokens;
      if ((visible >> t & 1) != 0) all[i / kBlockTokens * tokens + b * kBlockTokens + t] = page_scores[i];
    }
  }
  std::vector<float> sums(scores.size());
  add_softmax(all, queries.count, sums);
  for (std::size_t b = 0; b < scores.size(); ++b) scores[b] = scores[b] == kNone ? kNone : sums[b];
}

}  // namespace

ReadScores::ReadScores(const Reader* reader, PageShape shape) : reader_(reader) {
  if (reader != nullptr && reader->by == ReadBy::kSketch) sketches_.emplace(**find_codec(reader->sketch), shape);
  if (reader == nullptr || !reader->boxes()) return;
  boxes_.emplace(shape, BoxKind{.means = reader->by == ReadBy::kMeans});
  if (reader->clusters) clusters_.emplace(shape, BoxKind{.tokens = kClusterTokens});
}

bool ReadScores::scores() const {
  return reader_ != nullptr && reader_->scores();
}

std::size_t ReadScores::bytes() const {
  return (boxes_ ? boxes_->bytes() : 0) + (clusters_ ? clusters_->bytes() : 0) + (sketches_ ? sketches_->bytes() : 0);
}

std::size_t ReadScores::growth(std::size_t blocks) const {
  return (boxes_ ? boxes_->growth(blocks) : 0) + (clusters_ ? clusters_->growth(blocks) : 0) +
         (sketches_ ? sketches_->growth(blocks) : 0);
}

void ReadScores::cover(std::span<const PageView> pages, std::size_t blocks, const LayerBasis& basis, ThreadPool& pool) {
  if (boxes_) boxes_->cover(pages, blocks, pool);
  if (clusters_) clusters_->cover(pages, blocks, pool);
  if (sketches_) sketches_->cover(pages, blocks, basis.hadamard_keys, pool);
}

void ReadScores::shrink(std::size_t blocks) {
  if (boxes_) boxes_->shrink(blocks);
  if (clusters_) clusters_->shrink(blocks);
  if (sketches_) sketches_->shrink(blocks);
}

void ReadScores::score(const PolicySpec& policy, const AttendRows& rows, const AttendLayer& how, std::uint32_t kv_head,
                       std::span<float> scores) const {
  const bool hadamard = sketches_ ? sketches_->format().codec->hadamard : how.basis.hadamard_keys;
  GroupQueries queries = queries_of(rows, how, kv_head, hadamard);
  if (!boxes_) {
    if (reader_->channels) {
      leave_top_channels(queries.q, queries.dim, (queries.dim + kChannelShare - 1) / kChannelShare);
    }
    std::ranges::fill(scores, 0.0f);
    return score_keys(rows, how, kv_head, queries, reader_->channels, sketches_ ? &*sketches_ : nullptr, scores);
  }
  if (reader_->refines) {
    score_boxes(*reader_, *boxes_, kv_head, queries, scores);
    leave_mass(policy.mass, scores);
    scores.front() = std::max(scores.front(), 0.0f);  // it is read anyway
    return score_keys(rows, how, kv_head, queries, false, nullptr, scores);
  }
  score_boxes(*reader_, *boxes_, kv_head, queries, scores);
  if (!clusters_) return;
  std::vector<float> of_clusters(rows.pages.size() * clusters_->per_block());
  score_boxes(*reader_, *clusters_, kv_head, queries, of_clusters);
  leave_best_clusters(std::max(kClusterShare, policy.keep), of_clusters, scores);
}

}  // namespace cairn::cache
