// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/record/compression.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "cairn/base/checksum.h"
#include "cairn/store/record/record_bytes.h"

namespace cairn {
namespace {

constexpr std::size_t kSumBytes = 8;
constexpr std::size_t kSampleBytes = std::size_t{8} << 10;

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

std::size_t width_of(PartForm form) {
  switch (form) {
    case PartForm::kPlanes2: return 2;
    case PartForm::kPlanes4: return 4;
    default: return 1;
  }
}

std::size_t plane_bytes(std::size_t bytes, std::size_t width, std::size_t plane) {
  return (bytes + width - 1 - plane) / width;
}

// The width as a constant, so that the loops become shuffles.
template <std::size_t kWidth>
void split(std::span<const std::byte> plain, std::byte* planes) {
  for (std::size_t plane = 0; plane < kWidth; ++plane) {
    const std::size_t count = plane_bytes(plain.size(), kWidth, plane);
    for (std::size_t i = 0; i < count; ++i) planes[i] = plain[i * kWidth + plane];
    planes += count;
  }
}

template <std::size_t kWidth>
void join(const std::byte* planes, std::span<std::byte> plain) {
  const std::byte* plane[kWidth];
  for (std::size_t p = 0; p < kWidth; ++p) {
    plane[p] = planes;
    planes += plane_bytes(plain.size(), kWidth, p);
  }
  const std::size_t whole = plain.size() / kWidth;
  std::byte* __restrict out = plain.data();
  for (std::size_t i = 0; i < whole; ++i) {
    for (std::size_t p = 0; p < kWidth; ++p) out[i * kWidth + p] = plane[p][i];
  }
  for (std::size_t p = 0; p < plain.size() % kWidth; ++p) out[whole * kWidth + p] = plane[p][whole];
}

// Empty when zstd fails.
std::vector<std::byte> compress_as(PartForm form, std::span<const std::byte> plain, int level) {
  thread_local const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  if (context == nullptr) return {};
  const std::size_t width = width_of(form);
  RecordBytes planes;
  const std::byte* from = plain.data();
  if (width > 1) {
    planes = RecordBytes(plain.size());
    width == 2 ? split<2>(plain, planes.data()) : split<4>(plain, planes.data());
    from = planes.data();
  }
  std::size_t bound = kSumBytes;
  for (std::size_t p = 0; p < width; ++p) bound += ZSTD_compressBound(plane_bytes(plain.size(), width, p));
  std::vector<std::byte> out(bound);
  const std::uint64_t sum = checksum(plain);
  for (std::size_t i = 0; i < kSumBytes; ++i) out[i] = static_cast<std::byte>(sum >> 8 * i);
  std::size_t at = kSumBytes;
  for (std::size_t p = 0; p < width; ++p) {
    const std::size_t count = plane_bytes(plain.size(), width, p);
    const std::size_t made = ZSTD_compressCCtx(context.get(), out.data() + at, out.size() - at, from, count, level);
    if (ZSTD_isError(made) != 0) return {};
    at += made;
    from += count;
  }
  out.resize(at);
  return out;
}

// One frame after the other, each of the length that its plane has; nothing may be left.
bool read_planes(std::span<const std::byte> frames, std::size_t width, std::span<std::byte> out) {
  thread_local const std::unique_ptr<ZSTD_DCtx, FreeContext> context(ZSTD_createDCtx());
  if (context == nullptr) return false;
  std::byte* to = out.data();
  for (std::size_t p = 0; p < width; ++p) {
    const std::size_t count = plane_bytes(out.size(), width, p);
    // Only what the compressor writes: no skippable frames, none of old formats, none that leaves its length open.
    std::uint32_t magic = 0;
    if (frames.size() < sizeof magic) return false;
    std::memcpy(&magic, frames.data(), sizeof magic);
    if (magic != ZSTD_MAGICNUMBER) return false;
    const std::size_t stored = ZSTD_findFrameCompressedSize(frames.data(), frames.size());
    if (ZSTD_isError(stored) != 0 || ZSTD_getFrameContentSize(frames.data(), stored) != count) return false;
    if (ZSTD_decompressDCtx(context.get(), to, count, frames.data(), stored) != count) return false;
    frames = frames.subspan(stored);
    to += count;
  }
  return frames.empty();
}

}  // namespace

std::optional<CompressedPart> compress_part(std::span<const std::byte> plain, int level) {
  // From the middle, where keys end and values begin.
  const std::size_t count = std::min(plain.size(), kSampleBytes);
  const std::span<const std::byte> sample = plain.subspan((plain.size() - count) / 2 / 64 * 64, count);
  CompressedPart best;
  for (const PartForm form : {PartForm::kZstd, PartForm::kPlanes2, PartForm::kPlanes4}) {
    std::vector<std::byte> bytes = compress_as(form, sample, level);
    if (bytes.empty() || (!best.bytes.empty() && bytes.size() >= best.bytes.size())) continue;
    best = {form, std::move(bytes)};
  }
  if (best.form == PartForm::kPlain) return std::nullopt;
  if (count < plain.size()) best.bytes = compress_as(best.form, plain, level);
  if (best.bytes.empty() || best.bytes.size() >= plain.size()) return std::nullopt;
  return best;
}

bool decompress_part(PartForm form, std::span<const std::byte> stored, std::span<std::byte> out) {
  if (form == PartForm::kPlain || static_cast<std::uint32_t>(form) >= kPartForms || stored.size() < kSumBytes) {
    return false;
  }
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kSumBytes; ++i) sum |= std::to_integer<std::uint64_t>(stored[i]) << 8 * i;
  const std::span<const std::byte> frames = stored.subspan(kSumBytes);
  const std::size_t width = width_of(form);
  if (width == 1) return read_planes(frames, 1, out) && checksum(out) == sum;
  const RecordBytes planes(out.size());
  if (!read_planes(frames, width, planes.span().first(out.size()))) return false;
  width == 2 ? join<2>(planes.data(), out) : join<4>(planes.data(), out);
  return checksum(out) == sum;
}

std::expected<std::shared_ptr<const BlockRecord>, Refusal> compress_record(const BlockRecord& record, int level,
                                                                           const StoreKey* key) {
  if (record.encrypted() && key == nullptr) return std::unexpected("it is encrypted");
  if (!record.encrypted()) key = nullptr;
  const std::vector<PartMeta>& parts = record.meta().parts;
  std::vector<std::vector<std::byte>> plain(parts.size()), kept(parts.size());
  std::vector<PartForm> forms(parts.size(), PartForm::kPlain);
  std::vector<std::span<const std::byte>> contents;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    plain[i].resize(parts[i].bytes);
    if (!record.copy_part(i, plain[i], key)) {
      return std::unexpected(record.encrypted() ? "it is damaged or encrypted with another key" : "it is damaged");
    }
    auto compressed = compress_part(plain[i], level);
    if (compressed) {
      forms[i] = compressed->form;
      kept[i] = std::move(compressed->bytes);
    }
    contents.push_back(compressed ? kept[i] : plain[i]);
  }
  auto smaller = BlockRecord::build(record.meta(), contents, key, forms);
  if (smaller->size() >= record.size()) return nullptr;
  std::vector<std::byte> back;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    back.resize(parts[i].bytes);
    if (!smaller->copy_part(i, back, key) || back != plain[i]) {
      return std::unexpected("what was compressed does not give it back");
    }
  }
  return smaller;
}

}  // namespace cairn
