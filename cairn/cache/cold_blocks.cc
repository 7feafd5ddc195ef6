// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/cold_blocks.h"

#include <numeric>
#include <vector>

#include "cairn/base/aligned_buffer.h"

namespace cairn::cache {
namespace {

// In the model's own basis.
std::vector<float> rows_of(const PageForms& forms, const PageRef& page) {
  std::vector<float> rows(kBlockTokens * forms.open.shape.values_per_token());
  forms.open.codec->decode(forms.open, page.data(), kBlockTokens, rows.data());
  basis_of(forms.closed).turn_tokens_back(rows);
  return rows;
}

void write_rows(const PageForms& forms, std::span<float> rows, const PageRef& page) {
  basis_of(forms.closed).turn_tokens(rows);
  Scratch<std::byte> scratch;
  std::byte* to = forms.encodes() ? scratch.ensure(forms.open_bytes) : page.data();
  forms.open.codec->store_block(forms.open, to, rows.data());
  const PageFormat& format = forms.format(page.form());
  if (forms.encodes()) format.codec->encode(format, {to, nullptr}, page.data());
}

}  // namespace

std::shared_ptr<const ColdParts> pass_through(const LayerForms& forms, const LayerTable::Entry& entry,
                                              const PageRef& keys, const PageRef& values) {
  std::vector<float> k = rows_of(forms.keys, entry.keys), v = rows_of(forms.values, entry.values);
  auto parts = std::make_shared<const ColdParts>(forms.cold->form->encode(
      forms.cold->layer, forms.cold->rotation, {.positions = *entry.positions, .first = entry.number() == 0}, k, v));
  write_rows(forms.keys, k, keys);
  write_rows(forms.values, v, values);
  return parts;
}

bool read_cold_part(const LayerForms& forms, PageSlot slot, std::size_t number, std::span<const std::byte> part,
                    const PageRef& page) {
  PositionBlock positions;
  std::iota(positions.begin(), positions.end(), static_cast<std::int32_t>(number * kBlockTokens));
  std::vector<float> rows(kBlockTokens * forms.spec.shape.values_per_token());
  const LayerSlot at{forms.cold->layer, slot};
  const ColdBlock block{.positions = positions, .first = number == 0};
  if (!forms.cold->form->decode(at, forms.cold->rotation, block, part, rows)) return false;
  write_rows(forms.of(slot), rows, page);
  return true;
}

}  // namespace cairn::cache
