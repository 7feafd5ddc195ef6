// SPDX-License-Identifier: Apache-2.0
// How a page is encoded and attended over. A family of codecs is one file, which makes rows of codec_table();
// docs/codecs.md compares them.
//
// A page holds the K or the V of one block at one layer, one KV head after the other. While a block is open its tokens
// lie in raw pages. Codecs that can take one token at a time (the raw ones) keep that page; the others encode the full
// block once, into a page of their own, and the raw one is let go.
//
// Raw keys lie as [head_dim, kBlockTokens] and raw values as [kBlockTokens, head_dim]: scores then have tokens in the
// SIMD lanes and outputs have channels there, so neither needs a horizontal sum and a row's arithmetic does not depend
// on its company.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "cairn/base/result.h"
#include "cairn/block/shape.h"
#include "cairn/codec/basis.h"
#include "cairn/kernels/args.h"

namespace cairn {

struct Codec;

// All that a page's bytes mean: how the pages of one slot at one layer are encoded. A value; `codebook` is not owned.
struct PageFormat {
  const Codec* codec = nullptr;
  PageShape shape;
  PageSlot slot = PageSlot::kKeys;
  const std::byte* codebook = nullptr;  // of this layer and slot, for a codec that needs one
  std::uint32_t exact_tokens = 0;       // the first of the page lie there as the open page had them

  bool operator==(const PageFormat&) const = default;
};

// A full block as an encoder gets it.
struct OpenBlock {
  const std::byte* page = nullptr;  // in the format open_codec(), in the basis of the codec
  // How much attention each token got, [kv_heads, kBlockTokens], or null when the codec does not ask for it.
  const float* mass = nullptr;
};

// How far a codec may be off, for normally distributed values: what the conformance test holds its row to. The defaults
// are those of 4-bit codes that are attended with a rounded query.
struct CodecBounds {
  double stored = 0.13;   // root of the mean squared error of decoded values over that of the values
  double scores = 2e-2;   // error of a fused score over the sum of the magnitudes of its products
  double outputs = 3e-4;  // the same of an output of accumulate
};

// What an encoder reads beside the block: a pass finds it out only for codecs that say so (attention/signals.h).
struct CodecSignals {
  bool mass = false;  // OpenBlock::mass
};

// A value of function pointers; immutable, lives for ever. All hooks are pure and thread-safe for distinct memory.
// Pages are 64-byte aligned. Any bytes are a page: reading one that was damaged gives wrong numbers and nothing worse.
struct Codec {
  std::uint32_t id;       // persisted and part of recipes: changes when the bytes change
  std::string_view name;  // what the user types
  bool exact = false;     // storing rounds to the element type once and nothing else is lost
  CodecBounds bounds = {};
  BasisKind basis = BasisKind::kModel;  // of pages, also of open ones that are to be encoded
  // Where Basis::trained() finds its matrices in a codebook; null unless the basis is that.
  const float* (*basis_matrices)(const std::byte* codebook) = nullptr;
  CodecSignals signals = {};    // that encode reads
  bool needs_codebook = false;  // PageFormat::codebook may not be null
  std::string_view made_by{};   // the command that makes its codebooks

  // Bytes of one table of its codebooks, for one layer and slot. Null unless needs_codebook; any bytes will do,
  // aligned for floats.
  std::size_t (*codebook_bytes)(PageShape shape) = nullptr;

  // What a table of the codec must be for the other hooks to read it; null: any bytes will do. The errors of a file.
  Status (*check_codebook)(PageShape shape, PageSlot slot, std::span<const std::byte> table) = nullptr;

  std::uint32_t channel_unit = 8;  // head_dim must be a multiple of it, for codecs that encode

  // How many tokens at the beginning of a sequence are exact under this codec: PageFormat::exact_tokens of its first
  // block. Others have none.
  std::uint32_t exact_tokens = 0;

  // Bytes of one page, metadata included; a multiple of 64.
  std::size_t (*page_bytes)(const PageFormat& format);

  // Writes one token into slot `slot` of a page. `row` is [kv_heads, head_dim]. Values beyond the element's range
  // saturate and NaN becomes zero, so that a masked slot can never poison a sum. Null in codecs that encode whole
  // blocks.
  void (*store_token)(const PageFormat& format, std::byte* page, std::uint32_t slot, const float* row) = nullptr;

  // Writes all tokens of a page at once, as store_token would; rows are [kBlockTokens, kv_heads, head_dim]. Null where
  // that is.
  void (*store_block)(const PageFormat& format, std::byte* page, const float* rows) = nullptr;

  // Writes a page from a full block. Null where store_token is not.
  void (*encode)(const PageFormat& format, const OpenBlock& block, std::byte* page) = nullptr;

  // Expands the first `count` tokens of a page to `out` [count, kv_heads, head_dim], in the basis of the codec.
  void (*decode)(const PageFormat& format, const std::byte* page, std::uint32_t count, float* out);

  // scores[r, t] = sum over d of q[r, d] * K[d, t] for one head of a key page; q is [rows, head_dim] with the softmax
  // scale folded in, scores is [rows, kBlockTokens]. Of tokens outside of `boxes` (a bit for each) a codec need not
  // read anything, and what stands at their scores is not to be looked at. `next` is what the caller reads afterwards.
  void (*scores)(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* q,
                 std::uint32_t rows, std::uint8_t boxes, PrefetchHint next, float* scores);

  // acc[r, d] = acc[r, d] * correction[r] + sum over t < count of p[r, t] * V[t, d], tokens in order; p is
  // [rows, kBlockTokens] with zeros beyond count and outside of `boxes`, acc is [rows, head_dim]. Pages of codecs
  // without store_token are full. On a key page, of a shape whose values lie in the keys, V[t] is what key t begins
  // with, and acc is [rows, value_dim()].
  void (*accumulate)(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, const float* p,
                     const float* correction, std::uint32_t rows, std::uint32_t count, std::uint8_t boxes,
                     PrefetchHint next, float* acc);

  // The part of a page that scores and accumulate read for one head of these boxes.
  PrefetchHint (*head_part)(const PageFormat& format, const std::byte* page, std::uint32_t kv_head, std::uint8_t boxes);
};

// Every codec of this build, by ascending id.
std::span<const Codec> codec_table();

// The rows of each file of codecs, by ascending id.
std::span<const Codec> raw_codecs();
std::span<const Codec> kivi_codecs();
std::span<const Codec> tok_codecs();
std::span<const Codec> zip_codecs();
std::span<const Codec> pq_codecs();
std::span<const Codec> axes_codecs();

// kUnsupported with the list of known names when there is no such codec.
Result<const Codec*> find_codec(std::string_view name);

// Whether the codec can hold heads of this shape; kUnsupported with what it takes. Only raw codecs hold keys in which
// values lie.
Status check_shape(const Codec& codec, PageShape shape);

// What holds the tokens of an open block under a codec: itself if it takes single tokens, else raw_f16.
const Codec& open_codec(const Codec& codec);

// The format of open blocks where full ones have `format`.
PageFormat open_format(const PageFormat& format);

// The format of a sequence's first block where the other full ones have `format`.
PageFormat first_format(const PageFormat& format);

// The basis of pages of this format.
Basis basis_of(const PageFormat& format);

// Hadamard's basis: his transform of each head of `rows` [n, head_dim], in place. It spreads
// outlier channels over all of them and leaves q K unchanged when both are transformed; twice gives back the start.
// Requires: the size is a multiple of head_dim.
void hadamard_heads(std::span<float> rows, std::uint32_t head_dim);

// A full page over its values, metadata included.
double bits_per_value(const PageFormat& format);

}  // namespace cairn
