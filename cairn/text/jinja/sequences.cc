// SPDX-License-Identifier: Apache-2.0
// Going through values: items, slices, lengths.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "cairn/text/jinja/operators.h"
#include "cairn/text/jinja/work.h"

namespace cairn::jinja {
namespace {

struct SliceBounds {
  std::int64_t begin = 0, step = 1;
  std::size_t count = 0;
};

Result<std::optional<std::int64_t>> slice_index(const Value& value) {
  if (value.is_none()) return std::nullopt;
  if (value.is_undefined()) return undefined_error(value);
  const auto whole = value.integer();
  if (!whole) return refused("the bounds of a slice are whole numbers or None");
  return whole;
}

// As Python's slice.indices().
Result<SliceBounds> slice_bounds(std::size_t size, const Value& begin, const Value& end, const Value& step) {
  CAIRN_TRY(const auto from, slice_index(begin));
  CAIRN_TRY(const auto to, slice_index(end));
  CAIRN_TRY(const auto by, slice_index(step));
  const std::int64_t stride = by.value_or(1), length = static_cast<std::int64_t>(size);
  if (stride == 0) return refused("the step of a slice is zero");
  const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? length : length - 1;
  const auto clamp = [&](std::int64_t index) {
    return std::clamp(index < 0 ? std::max(index, -length - 1) + length : index, low, high);
  };
  const std::int64_t first = from ? clamp(*from) : (stride > 0 ? low : high);
  const std::int64_t last = to ? clamp(*to) : (stride > 0 ? high : low);
  SliceBounds bounds{.begin = first, .step = stride};
  const std::uint64_t pace = stride > 0 ? static_cast<std::uint64_t>(stride) : 0 - static_cast<std::uint64_t>(stride);
  const std::int64_t span = stride > 0 ? last - first : first - last;
  if (span > 0) bounds.count = (static_cast<std::uint64_t>(span) - 1) / pace + 1;
  return bounds;
}

// Where a slice's item lies; the step may be so large that only the first is within the list.
std::size_t slice_at(const SliceBounds& bounds, std::size_t i) {
  return i == 0 ? static_cast<std::size_t>(bounds.begin)
                : static_cast<std::size_t>(bounds.begin + bounds.step * static_cast<std::int64_t>(i));
}

Result<Value> sliced_text(const Text& text, const Value& begin, const Value& end, const Value& step, Budget& budget) {
  CAIRN_TRY_VOID(budget.values(text.size() / 4));  // of the offsets
  count_bytes(text.size());
  const std::vector<std::size_t> offsets = character_offsets(text.bytes());
  CAIRN_TRY(const SliceBounds bounds, slice_bounds(offsets.size() - 1, begin, end, step));
  CAIRN_TRY_VOID(budget.bytes(text.size()));
  Text part;
  if (bounds.step == 1) {
    const std::size_t first = slice_at(bounds, 0);
    if (bounds.count > 0) part.append(text, offsets[first], offsets[first + bounds.count]);
    return Value(std::move(part));
  }
  for (std::size_t i = 0; i < bounds.count; ++i) {
    const std::size_t at = slice_at(bounds, i);
    part.append(text, offsets[at], offsets[at + 1]);
  }
  return Value(std::move(part));
}

}  // namespace

Result<Value> slice(const Value& container, const Value& begin, const Value& end, const Value& step, Budget& budget) {
  if (const Text* text = container.text()) return sliced_text(*text, begin, end, step, budget);
  if (container.is_undefined()) return undefined_error(container);
  const Sequence* sequence = container.sequence();
  if (sequence == nullptr || !sequence->is_indexed()) {
    return refused("'" + std::string(container.type_name()) + "' cannot be sliced");
  }
  CAIRN_TRY(const SliceBounds bounds, slice_bounds(sequence->items.size(), begin, end, step));
  CAIRN_TRY_VOID(budget.values(bounds.count));
  Values items;
  items.reserve(bounds.count);
  for (std::size_t i = 0; i < bounds.count; ++i) items.push_back(sequence->items[slice_at(bounds, i)]);
  if (sequence->kind == SequenceKind::kGroup) return make_tuple(std::move(items));
  if (sequence->kind != SequenceKind::kRange) return make_sequence(sequence->kind, std::move(items));
  Sequence part{.kind = SequenceKind::kRange, .items = std::move(items)};
  part.step = sequence->step * bounds.step;
  part.start = sequence->start + bounds.begin * sequence->step;
  part.stop = part.start + static_cast<std::int64_t>(bounds.count) * part.step;
  return Value(std::make_shared<const Sequence>(std::move(part)));
}

std::optional<Value> item_at(const Value& container, std::int64_t index) {
  const auto place = [&](std::size_t size) -> std::optional<std::size_t> {
    const auto length = static_cast<std::int64_t>(size);
    if (index >= length || index < -length) return std::nullopt;
    return static_cast<std::size_t>(index < 0 ? index + length : index);
  };
  if (const Text* text = container.text()) {
    const auto at = place(character_count(text->bytes()));
    if (!at) return std::nullopt;
    std::string_view rest = text->bytes();
    for (std::size_t i = 0; i < *at; ++i) rest.remove_prefix(first_character(rest).length);
    const std::size_t begin = text->size() - rest.size();
    return text->slice(begin, begin + first_character(rest).length);
  }
  const Sequence* sequence = container.sequence();
  if (sequence == nullptr || !sequence->is_indexed()) return std::nullopt;
  const auto at = place(sequence->items.size());
  return at ? std::optional(sequence->items[*at]) : std::nullopt;
}

Result<Values> iterate(const Value& value, Budget& budget) {
  Values items;
  if (value.is_undefined()) return items;
  if (const Text* text = value.text()) {
    CAIRN_TRY_VOID(budget.values(text->size()));
    for (std::size_t at = 0; at < text->size();) {
      const std::size_t length = first_character(std::string_view(text->bytes()).substr(at)).length;
      items.emplace_back(text->slice(at, at + length));
      at += length;
    }
    return items;
  }
  if (const Dict* dict = value.dict()) {
    CAIRN_TRY_VOID(budget.values(dict->size()));
    for (const Dict::Item& item : dict->items()) items.push_back(item.key);
    return items;
  }
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr) return refused("'" + std::string(value.type_name()) + "' is not iterable");
  if (sequence->kind == SequenceKind::kGenerator && std::exchange(sequence->consumed, true)) return items;
  CAIRN_TRY_VOID(budget.values(sequence->items.size()));
  return sequence->items;
}

Result<std::size_t> length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (const Text* text = value.text()) return character_count(text->bytes());
  if (const Dict* dict = value.dict()) return dict->size();
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr || sequence->kind == SequenceKind::kGenerator) {
    return refused("'" + std::string(value.type_name()) + "' has no length");
  }
  return sequence->items.size();
}

}  // namespace cairn::jinja
