// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as codebooks, once as they are and once with a digest that fits, or nothing would come past it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/codec/codebooks.h"

namespace cairn {
namespace {

void run(std::span<const std::byte> bytes) {
  const auto books = Codebooks::parse(bytes);
  if (!books) {
    CAIRN_CHECK(!books.error().message.empty());
    CAIRN_CHECK(books.error().message.find('\n') == std::string::npos);
    return;
  }
  for (std::uint32_t layer = 0; layer < books->layers(); ++layer) {
    for (const PageSlot slot : kPageSlots) {
      const std::vector<std::byte> copy(books->table(layer, slot), books->table(layer, slot) + books->table_bytes());
      CAIRN_CHECK(!copy.empty());
    }
  }
  const std::vector<std::byte> again = books->bytes();
  CAIRN_CHECK(std::ranges::equal(again, bytes));
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  cairn::run(bytes);
  constexpr std::size_t kDigest = sizeof(cairn::Digest);
  if (size < kDigest) return 0;
  std::vector<std::byte> sealed(bytes.begin(), bytes.end());
  const auto digest = cairn::Hasher("cairn.codebooks").bytes(bytes.first(size - kDigest)).finish();
  std::memcpy(sealed.data() + size - kDigest, digest.bytes.data(), kDigest);
  cairn::run(sealed);
  return 0;
}
