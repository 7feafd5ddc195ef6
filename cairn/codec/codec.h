// SPDX-License-Identifier: Apache-2.0
// How a page is encoded and attended over. One codec is one file and one row of the table in table.cc.
//
// A page holds the K or the V of one block at one layer, one KV head after the other. Within a head raw keys lie as
// [head_dim, kBlockTokens] and raw values as [kBlockTokens, head_dim]: scores then have tokens in the SIMD lanes and
// outputs have channels there, so neither needs a horizontal sum and a row's arithmetic does not depend on its company.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/block/shape.h"
#include "cairn/kernels/args.h"

namespace cairn {

// A value of function pointers; immutable, lives for ever. All hooks are pure and thread-safe for distinct memory.
struct Codec {
  std::uint32_t id;       // persisted and part of recipes: changes when the bytes change
  std::string_view name;  // what the user types
  bool exact;             // storing rounds to the element type once and nothing else is lost

  // Bytes of one page of this shape, metadata included.
  std::size_t (*page_bytes)(PageShape shape);

  // Writes one token into slot `slot` of an open page. `row` is [kv_heads, head_dim]. Values beyond the element's range
  // saturate and NaN becomes zero, so that a masked slot can never poison a sum.
  void (*store_token)(PageShape shape, Side side, std::byte* page, std::uint32_t slot, const float* row);

  // Expands the first `count` tokens of a page to `out` [count, kv_heads, head_dim].
  void (*decode)(PageShape shape, Side side, const std::byte* page, std::uint32_t count, float* out);

  // scores[r, t] = sum over d of q[r, d] * K[d, t] for one head of a key page; q is [rows, head_dim] with the softmax
  // scale folded in, scores is [rows, kBlockTokens]. `next` is what the caller reads afterwards.
  void (*scores)(PageShape shape, const std::byte* page, std::uint32_t kv_head, const float* q, std::uint32_t rows,
                 Upcoming next, float* scores);

  // acc[r, d] = acc[r, d] * correction[r] + sum over t < count of p[r, t] * V[t, d], tokens in order; p is
  // [rows, kBlockTokens], acc is [rows, head_dim].
  void (*accumulate)(PageShape shape, const std::byte* page, std::uint32_t kv_head, const float* p,
                     const float* correction, std::uint32_t rows, std::uint32_t count, Upcoming next, float* acc);

  // The part of a page that scores and accumulate read for one head.
  Upcoming (*head_part)(PageShape shape, const std::byte* page, std::uint32_t kv_head);
};

// Every codec of this build, by ascending id.
std::span<const Codec> codec_table();

// kUnsupported with the list of known names when there is no such codec.
Result<const Codec*> find_codec(std::string_view name);

}  // namespace cairn
