// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/model_digest.h"

#include <algorithm>
#include <bit>

namespace cairn {

Digest tensor_digest(const GgufTensor& tensor, ThreadPool& pool) {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  std::vector<Digest> pieces((tensor.data.size() + kPiece - 1) / kPiece);
  pool.run(pieces.size(), [&](std::size_t i, unsigned) {
    const std::size_t first = i * kPiece;
    pieces[i] = Hasher("cairn.weights.piece.v1")
                    .bytes(tensor.data.subspan(first, std::min(kPiece, tensor.data.size() - first)))
                    .finish();
  });
  Hasher hasher("cairn.weights.tensor.v1");
  hasher.text(tensor.name).u32(tensor.type);
  for (const std::uint64_t dim : tensor.dims) hasher.u64(dim);
  hasher.u64(tensor.data.size());
  for (const Digest& piece : pieces) hasher.digest(piece);
  return hasher.finish();
}

void ModelDigest::add(const GgufTensor& tensor, ThreadPool& pool) {
  tensors_.push_back({tensor.name, tensor_digest(tensor, pool)});
}

Digest ModelDigest::finish() {
  std::ranges::sort(tensors_, {}, &Named::name);
  Hasher hasher("cairn.weights.v1");
  hasher.text(arch_name(config_.arch));
  hasher.u32(config_.heads).u32(config_.kv_heads).u32(config_.head_dim);
  hasher.u32(std::bit_cast<std::uint32_t>(config_.rms_eps)).u32(std::bit_cast<std::uint32_t>(config_.attention_scale));
  hasher.u64(tensors_.size());
  for (const Named& tensor : tensors_) hasher.digest(tensor.digest);
  return hasher.finish();
}

}  // namespace cairn
