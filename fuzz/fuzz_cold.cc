// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a part in a cold form, and as a table of one: decoding ends, and what check_table() lets through
// can be used.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/codec/cold_form.h"
#include "cairn/testing/cold_tables.h"

namespace cairn {
namespace {

constexpr PageShape kShape{.kv_heads = 2, .head_dim = 8};

void decode(const ColdForm& form, std::span<const std::byte> part) {
  std::vector<std::int32_t> positions(kBlockTokens);
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<float> rows(kBlockTokens * kShape.values_per_token());
  const ColdRotation rotation(RopeSpec{.dims = 8});
  for (const bool first : {false, true}) {
    for (const PageSlot slot : kPageSlots) {
      static_cast<void>(form.decode({0, slot}, rotation, {.positions = positions, .first = first}, part, rows));
    }
  }
}

void use(std::span<const std::byte> table) {
  std::vector<std::byte> sized(table.begin(), table.end());
  sized.resize(cold::TablePlaces::of(kShape).end);
  auto tables = Codebooks::make(Digest{}, cold::kTableId, kShape, {sized, sized});
  const auto form = ColdForm::make(std::make_shared<const Codebooks>(*std::move(tables)));
  if (!form) {
    CAIRN_CHECK(!form.error().message.empty());
    return;
  }
  std::vector<std::int32_t> positions(kBlockTokens);
  std::iota(positions.begin(), positions.end(), 64);
  std::vector<float> k(kBlockTokens * kShape.values_per_token(), 0.5f), v = k;
  const ColdParts parts = (*form)->encode(0, ColdRotation(RopeSpec{}), {.positions = positions, .first = false}, k, v);
  decode(**form, parts.keys);
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cairn;
  static const auto form =
      *ColdForm::make(std::make_shared<const Codebooks>(*testing::make_cold_tables(Digest{}, 1, kShape)));
  const auto bytes = std::as_bytes(std::span(data, size));
  decode(*form, bytes);
  use(bytes);
  // Past the first checks: a sound table with some of these bytes in it.
  std::vector<std::byte> table = testing::make_cold_table(kShape);
  if (size > 4) {
    std::uint32_t at = 0;
    std::memcpy(&at, data, sizeof at);
    at %= static_cast<std::uint32_t>(table.size());
    std::memcpy(table.data() + at, data + 4, std::min(size - 4, table.size() - at));
  }
  use(table);
  return 0;
}
