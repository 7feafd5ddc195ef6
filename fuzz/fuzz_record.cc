// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a stored block: as they are, with a header checksum that fits, with checksums of parts that fit as
// well, so that compressed parts reach the decompressor; and as the bytes of a compressed part.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/base/checksum.h"
#include "cairn/store/record/block_record.h"
#include "cairn/store/record/compression.h"
#include "cairn/store/record/record_header.h"

namespace cairn {
namespace {

enum class Seal { kNone, kHeader, kParts };

// As whoever wants to be believed would do it.
void seal_parts(RecordBytes& bytes, std::size_t header_bytes) {
  const auto header = RecordHeader::read(bytes.span());
  if (!header || header->offsets().back() > bytes.size()) return;
  const std::vector<std::uint64_t> offsets = header->offsets();
  for (std::size_t i = 0; i < header->parts.size(); ++i) {
    const std::uint64_t sum = checksum(bytes.span().subspan(offsets[i], header->parts[i].stored_bytes));
    std::memcpy(bytes.data() + 192 + 24 * i + 16, &sum, sizeof sum);
  }
  stamp_place(bytes.span().first(header_bytes), 0);
}

void run(std::span<const std::byte> input, Seal seal) {
  RecordBytes bytes(std::max<std::size_t>(input.size(), kDirectIoPage));
  std::ranges::fill(bytes.span(), std::byte{0});
  std::ranges::copy(input, bytes.data());
  if (seal != Seal::kNone) {
    std::uint32_t header_bytes;
    std::memcpy(&header_bytes, bytes.data() + 12, sizeof header_bytes);
    if (header_bytes < kDirectIoPage || header_bytes > bytes.size()) return;
    stamp_place(bytes.span().first(header_bytes), 0);
    if (seal == Seal::kParts) seal_parts(bytes, header_bytes);
  }
  const auto length = BlockRecord::length_of(bytes.span());
  if (length) CAIRN_CHECK(*length <= kMaxRecordBytes);
  (void)BlockRecord::parse_header(bytes.span(), 0);
  const auto record = BlockRecord::parse(std::move(bytes), 0);
  if (!record) {
    CAIRN_CHECK(!record.error().empty());
    return;
  }
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < (*record)->meta().parts.size(); ++i) {
    const std::uint32_t part_bytes = (*record)->meta().parts[i].bytes;
    if (part_bytes > 1 << 20) continue;  // an owner knows how long its parts are
    out.resize(part_bytes);
    (void)(*record)->copy_part(i, out);
  }
  (void)(*record)->intact();
}

// The first byte is the form, the next two the length that comes out, or should.
void run_part(std::span<const std::byte> input) {
  if (input.size() < 3) return;
  const auto form = static_cast<PartForm>(std::to_integer<std::uint32_t>(input[0]) % (kPartForms + 1));
  const std::size_t bytes = std::to_integer<std::size_t>(input[1]) | std::to_integer<std::size_t>(input[2]) << 8;
  // zstd is not instrumented: what it writes beyond the end has to be looked for.
  constexpr std::size_t kBeyond = 256;
  constexpr std::byte kUntouched{0xee};
  std::vector<std::byte> out(bytes + kBeyond, kUntouched);
  (void)decompress_part(form, input.subspan(3), std::span(out).first(bytes));
  CAIRN_CHECK(std::ranges::count(std::span(out).last(kBeyond), kUntouched) == kBeyond);
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  for (const auto seal : {cairn::Seal::kNone, cairn::Seal::kHeader, cairn::Seal::kParts}) cairn::run(bytes, seal);
  cairn::run_part(bytes);
  return 0;
}
