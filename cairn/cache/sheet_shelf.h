// SPDX-License-Identifier: Apache-2.0
// Sheets of blocks that the prefix index holds: what follows from their keys is made once, whichever sequence asks for
// it first, and goes when the index lets go of the blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/cache/sheets.h"
#include "cairn/reuse/prefix_index.h"

namespace cairn::cache {

// Thread-safe. Its sheets' budget must outlive it.
class SheetShelf {
 public:
  // Of the sheet that ends with the block of this key; `kind` tells the tables and forms of a cache apart. Null where
  // there is none.
  std::shared_ptr<Sheet> find(const Digest& key, std::uint32_t kind) const;
  // Of a block that the index does not hold nothing stays.
  void put(const Digest& key, std::uint32_t kind, std::shared_ptr<Sheet> sheet, const PrefixIndex& index);
  // The block is gone.
  void forget(const Digest& key);
  // Those that no sequence holds; returns their bytes.
  std::size_t forget_unused();
  std::size_t bytes() const;

 private:
  using Kinds = std::vector<std::pair<std::uint32_t, std::shared_ptr<Sheet>>>;

  mutable std::mutex mutex_;
  std::unordered_map<Digest, Kinds, DigestHash> sheets_;  // guarded by mutex_
};

// Where sheets of one table's leading blocks lie on a shelf. A value; what it refers to must outlive it.
struct ShelfPlace {
  SheetShelf* shelf = nullptr;  // null: there is none
  const PrefixIndex* index = nullptr;
  std::span<const Digest> keys{};  // of the blocks
  std::uint32_t kind = 0;

  ShelfPlace of_kind(std::uint32_t number) const { return {shelf, index, keys, kind * 8 + number}; }
};

// Takes what lies there of sheets that `sheets` lacks, to cover `blocks` at most.
void take_from_shelf(Sheets& sheets, std::size_t blocks, const ShelfPlace& place);
// Puts what is complete there, from block `first` on.
void put_on_shelf(const Sheets& sheets, std::size_t first, const ShelfPlace& place);

}  // namespace cairn::cache
