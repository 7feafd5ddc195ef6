// SPDX-License-Identifier: Apache-2.0
// Test support: what the pages of a sequence hold, in numbers that two sequences can be compared by.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "cairn/cache/kv_cache.h"

namespace cairn::testing {

struct Seen {
  std::uint64_t content = 0;  // tokens, their keys, values and positions
  std::uint64_t bytes = 0;    // that, every byte of every page, and all numbers
};

// Looks at sequences of one cache, between passes.
class SequencePages {
 public:
  explicit SequencePages(const KvCacheOptions& options) : options_(options) {}

  std::uint32_t layers() const { return static_cast<std::uint32_t>(options_.layers.size()); }
  const LayerSpec& spec(std::uint32_t layer) const { return options_.layers[layer]; }
  bool owns(std::uint32_t layer) const { return spec(layer).kv_map == layer; }

  template <class Visit>  // visit(format, page, bytes as they count)
  void each_page(const Sequence& sequence, const Visit& visit) const {
    for (std::uint32_t l = 0; l < layers(); ++l) {
      if (!owns(l)) continue;
      for (const PageView& view : sequence.pages(l)) {
        visit(view, *view.key_format, view.keys);
        if (spec(l).shape.has_value_pages()) visit(view, *view.value_format, view.values);
      }
    }
  }
  static std::vector<float> decoded(const PageView& view, const PageFormat& format, const std::byte* page) {
    std::vector<float> rows(view.count * format.shape.values_per_token());
    format.codec->decode(format, page, view.count, rows.data());
    return rows;
  }

  Seen seen(const Sequence& sequence) const {
    Seen seen;
    seen.content = mixed(0, sequence.tokens().data(), sequence.tokens().size_bytes());
    each_page(sequence, [&](const PageView& view, const PageFormat& format, const std::byte* page) {
      const std::vector<float> rows = decoded(view, format, page);
      seen.content = mixed(seen.content, rows.data(), rows.size() * sizeof(float));
      for (std::uint32_t h = 0; h < format.shape.kv_heads; ++h) {
        seen.content = mixed(seen.content, view.positions + std::size_t{h} * view.head_stride, view.count * 4);
      }
      seen.bytes = mixed(seen.bytes, page, format.codec->page_bytes(format));
    });
    const PolicyReport report = sequence.policy_report();
    seen.bytes = mixed(seen.bytes, seen.content);
    for (const std::uint64_t number :
         {std::uint64_t{sequence.bytes_held()}, std::uint64_t{sequence.intact()}, std::uint64_t{report.tokens_kept},
          std::uint64_t{report.tokens_demoted}, std::uint64_t{report.bytes_freed}, report.boxes_offered,
          report.boxes_read, report.put_off}) {
      seen.bytes = mixed(seen.bytes, number);
    }
    return seen;
  }

  // Whether a policy demoted what lies in a page.
  bool is_demoted(const PageView& view, std::uint32_t layer) const {
    const Codec* const own = options_.plan.layers[layer].keys;
    return view.key_format->codec != own && view.key_format->codec != &open_codec(*own);
  }
  // Positions of a KV head at a layer, as they lie in its pages; of those that were demoted, or of the others.
  std::vector<std::int32_t> positions(const Sequence& sequence, std::uint32_t layer, std::uint32_t head,
                                      bool demoted = false) const {
    std::vector<std::int32_t> found;
    for (const PageView& view : sequence.pages(layer)) {
      if (is_demoted(view, layer) != demoted) continue;
      for (std::uint32_t t = 0; t < view.count; ++t) {
        const std::int32_t position = view.positions[std::size_t{head} * view.head_stride + t];
        if (position != kHiddenPosition) found.push_back(position);
      }
    }
    return found;
  }

  // Keys, then values, of what is not demoted; nothing where the layer encodes.
  std::map<std::int32_t, std::vector<float>> rows_by_position(const Sequence& sequence, std::uint32_t layer,
                                                              std::uint32_t head) const {
    std::map<std::int32_t, std::vector<float>> found;
    const PageShape shape = spec(layer).shape;
    const std::size_t dim = shape.head_dim, width = shape.values_per_token();
    const auto& codecs = options_.plan.layers[layer];
    if (codecs.keys->encode != nullptr || codecs.values->encode != nullptr || !shape.has_value_pages()) return found;
    for (const PageView& view : sequence.pages(layer)) {
      if (is_demoted(view, layer)) continue;
      const std::vector<float> keys = decoded(view, *view.key_format, view.keys);
      const std::vector<float> values = decoded(view, *view.value_format, view.values);
      for (std::uint32_t t = 0; t < view.count; ++t) {
        const std::int32_t position = view.positions[std::size_t{head} * view.head_stride + t];
        if (position == kHiddenPosition) continue;
        std::vector<float>& row = found[position];
        for (const std::vector<float>* rows : {&keys, &values}) {
          const auto at = rows->begin() + static_cast<std::ptrdiff_t>(t * width + head * dim);
          row.insert(row.end(), at, at + static_cast<std::ptrdiff_t>(dim));
        }
      }
    }
    return found;
  }

 private:
  static std::uint64_t mixed(std::uint64_t hash, const void* data, std::size_t bytes) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < bytes; i += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at + i, std::min<std::size_t>(8, bytes - i));
      hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    }
    return hash;
  }
  static std::uint64_t mixed(std::uint64_t hash, std::uint64_t number) { return mixed(hash, &number, sizeof number); }

  const KvCacheOptions& options_;
};

}  // namespace cairn::testing
