// SPDX-License-Identifier: Apache-2.0
// The identity of a model's weights, as recipes have it.
#pragma once

#include <string_view>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/thread_pool.h"
#include "cairn/engine/model_config.h"
#include "cairn/gguf/gguf.h"

namespace cairn {

// H over name, type, shape and bytes of one tensor; the bytes as a list of hashes of 1 MiB pieces, so that several
// threads can share the work. Thread-compatible (it uses the pool).
Digest tensor_digest(const GgufTensor& tensor, ThreadPool& pool);

// The identity of a model's weights: equal digests mean equal results for equal tokens on the same kernels.
// H over the numbers of the shape that the tensors do not show, and the digests of all tensors in order of their names;
// the order in the file does not matter. RoPE and tokenizer are separate fields of a recipe.
class ModelDigest {
 public:
  explicit ModelDigest(const ModelConfig& config) : config_(config) {}
  void add(const GgufTensor& tensor, ThreadPool& pool);
  Digest finish();

 private:
  struct Named {
    std::string_view name;
    Digest digest;
  };
  const ModelConfig& config_;
  std::vector<Named> tensors_;
};

}  // namespace cairn
