// SPDX-License-Identifier: Apache-2.0
#include "cairn/base/checksum.h"

#include "cairn/base/check.h"
#include "cairn/base/checksum-inl.h"

namespace cairn {

std::uint64_t copy_with_checksum_base(std::byte* to, const std::byte* from, std::size_t bytes) {
  return copy_and_hash(to, from, bytes);
}

namespace {

CopyWithChecksum pick() {
  if (__builtin_cpu_supports("avx512f")) return copy_with_checksum_avx512;
  if (__builtin_cpu_supports("avx2")) return copy_with_checksum_avx2;
  return copy_with_checksum_base;
}

const CopyWithChecksum kPicked = pick();

}  // namespace

std::uint64_t checksum(std::span<const std::byte> data) {
  return kPicked(nullptr, data.data(), data.size());
}

std::uint64_t copy_with_checksum(std::span<std::byte> to, std::span<const std::byte> from) {
  CAIRN_CHECK(to.size() == from.size());
  return kPicked(to.data(), from.data(), from.size());
}

}  // namespace cairn
