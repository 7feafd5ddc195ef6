// SPDX-License-Identifier: Apache-2.0
#include "bench/logits_file.h"

#include <bit>
#include <cstring>
#include <limits>
#include <string_view>

namespace cairn {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "_logits_";
constexpr std::size_t kHeaderBytes = kMagic.size() + 3 * sizeof(std::int32_t);
constexpr std::int32_t kMaxOfAnything = 1 << 24;  // keeps every product below 2^63
constexpr std::size_t kRowPrefix = 4;             // u16 units of scale and floor

std::size_t row_units(std::uint32_t vocab) {
  return 2 * ((std::size_t{vocab} + 1) / 2) + kRowPrefix;
}

template <class T>
bool read_into(std::ifstream& file, std::vector<T>& out) {
  return !!file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(T)));
}

}  // namespace

Result<LogitsFile> LogitsFile::open(const std::string& path) {
  LogitsFile result;
  result.file_.open(path, std::ios::binary);
  if (!result.file_) return fail(ErrorCode::kNotFound, "cannot open '" + path + "'");
  result.file_.seekg(0, std::ios::end);
  const auto size = static_cast<std::uint64_t>(result.file_.tellg());
  result.file_.seekg(0);

  const auto corrupt = [&path](const std::string& why) {
    return fail(ErrorCode::kCorrupt, "'" + path + "' " + why + "; make it with llama-perplexity --kl-divergence-base");
  };
  char header[kHeaderBytes];
  if (!result.file_.read(header, sizeof header) || std::string_view(header, kMagic.size()) != kMagic)
    return corrupt("is no logits file");
  std::int32_t numbers[3];
  std::memcpy(numbers, header + kMagic.size(), sizeof numbers);
  const auto [window, vocab, windows] = numbers;
  if (window < 3 || vocab < 1 || windows < 1 || window > kMaxOfAnything || vocab > kMaxOfAnything ||
      windows > kMaxOfAnything)
    return corrupt("has impossible sizes in its header");
  result.window_ = static_cast<std::uint32_t>(window);
  result.vocab_ = static_cast<std::uint32_t>(vocab);
  result.windows_ = static_cast<std::uint32_t>(windows);
  const std::uint64_t window_bytes =
      std::uint64_t{result.window_} * sizeof(TokenId) +
      std::uint64_t{result.positions_per_window()} * row_units(result.vocab_) * sizeof(std::uint16_t);
  if (size < kHeaderBytes || (size - kHeaderBytes) % window_bytes != 0 ||
      (size - kHeaderBytes) / window_bytes != result.windows_)
    return corrupt("is truncated or has bytes to spare");

  result.tokens_.resize(std::size_t{result.windows_} * result.window_);
  if (!read_into(result.file_, result.tokens_)) return fail(ErrorCode::kIo, "cannot read '" + path + "'");
  result.row_.resize(row_units(result.vocab_));
  return result;
}

Status LogitsFile::read_window(std::vector<float>& log_probabilities) {
  log_probabilities.resize(std::size_t{positions_per_window()} * vocab_);
  float* out = log_probabilities.data();
  for (std::uint32_t position = 0; position < positions_per_window(); ++position) {
    if (!read_into(file_, row_)) return fail(ErrorCode::kIo, "cannot read the logits file");
    float scale, floor;
    std::memcpy(&scale, row_.data(), sizeof scale);
    std::memcpy(&floor, row_.data() + 2, sizeof floor);
    for (const std::uint16_t code : std::span(row_).subspan(kRowPrefix, vocab_))
      *out++ = code == 0 ? -std::numeric_limits<float>::infinity() : scale * static_cast<float>(code) + floor;
  }
  return {};
}

}  // namespace cairn
