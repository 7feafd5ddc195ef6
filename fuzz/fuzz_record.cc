// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes as a stored block, once as they are and once with a header checksum that fits.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/store/block_record.h"
#include "cairn/store/record_header.h"

namespace cairn {
namespace {

void run(std::span<const std::byte> input, bool seal) {
  RecordBytes bytes(std::max<std::size_t>(input.size(), kDirectIoPage));
  std::ranges::fill(bytes.span(), std::byte{0});
  std::ranges::copy(input, bytes.data());
  if (seal) {
    std::uint32_t header_bytes;
    std::memcpy(&header_bytes, bytes.data() + 12, sizeof header_bytes);
    if (header_bytes < kDirectIoPage || header_bytes > bytes.size()) return;
    stamp_place(bytes.span().first(header_bytes), 0);
  }
  const auto length = BlockRecord::length_of(bytes.span());
  if (length) CAIRN_CHECK(*length <= kMostRecordBytes);
  (void)BlockRecord::parse_header(bytes.span(), 0);
  const auto record = BlockRecord::parse(std::move(bytes), 0);
  if (!record) {
    CAIRN_CHECK(!record.error().empty());
    return;
  }
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < (*record)->meta().parts.size(); ++i) {
    out.resize((*record)->meta().parts[i].bytes);
    (void)(*record)->copy_part(i, out);
  }
  (void)(*record)->intact();
}

}  // namespace
}  // namespace cairn

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  cairn::run(bytes, false);
  cairn::run(bytes, true);
  return 0;
}
