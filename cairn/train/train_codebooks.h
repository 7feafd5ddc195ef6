// SPDX-License-Identifier: Apache-2.0
// Codebooks of the codecs of pq.cc from keys and values of a text.
#pragma once

#include <cstddef>
#include <functional>

#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/codec/codebooks.h"
#include "cairn/codec/codec.h"
#include "cairn/train/kv_samples.h"

namespace cairn {

// One table for each layer, side and KV head; equal for equal samples, whatever the threads. Errors: kUnsupported for a
// codec without codebooks.
Result<Codebooks> train_codebooks(const Codec& codec, const Digest& model, const KvSamples& samples, ThreadPool& pool,
                                  const std::function<void(std::size_t done, std::size_t total)>& on_progress = {});

}  // namespace cairn
