// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/layer_table.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/cache/cold_blocks.h"
#include "cairn/codec/codec.h"

namespace cairn::cache {
namespace {

void set_count(PageView& view, std::uint32_t count, std::uint32_t lists = 1) {
  view.count = count;
  const auto [low, high] = std::minmax_element(view.positions, view.positions + std::size_t{count} * lists);
  view.min_position = *low;
  view.max_position = *high;
}

const PageFormat* format_of(const PageForms& forms, const PageRef& page) {
  return &forms.format(page.form());
}

PageRef reopened(const PageForms& forms, const PageRef& page, Reservation& room) {
  PageRef open = room.take(forms.open_bytes, kOpenForm);
  const std::size_t width = forms.open.shape.values_per_token();
  std::vector<float> rows(kBlockTokens * width);
  const PageFormat& format = *format_of(forms, page);
  format.codec->decode(format, page.data(), kBlockTokens, rows.data());
  forms.open.codec->store_block(forms.open, open.data(), rows.data());
  return open;
}

// A page that is encoded gets its rows in the codec's basis, and notices what no code can stand for.
void store_row(const PageForms& forms, LayerTable::Entry& entry, const PageRef& page, std::uint32_t slot,
               std::span<const float> row) {
  thread_local std::vector<float> transformed;
  if (forms.closed.codec->basis != BasisKind::kModel) {
    transformed.assign(row.begin(), row.end());
    basis_of(forms.closed).turn_tokens(transformed);
    row = transformed;
  }
  if (forms.closes && !fits_f16(row)) {
    std::atomic_ref(entry.unencodable).store(true, std::memory_order_relaxed);
  }
  forms.open.codec->store_token(forms.open, page.data(), slot, row.data());
}

}  // namespace

SeenPages LayerTable::seen(std::size_t block, std::int32_t oldest, std::int32_t newest, std::size_t recent) const {
  const std::size_t own_end = lower_bound(block + 1);
  std::size_t open = lower_bound(block - std::min(block, recent)), end = blocks(), first = 0;
  while (end > own_end && views_[end - 1].min_position > newest) --end;
  const std::uint32_t window = forms_->window;
  if (window == 0) return {0, std::span(views_).first(open), std::span(open_views_).subspan(open, end - open)};
  const std::int32_t visible = oldest_visible(oldest, window);
  while (first + 1 < end && views_[first].max_position < visible) ++first;
  open = std::max(open, first);
  // Counted back from the own block, so that a block that was dropped is nowhere a page.
  return {block + 1 - (own_end - first), std::span(views_).subspan(first, open - first),
          std::span(open_views_).subspan(open, end - open)};
}

std::uint32_t LayerTable::tail_tokens() const {
  return views_.empty() ? 0 : views_.back().count % kBlockTokens;
}

bool LayerTable::owns_tail() const {
  const Entry& tail = entries_.back();
  return std::ranges::all_of(forms_->slots(), [&](PageSlot slot) { return tail.page(slot).unique(); });
}

void LayerTable::append(Entry entry, std::uint32_t count) {
  CAIRN_DCHECK(tail_tokens() == 0);
  PageView view;
  view.positions = entry.positions->data();
  set_count(view, count);
  views_.push_back(view);
  open_views_.push_back(view);
  entries_.push_back(std::move(entry));
  renew_views(entries_.size() - 1);
}

// The pages of a block, not its tokens.
void LayerTable::renew_views(std::size_t block) {
  const Entry& entry = entries_[block];
  PageView& view = views_[block];
  view.keys = entry.keys.data();
  view.key_format = format_of(forms_->keys, entry.keys);
  const bool own_values = forms_->values.exists();
  view.values = own_values ? entry.values.data() : view.keys;
  view.value_format = own_values ? format_of(forms_->values, entry.values) : view.key_format;
  PageView& open = open_views_[block];
  open = view;
  if (entry.open_keys) {
    open.keys = entry.open_keys.data();
    open.key_format = &forms_->keys.open;
  }
  if (entry.open_values) {
    open.values = entry.open_values.data();
    open.value_format = &forms_->values.open;
  } else if (!own_values) {
    open.values = open.keys;
    open.value_format = open.key_format;
  }
}

void LayerTable::set_tail_count(std::uint32_t count) {
  set_count(views_.back(), count);
  open_views_.back() = views_.back();
}

void LayerTable::replace_pages(std::size_t block, PageRef keys, PageRef values) {
  Entry& entry = entries_[block];
  entry.keys = std::move(keys);
  entry.values = std::move(values);
  entry.open_keys = entry.open_values = PageRef();
  renew_views(block);
}

void LayerTable::restore(std::size_t block, Entry entry, std::uint32_t count) {
  entries_[block] = std::move(entry);
  views_[block].positions = entries_[block].positions->data();
  set_count(views_[block], count);
  renew_views(block);
}

void LayerTable::store(std::size_t token, const float* k, const float* v) {
  Entry& entry = entries_[find(token)];
  const auto slot = static_cast<std::uint32_t>(token % kBlockTokens);
  const std::size_t width = forms_->spec.shape.values_per_token();
  store_row(forms_->keys, entry, entry.keys, slot, {k, width});
  if (forms_->values.exists()) store_row(forms_->values, entry, entry.values, slot, {v, width});
}

void LayerTable::count_anew(Entry& entry) const {
  entry.mass.stop();
  if (forms_->reads_mass()) entry.mass.collect(forms_->spec.shape.kv_heads);
}

void LayerTable::replace_positions(std::size_t block, std::shared_ptr<PositionBlock> positions) {
  entries_[block].positions = std::move(positions);
  views_[block].positions = entries_[block].positions->data();
  set_count(views_[block], views_[block].count);
  renew_views(block);
}

void LayerTable::close_blocks(std::span<const std::size_t> blocks, Reservation& room, ThreadPool& pool,
                              CacheCore& core) {
  std::vector<PageRef> pages(kPageSlots.size() * blocks.size());  // K and V of each block, empty where none is encoded
  std::vector<std::vector<float>> means(blocks.size());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Entry& entry = entries_[blocks[i]];
    if (entry.unencodable) {
      core.blocks_kept_raw.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    if (forms_->reads_mass()) means[i] = entry.mass.means(forms_->spec.shape.kv_heads);
    for (const PageSlot slot : kPageSlots) {
      const PageForms& forms = forms_->of(slot);
      if (!forms.closes) continue;
      const std::uint32_t form = forms.closed_form(entry.number());
      pages[LayerSlot{i, slot}.index()] = room.take(forms.page_bytes(form), form);
    }
  }
  if (forms_->cold) {
    pool.run(blocks.size(), [&](std::size_t i, unsigned) {
      Entry& entry = entries_[blocks[i]];
      if (!entry.unencodable) entry.cold = pass_through(*forms_, entry, pages[2 * i], pages[2 * i + 1]);
    });
    count_cold(blocks, core);
  } else {
    pool.run(pages.size(), [&](std::size_t p, unsigned) {
      if (!pages[p]) return;
      const LayerSlot at = LayerSlot::at(p);
      const PageFormat& format = *format_of(forms_->of(at.slot), pages[p]);
      const float* mass = means[at.layer].empty() ? nullptr : means[at.layer].data();
      format.codec->encode(format, {entries_[blocks[at.layer]].page(at.slot).data(), mass}, pages[p].data());
    });
  }
  for (std::size_t i = 0; i < blocks.size(); ++i)
    close(blocks[i], std::move(pages[2 * i]), std::move(pages[2 * i + 1]));
}

void LayerTable::count_cold(std::span<const std::size_t> blocks, CacheCore& core) const {
  const std::size_t values = kPageSlots.size() * kBlockTokens * forms_->spec.shape.values_per_token();
  for (const std::size_t block : blocks) {
    const Entry& entry = entries_[block];
    if (entry.cold == nullptr) continue;
    core.cold_bytes.fetch_add(entry.cold->keys.size() + entry.cold->values.size(), std::memory_order_relaxed);
    core.cold_values.fetch_add(values, std::memory_order_relaxed);
  }
}

const ColdParts* LayerTable::cold_parts(std::size_t number) const {
  const std::size_t block = find(number * kBlockTokens);
  return block == blocks() ? nullptr : entries_[block].cold.get();
}

void LayerTable::let_go_of_cold_parts(std::size_t first) {
  for (std::size_t block = lower_bound(first); block < blocks(); ++block) entries_[block].cold = nullptr;
}

// The pages of a block in their closed form, empty where a page is not encoded.
void LayerTable::close(std::size_t block, PageRef keys, PageRef values) {
  Entry& entry = entries_[block];
  if (keys) entry.open_keys = std::exchange(entry.keys, std::move(keys));
  if (values) entry.open_values = std::exchange(entry.values, std::move(values));
  entry.closed = true;
  entry.mass.stop();
  renew_views(block);
}

void LayerTable::reopen(std::size_t block, Reservation& room) {
  Entry& entry = entries_[block];
  const auto open = [&](const PageForms& forms, const PageRef& page) {
    return !page || page.form() == kOpenForm ? page : reopened(forms, page, room);
  };
  replace_pages(block, open(forms_->keys, entry.keys), open(forms_->values, entry.values));
  entry.closed = false;
  count_anew(entry);
}

void LayerTable::let_go_of_open_forms(std::size_t first) {
  for (std::size_t block = lower_bound(first); block < blocks(); ++block) {
    entries_[block].open_keys = entries_[block].open_values = PageRef();
    renew_views(block);
  }
}

void LayerTable::undo_close(std::size_t block) {
  Entry& entry = entries_[block];
  if (entry.open_keys) entry.keys = std::exchange(entry.open_keys, PageRef());
  if (entry.open_values) entry.values = std::exchange(entry.open_values, PageRef());
  entry.cold = nullptr;
  // Without its open form an encoded block stays what it is.
  entry.closed =
      std::ranges::any_of(forms_->slots(), [&](PageSlot slot) { return entry.page(slot).form() != kOpenForm; });
  if (!entry.closed) count_anew(entry);
  renew_views(block);
}

std::size_t LayerTable::find(std::size_t token) const {
  const auto after = std::ranges::upper_bound(entries_, token, {}, &Entry::first_token);
  if (after == entries_.begin()) return blocks();
  const auto block = static_cast<std::size_t>(after - entries_.begin()) - 1;
  return token - entries_[block].first_token < views_[block].count ? block : blocks();
}

std::size_t LayerTable::unclosed(std::size_t first, std::size_t end) const {
  std::size_t count = 0;
  for (std::size_t block = lower_bound(first); block < blocks() && entries_[block].number() < end; ++block) {
    count += entries_[block].closed ? 0 : 1;
  }
  return count;
}

std::size_t LayerTable::lower_bound(std::size_t number) const {
  const auto found = std::ranges::lower_bound(entries_, number * kBlockTokens, {}, &Entry::first_token);
  return static_cast<std::size_t>(found - entries_.begin());
}

void LayerTable::drop(std::size_t block) {
  CAIRN_CHECK(block < blocks());
  erase(block, block + 1);
}

void LayerTable::replace(std::size_t first, std::size_t end, std::vector<Entry> packed,
                         std::span<const std::vector<std::uint32_t>> heads) {
  const std::size_t lists = heads.size();
  for (std::size_t b = 0; b < packed.size(); ++b) {
    auto positions = std::make_shared<std::vector<std::int32_t>>(lists * kBlockTokens, kHiddenPosition);
    for (std::size_t h = 0; h < lists; ++h) {
      for (std::size_t t = 0; t < kBlockTokens && b * kBlockTokens + t < heads[h].size(); ++t) {
        const std::uint32_t from = heads[h][b * kBlockTokens + t];
        if (from == kEmptySlot) continue;
        const PageView& view = views_[first + from / kBlockTokens];
        CAIRN_DCHECK(lists > 1 || view.head_stride == 0);
        (*positions)[h * kBlockTokens + t] = view.positions[h * view.head_stride + from % kBlockTokens];
      }
    }
    // What looks at a block's positions elsewhere sees those of the first head.
    packed[b].positions = std::make_shared<PositionBlock>();
    std::copy_n(positions->begin(), kBlockTokens, packed[b].positions->begin());
    packed[b].head_positions = std::move(positions);
  }
  std::vector<PageView> views(packed.size());
  for (std::size_t b = 0; b < packed.size(); ++b) {
    views[b].positions = packed[b].head_positions->data();
    views[b].head_stride = lists == 1 ? 0 : kBlockTokens;
    set_count(views[b], kBlockTokens, static_cast<std::uint32_t>(lists));
  }
  erase(first, end);
  const auto at = static_cast<std::ptrdiff_t>(first);
  entries_.insert(entries_.begin() + at, std::make_move_iterator(packed.begin()),
                  std::make_move_iterator(packed.end()));
  views_.insert(views_.begin() + at, views.begin(), views.end());
  open_views_.insert(open_views_.begin() + at, views.begin(), views.end());
  for (std::size_t b = 0; b < views.size(); ++b) renew_views(first + b);
}

void LayerTable::erase(std::size_t first, std::size_t end) {
  const auto from = static_cast<std::ptrdiff_t>(first), to = static_cast<std::ptrdiff_t>(end);
  entries_.erase(entries_.begin() + from, entries_.begin() + to);
  views_.erase(views_.begin() + from, views_.begin() + to);
  open_views_.erase(open_views_.begin() + from, open_views_.begin() + to);
}

void LayerTable::release_behind(std::int64_t next) {
  if (forms_->window == 0) return;
  const std::int64_t visible = next - kKeptBehind - forms_->window + 1;
  const auto newest = [](const PageView& view) {
    std::int64_t position = -1;
    for (std::uint32_t t = 0; t < view.count; ++t) {
      if (view.positions[t] != kHiddenPosition) position = std::max<std::int64_t>(position, view.positions[t]);
    }
    return position;
  };
  std::size_t count = 0;
  while (count < blocks() && views_[count].count == kBlockTokens && newest(views_[count]) < visible) {
    released_ = std::max(released_, newest(views_[count++]) + 1);
  }
  erase(0, count);
}

bool LayerTable::misses(std::int64_t position) const {
  return released_ > 0 && position - forms_->window + 1 < released_;
}

void LayerTable::shrink(std::size_t tokens) {
  if (tokens == 0) released_ = 0;
  while (!entries_.empty() && entries_.back().first_token >= tokens) {
    entries_.pop_back();
    views_.pop_back();
    open_views_.pop_back();
  }
  if (entries_.empty()) return;
  const std::size_t kept = tokens - entries_.back().first_token;
  if (kept >= views_.back().count) return;
  set_count(views_.back(), static_cast<std::uint32_t>(kept));
  renew_views(entries_.size() - 1);
}

bool fits_f16(std::span<const float> values) {
  std::uint32_t largest = 0;
  for (const float value : values) largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7fffffffu);
  return largest <= std::bit_cast<std::uint32_t>(65504.0f);
}

}  // namespace cairn::cache
