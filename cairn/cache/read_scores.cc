// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/read_scores.h"

#include <algorithm>
#include <cmath>
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
  std::span<const float> q;  // [count, dim]
  std::uint32_t count, dim;
};

GroupQueries group_of(std::span<const float> q, const AttendLayer& how, std::size_t kv_head) {
  const std::uint32_t count = how.heads / how.shape.kv_heads;
  const std::size_t values = std::size_t{count} * how.shape.head_dim;
  return {q.subspan(kv_head * values, values), count, how.shape.head_dim};
}

// `all` is [heads, units].
void take_greatest(std::span<const float> all, std::span<float> scores) {
  std::ranges::copy(all.first(scores.size()), scores.begin());
  for (std::size_t i = scores.size(); i < all.size(); ++i) {
    float& score = scores[i % scores.size()];
    score = std::max(score, all[i]);
  }
}

// Scores of different query heads are not on one scale; their softmax is. What all of them score -infinity keeps that.
// `all` is [heads, boxes], used up.
void add_softmax(std::span<float> all, std::span<float> scores) {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  std::ranges::fill(scores, kNone);
  take_greatest(all, scores);
  for (float& score : scores) score = score > kNone ? 0.0f : kNone;
  for (std::size_t first = 0; first < all.size(); first += scores.size()) {
    const std::span row = all.subspan(first, scores.size());
    kernels().softmax(row.data(), row.size());
    kernels().add(scores.data(), row.data(), row.size());
  }
}

// `means`, if not null, takes what each query head thinks of the mean keys.
void score_boxes(const Reader& reader, const KeyBoxes& boxes, std::uint32_t kv_head, const GroupQueries& queries,
                 TokenWeights* means, std::span<float> scores) {
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
  if (means != nullptr) means->set_means(kv_head * queries.count, all);
  if (reader.greatest) return take_greatest(all, scores);
  add_softmax(all, scores);
}

// Scores pages by all channels, or by those that some query has. Raw keys lie by channel: of these the others are not
// read. For codes there is nothing to leave out.
class PageScores {
 public:
  PageScores(const GroupQueries& queries, bool some_channels) : queries_(queries) {
    for (std::uint32_t c = 0; some_channels && c < queries.dim; ++c) {
      const auto has = [&](std::uint32_t g) { return queries.q[g * queries.dim + c] != 0; };
      if (std::ranges::any_of(std::views::iota(0u, queries.count), has)) channels_.push_back(c);
    }
    for (std::uint32_t g = 0; g < queries.count; ++g) {
      for (const std::uint32_t c : channels_) gathered_.push_back(queries.q[g * queries.dim + c]);
    }
  }

  // scores [heads, kBlockTokens].
  void of(const PageView& page, std::uint32_t kv_head, std::uint8_t boxes, float* scores) {
    const PageFormat& format = *page.key_format;
    const bool by_channel = format.codec->store_token != nullptr;
    if (channels_.empty() || !by_channel) {
      return format.codec->scores(format, page.keys, kv_head, queries_.q.data(), queries_.count, boxes, {}, scores);
    }
    const PrefetchHint head = format.codec->head_part(format, page.keys, kv_head, kAllBoxes);
    const std::size_t row = head.bytes / queries_.dim;
    std::byte* to = keys_.ensure(channels_.size() * row);
    for (const std::uint32_t c : channels_) {
      std::memcpy(to, static_cast<const std::byte*>(head.data) + c * row, row);
      to += row;
    }
    PageFormat some = format;
    some.shape = {.kv_heads = 1, .head_dim = static_cast<std::uint32_t>(channels_.size())};
    format.codec->scores(some, keys_.data(), 0, gathered_.data(), queries_.count, boxes, {}, scores);
  }

 private:
  const GroupQueries& queries_;
  std::vector<std::uint32_t> channels_;  // empty: all
  std::vector<float> gathered_;          // [heads, channels]
  Scratch<std::byte> keys_;
};

// Blocks whose keys one thread scores at a time.
constexpr std::size_t kBlocksAtOnce = 8;
static_assert(kBlocksAtOnce % KeySketches::kSheetBlocks == 0);

// Scores as attention sees them; what is no number is read by nobody.
void finish_scores(const AttendLayer& how, std::span<float> scores) {
  if (how.score_cap != 0.0f) kernels().soft_cap(scores.data(), scores.size(), how.score_cap);
  std::ranges::replace_if(
      scores, [](float score) { return std::isnan(score); }, -std::numeric_limits<float>::infinity());
}

// Of one KV head in blocks [first, last): the greatest score of a key that the query sees in each box, by query head,
// `tops` [heads, boxes of all blocks]. Boxes whose score is -infinity before are not looked at. `weights`, if not null,
// takes what the keys of the others weigh.
void top_keys(const AttendRows& rows, const AttendLayer& how, std::uint32_t kv_head, std::size_t first,
              std::size_t last, PageScores& by_page, std::span<const float> scores, TokenWeights* weights,
              std::span<float> tops) {
  const std::size_t boxes = scores.size(), heads = tops.size() / boxes;
  std::vector<float> of_page(heads * kBlockTokens), of_boxes(heads * kBlockBoxes);
  for (std::size_t b = first; b < last; ++b) {
    std::uint32_t wanted = 0;
    for (std::uint32_t i = 0; i < kBlockBoxes; ++i) {
      wanted |= std::uint32_t{scores[b * kBlockBoxes + i] > -std::numeric_limits<float>::infinity()} << i;
    }
    const std::uint64_t visible = visible_slots(rows.pages[b], *rows.positions, how.window, kv_head) &
                                  slots_of_boxes(static_cast<std::uint8_t>(wanted));
    if (visible != 0) by_page.of(rows.pages[b], kv_head, boxes_of_slots(visible), of_page.data());
    if (how.score_cap != 0.0f) finish_scores(how, of_page);
    kernels().box_tops(of_page.data(), visible, static_cast<std::uint32_t>(heads), of_boxes.data());
    for (std::size_t g = 0; g < heads; ++g) {
      std::ranges::copy(std::span(of_boxes).subspan(g * kBlockBoxes, kBlockBoxes),
                        tops.subspan(g * boxes + b * kBlockBoxes).begin());
    }
    if (weights == nullptr) continue;
    weights->set_keys(kv_head * heads, heads, b, static_cast<std::uint8_t>(wanted), visible, of_page);
  }
}

// What the keys of the open pages weigh, which are read anyway.
void weigh_open(const AttendRows& rows, const AttendLayer& how, std::uint32_t kv_head, std::size_t heads,
                PageScores& by_page, TokenWeights& weights) {
  std::vector<float> of_page(heads * kBlockTokens);
  for (const PageView& page : rows.more_pages) {
    const std::uint64_t visible = visible_slots(page, *rows.positions, how.window, kv_head);
    if (visible == 0) continue;
    by_page.of(page, kv_head, boxes_of_slots(visible), of_page.data());
    if (how.score_cap != 0.0f) finish_scores(how, of_page);
    weights.add_open(kv_head * heads, heads, visible, of_page);
  }
}

// What top_keys() says, by sketches. Tokens that are hidden count here.
void top_sketches(const KeySketches& sketches, const SketchQueries& queries, const AttendLayer& how,
                  std::uint32_t kv_head, std::size_t first, std::size_t last, std::size_t boxes,
                  std::span<float> tops) {
  const std::size_t heads = tops.size() / boxes;
  std::vector<float> of_sheet(heads * kSketchBoxes);
  for (std::size_t b = first; b < last; b += KeySketches::kSheetBlocks) {
    sketches.tops(kv_head, b / KeySketches::kSheetBlocks, queries.of_head(kv_head * heads),
                  static_cast<std::uint32_t>(heads), of_sheet.data());
    finish_scores(how, of_sheet);
    const std::size_t at = b * kBlockBoxes, count = std::min<std::size_t>(kSketchBoxes, boxes - at);
    for (std::size_t g = 0; g < heads; ++g) {
      std::copy_n(of_sheet.data() + g * kSketchBoxes, count, tops.data() + g * boxes + at);
    }
  }
}

}  // namespace

ReadScores::ReadScores(const PolicySpec& policy, PageShape shape) : reader_(policy.reader) {
  const Reader* reader = policy.reader;
  if (policy.rest != RestRule::kNone) value_means_.emplace(shape);
  if (reader != nullptr && reader->by == ReadBy::kSketch) sketches_.emplace(shape);
  if (reader == nullptr || !reader->boxes()) return;
  boxes_.emplace(shape, BoxKind{.means = reader->by == ReadBy::kMeans});
  if (reader->clusters) clusters_.emplace(shape, BoxKind{.tokens = kClusterTokens});
}

bool ReadScores::scores() const {
  return reader_ != nullptr && reader_->scores();
}

std::size_t ReadScores::bytes() const {
  return (boxes_ ? boxes_->bytes() : 0) + (clusters_ ? clusters_->bytes() : 0) + (sketches_ ? sketches_->bytes() : 0) +
         (value_means_ ? value_means_->bytes() : 0);
}

std::size_t ReadScores::blocks() const {
  std::size_t blocks = std::numeric_limits<std::size_t>::max();
  if (boxes_) blocks = std::min(blocks, boxes_->blocks());
  if (clusters_) blocks = std::min(blocks, clusters_->blocks());
  if (sketches_) blocks = std::min(blocks, sketches_->blocks());
  if (value_means_) blocks = std::min(blocks, value_means_->blocks());
  return blocks;
}

void ReadScores::take_from_shelf(std::size_t blocks, const ShelfPlace& place) {
  each_sheets([&](Sheets& sheets, std::uint32_t kind) { cache::take_from_shelf(sheets, blocks, place.of_kind(kind)); });
}

void ReadScores::put_on_shelf(std::size_t first, const ShelfPlace& place) {
  each_sheets([&](Sheets& sheets, std::uint32_t kind) { cache::put_on_shelf(sheets, first, place.of_kind(kind)); });
}

std::size_t ReadScores::growth(std::size_t blocks) const {
  return (boxes_ ? boxes_->growth(blocks) : 0) + (clusters_ ? clusters_->growth(blocks) : 0) +
         (sketches_ ? sketches_->growth(blocks) : 0) + (value_means_ ? value_means_->growth(blocks) : 0);
}

void ReadScores::cover(std::span<const PageView> pages, std::size_t blocks, const LayerBasis& basis, Reservation& room,
                       ThreadPool& pool) {
  if (boxes_) boxes_->cover(pages, blocks, room, pool);
  if (clusters_) clusters_->cover(pages, blocks, room, pool);
  if (sketches_) sketches_->cover(pages, blocks, basis.keys, room, pool);
  if (value_means_) value_means_->cover(pages, blocks, room, pool);
}

void ReadScores::shrink(std::size_t blocks) {
  if (boxes_) boxes_->shrink(blocks);
  if (clusters_) clusters_->shrink(blocks);
  if (sketches_) sketches_->shrink(blocks);
  if (value_means_) value_means_->shrink(blocks);
}

void ReadScores::score(const PolicySpec& policy, const AttendRows& rows, const AttendLayer& how, ThreadPool& pool,
                       ReadScratch& scratch, std::span<float> scores) const {
  scratch.q.assign(rows.q, rows.q + std::size_t{how.heads} * how.shape.head_dim);
  const std::size_t dim = how.shape.head_dim, group = how.heads / how.shape.kv_heads;
  if (sketches_) hadamard_heads(scratch.q, how.shape.head_dim);
  for (std::uint32_t h = 0; h < how.shape.kv_heads && !sketches_; ++h)
    how.basis.keys.turn_queries(h, std::span(scratch.q).subspan(h * group * dim, group * dim));
  std::ranges::fill(scores, 0.0f);
  if (value_means_) scratch.weights.reset(how.heads, scores.size() / how.shape.kv_heads, how.score_cap);
  if (boxes_) by_boxes(policy, how, pool, scratch, scores);
  if (!boxes_ || reader_->refines) by_keys(rows, how, pool, scratch, scores);
}

void ReadScores::by_boxes(const PolicySpec& policy, const AttendLayer& how, ThreadPool& pool, ReadScratch& scratch,
                          std::span<float> scores) const {
  TokenWeights* weights = value_means_ ? &scratch.weights : nullptr;
  const std::size_t boxes = scores.size() / how.shape.kv_heads;
  pool.run(how.shape.kv_heads, [&](std::size_t h, unsigned) {
    const GroupQueries queries = group_of(scratch.q, how, h);
    const auto kv_head = static_cast<std::uint32_t>(h);
    const std::span own = scores.subspan(h * boxes, boxes);
    score_boxes(*reader_, *boxes_, kv_head, queries, weights, own);
    if (reader_->refines) {
      leave_mass(policy.mass, own);
      own.front() = std::max(own.front(), 0.0f);  // it is read anyway
    }
    if (!clusters_) return;
    std::vector<float> of_clusters(boxes / boxes_->per_block() * clusters_->per_block());
    score_boxes(*reader_, *clusters_, kv_head, queries, nullptr, of_clusters);
    leave_best_clusters(std::max(kClusterShare, policy.keep), of_clusters, own);
  });
}

void ReadScores::by_keys(const AttendRows& rows, const AttendLayer& how, ThreadPool& pool, ReadScratch& scratch,
                         std::span<float> scores) const {
  const std::uint32_t kv_heads = how.shape.kv_heads, dim = how.shape.head_dim;
  const std::size_t boxes = scores.size() / kv_heads, blocks = rows.pages.size();
  const std::size_t parts = (blocks + kBlocksAtOnce - 1) / kBlocksAtOnce;
  TokenWeights* weights = value_means_ ? &scratch.weights : nullptr;
  scratch.tops.resize(how.heads * boxes);
  const std::size_t group_tops = scratch.tops.size() / kv_heads, group_values = scratch.q.size() / kv_heads;
  if (sketches_) scratch.sketch_queries.round(scratch.q, dim);
  for (std::size_t h = 0; reader_->channels && h < kv_heads; ++h) {
    leave_top_channels(std::span(scratch.q).subspan(h * group_values, group_values), dim,
                       (dim + kChannelShare - 1) / kChannelShare);
  }
  pool.run(kv_heads * parts, [&](std::size_t i, unsigned) {
    const std::size_t h = i / parts, first = i % parts * kBlocksAtOnce;
    const std::size_t last = std::min(first + kBlocksAtOnce, blocks);
    const auto kv_head = static_cast<std::uint32_t>(h);
    const std::span tops = std::span(scratch.tops).subspan(h * group_tops, group_tops);
    if (sketches_) return top_sketches(*sketches_, scratch.sketch_queries, how, kv_head, first, last, boxes, tops);
    const GroupQueries queries = group_of(scratch.q, how, h);
    PageScores by_page(queries, reader_->channels);
    top_keys(rows, how, kv_head, first, last, by_page, scores.subspan(h * boxes, boxes), weights, tops);
  });
  pool.run(kv_heads, [&](std::size_t h, unsigned) {
    if (weights != nullptr) {
      const GroupQueries queries = group_of(scratch.q, how, h);
      PageScores by_page(queries, reader_->channels);
      weigh_open(rows, how, static_cast<std::uint32_t>(h), queries.count, by_page, *weights);
    }
    const std::span own = scores.subspan(h * boxes, boxes);
    add_softmax(std::span(scratch.tops).subspan(h * group_tops, group_tops), own);
  });
}

}  // namespace cairn::cache
