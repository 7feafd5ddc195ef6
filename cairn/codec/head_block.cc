// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/head_block.h"

#include "cairn/kernels/kernels.h"

namespace cairn {

HeadBlock::HeadBlock(const PageFormat& format, const std::byte* open_page, std::uint32_t kv_head) {
  const std::uint32_t dim = format.shape.head_dim;
  const std::size_t values = std::size_t{dim} * kBlockTokens;
  const auto* halves = reinterpret_cast<const std::uint16_t*>(open_page) + kv_head * values;
  const bool keys = format.side == Side::kKey;
  kernels().widen_f16(halves, values, keys ? by_channel_ : by_token_);
  if (keys) {
    kernels().transpose(by_channel_, dim, kBlockTokens, by_token_);
  } else {
    kernels().transpose(by_token_, kBlockTokens, dim, by_channel_);
  }
}

std::uint8_t code_at(const CodeMatrix& matrix, std::uint32_t lane, std::uint32_t depth) {
  const std::uint32_t quads = 8 / matrix.bits, per_vector = kCodeQuad * quads;
  const std::size_t vectors = (matrix.depth + per_vector - 1) / per_vector;
  const std::size_t vector = lane / kCodeLanes * vectors + depth / per_vector;
  const std::uint32_t within = depth % per_vector;
  const std::uint8_t byte = matrix.codes[vector * 64 + lane % kCodeLanes * kCodeQuad + within % kCodeQuad];
  return static_cast<std::uint8_t>(byte >> (within / kCodeQuad * matrix.bits) & ((1u << matrix.bits) - 1));
}

}  // namespace cairn
