// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/codec.h"

#include <algorithm>
#include <string>
#include <vector>

#include "cairn/kernels/codes.h"
#include "cairn/kernels/kernels.h"

namespace cairn {

std::span<const Codec> codec_table() {
  static const std::vector<Codec> table = [] {
    std::vector<Codec> rows;
    for (const auto& family : {raw_codecs, kivi_codecs, tok_codecs, zip_codecs, pq_codecs, axes_codecs}) {
      rows.insert(rows.end(), family().begin(), family().end());
    }
    return rows;
  }();
  return table;
}

Result<const Codec*> find_codec(std::string_view name) {
  const auto table = codec_table();
  const auto found = std::ranges::find(table, name, &Codec::name);
  if (found != table.end()) return &*found;
  std::string known;
  for (const Codec& codec : table) known += (known.empty() ? "" : ", ") + std::string(codec.name);
  return fail(ErrorCode::kUnsupported, "unknown codec '" + std::string(name) + "'; choose one of: " + known);
}

Status check_shape(const Codec& codec, PageShape shape) {
  if (!shape.has_value_pages()) {
    if (codec.store_token == nullptr) {
      return fail(ErrorCode::kUnsupported, "codec '" + std::string(codec.name) +
                                               "' cannot hold keys in which the values lie (latent attention); " +
                                               "choose raw_f16, raw_bf16 or raw_f32");
    }
    if (shape.values_in_keys > kMaxChannels) {
      return fail(ErrorCode::kUnsupported, "values of " + std::to_string(shape.values_in_keys) +
                                               " channels that lie in the keys are not supported; at most " +
                                               std::to_string(kMaxChannels) + " are");
    }
    return {};
  }
  const std::uint32_t unit = codec.channel_unit;
  if (codec.encode == nullptr || (shape.head_dim % unit == 0 && shape.head_dim <= kMaxChannels)) return {};
  return fail(ErrorCode::kUnsupported, "codec '" + std::string(codec.name) + "' takes heads of a multiple of " +
                                           std::to_string(unit) + " and at most " + std::to_string(kMaxChannels) +
                                           " channels, not " + std::to_string(shape.head_dim) + "; choose a raw codec");
}

const Codec& open_codec(const Codec& codec) {
  return codec.store_token != nullptr ? codec : raw_codecs().front();
}

PageFormat open_format(const PageFormat& format) {
  PageFormat open = format;
  open.codec = &open_codec(*format.codec);
  return open;
}

PageFormat first_format(const PageFormat& format) {
  PageFormat first = format;
  first.exact_tokens = format.codec->exact_tokens;
  return first;
}

Basis basis_of(const PageFormat& format) {
  switch (format.codec->basis) {
    case BasisKind::kHadamard: return Basis::hadamard(format.shape);
    case BasisKind::kTrained: return Basis::trained(format.shape, format.codec->basis_matrices(format.codebook));
    case BasisKind::kModel: break;
  }
  return {};
}

void hadamard_heads(std::span<float> rows, std::uint32_t head_dim) {
  for (std::size_t first = 0; first < rows.size(); first += head_dim) {
    kernels().hadamard(rows.data() + first, head_dim);
  }
}

double bits_per_value(const PageFormat& format) {
  const std::size_t values = format.shape.values_per_token() * kBlockTokens;
  return 8.0 * static_cast<double>(format.codec->page_bytes(format)) / static_cast<double>(values);
}

}  // namespace cairn
