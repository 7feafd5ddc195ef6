// SPDX-License-Identifier: Apache-2.0
// How much attention the tokens of a block get, for codecs that keep some tokens better than others (ZipCache's
// saliency).
#pragma once

#include <cstdint>

#include "cairn/attention/attend.h"
#include "cairn/base/thread_pool.h"

namespace cairn {

// Adds to mass[h, t] the softmax weight that each query row gives to token t of `page`, the query heads of KV head h
// one after the other, rows in order, so that it does not matter how rows are divided among calls. rows.softmax must be
// what attend() left there; the weights are those of the whole softmax. Costs the scores of one page per row: attention
// itself is not materialised. `mass` is [kv_heads, kBlockTokens].
void add_mass(const AttendRows& rows, const PageView& page, const AttendLayer& layer, ThreadPool& pool, float* mass);

}  // namespace cairn
