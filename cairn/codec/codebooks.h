// SPDX-License-Identifier: Apache-2.0
// Trained tables of a codec for one model: an artifact, bound into the recipe by its digest. docs/codecs.md has the
// bytes of the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/shape.h"

namespace cairn {

// Immutable once made; thread-safe.
class Codebooks {
 public:
  // `tables`: in the order of LayerSlot, of equal sizes. kInvalidArgument when their number, their sizes or
  // the shape make no sense.
  static Result<Codebooks> make(Digest model, std::uint32_t codec_id, PageShape shape,
                                std::vector<std::vector<std::byte>> tables);
  // The bytes of a file. kCorrupt with what is wrong: any difference from what bytes() gave is noticed; kUnsupported
  // when they are whole and of another version.
  static Result<Codebooks> parse(std::span<const std::byte> bytes);
  // kNotFound, kIo, and those of parse().
  static Result<Codebooks> read(const std::string& path);
  // Replaces the file in one step.
  Status write(const std::string& path) const;
  // What write() writes.
  std::vector<std::byte> bytes() const;

  const Digest& model() const { return model_; }  // whose keys and values they were trained on
  std::uint32_t codec_id() const { return codec_id_; }
  PageShape shape() const { return shape_; }
  std::uint32_t layers() const { return static_cast<std::uint32_t>(tables_.size() / kPageSlots.size()); }
  std::size_t table_bytes() const { return tables_.front().size(); }
  const std::byte* table(std::uint32_t layer, PageSlot slot) const;
  const Digest& digest() const { return digest_; }  // of all of the above

 private:
  Codebooks() = default;

  Digest model_;
  std::uint32_t codec_id_ = 0;
  PageShape shape_;
  std::vector<std::vector<std::byte>> tables_;
  Digest digest_;
};

}  // namespace cairn
