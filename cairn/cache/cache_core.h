// SPDX-License-Identifier: Apache-2.0
// What all sequences of one cache share: the options, the forms that pages take at each layer, the pool, the prefix
// index. How blocks look in a store is in stored_block.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/block/layer_spec.h"
#include "cairn/block/page_pool.h"
#include "cairn/cache/kept_prefixes.h"
#include "cairn/cache/kv_connector.h"
#include "cairn/cache/sheet_shelf.h"
#include "cairn/codec/plan.h"
#include "cairn/reuse/prefix_index.h"

namespace cairn {

// Where blocks lie that a policy moves out of the KV budget (PolicySpec::offloads). A value.
struct OffloadPlace {
  std::string folder{};   // a file there holds them; empty: memory of its own
  std::size_t bytes = 0;  // at most; 0: there is no such place

  // As people name it: a folder, or "ram" for memory of its own; empty: there is none.
  static OffloadPlace named(const std::string& name, std::size_t bytes) {
    if (name.empty()) return {};
    return {.folder = name == "ram" ? "" : name, .bytes = bytes};
  }
  // In messages.
  std::string text() const { return folder.empty() ? "ram" : "'" + folder + "'"; }
};

struct KvCacheOptions {
  CodecPlan plan;
  std::vector<LayerSpec> layers;  // as many as the plan has
  Digest root;                    // chain_root(recipe, tenant)
  std::size_t budget_bytes = 0;   // of all pages, those of the index included
  // How much of it finished blocks and kept prefixes may hold for reuse; 0 turns reuse off.
  std::size_t index_budget_bytes = 0;
  // Whether sequences publish what they keep under a policy (kept_prefixes.h). It takes memory while they go on, and
  // serves nobody where no two prompts begin alike under one policy.
  bool keeps_prefixes = true;
  std::shared_ptr<KvConnector> connector{};  // to the store where prefixes outlive the cache; needs reuse
  // Whether a token is punctuation and nothing else, for policies that go by it; empty: nobody knows. Called from any
  // thread.
  std::function<bool(TokenId)> is_punctuation{};
  std::string eviction = "lru";  // which finished block goes next, see make_chain_policy()
  OffloadPlace offload{};
};

}  // namespace cairn

namespace cairn::cache {

// What PageRef::form says of a page. Forms from kDemotedForm on are those of tokens that a policy demoted: kDemotedForm
// plus the number of their codec in codec_table().
inline constexpr std::uint32_t kClosedForm = 0;
inline constexpr std::uint32_t kOpenForm = 1;
inline constexpr std::uint32_t kFirstForm = 2;  // closed, of the first block of a sequence, where that is another
inline constexpr std::uint32_t kDemotedForm = 3;

// Both forms that a page takes in turn, and those that it may be demoted to; a slot that the layer does not have takes
// no bytes in any. Immutable.
struct PageForms {
  PageFormat open;                  // while tokens are added, and for ever if nothing is encoded
  PageFormat closed;                // afterwards
  PageFormat first;                 // the same of the first block: some of its tokens may be exact (PageFormat)
  std::vector<PageFormat> demoted;  // as codec_table(), those included that do not fit (demotion.h)
  std::size_t open_bytes = 0;
  std::size_t closed_bytes = 0;
  std::size_t first_bytes = 0;
  bool closes = false;  // full blocks have a closed page of their own

  PageForms(const CodecPlan& plan, std::uint32_t layer, PageSlot slot, PageShape shape);
  bool exists() const { return open_bytes != 0; }
  bool encodes() const { return exists() && closed.codec->encode != nullptr; }  // its codec does
  // Of a full block with this number that is encoded.
  std::uint32_t closed_form(std::size_t number) const {
    return number == 0 && first != closed ? kFirstForm : kClosedForm;
  }
  const PageFormat& format(std::uint32_t form) const;  // of PageRef::form; lives as long as this
  std::size_t page_bytes(std::uint32_t form) const;    // the same
  std::size_t closing_bytes() const;  // of the budget, for the page that closing adds; 0 if there is none
};

// The cold form of one layer that blocks pass through. Immutable.
struct ColdLayer {
  std::shared_ptr<const ColdForm> form;
  std::uint32_t layer = 0;
  ColdRotation rotation;
};

// A layer that has keys and values of its own.
struct LayerForms {
  LayerSpec spec;
  std::uint32_t window = 0;  // the widest of the layers that read them; 0: one of them has none
  PageForms keys;
  PageForms values;  // do not exist where values lie in the keys
  std::optional<ColdLayer> cold{};

  std::span<const PageSlot> slots() const { return spec.shape.slots(); }
  const PageForms& of(PageSlot slot) const { return slot == PageSlot::kKeys ? keys : values; }
  bool encodes() const { return keys.encodes() || values.encodes(); }
  bool closes() const { return keys.closes || values.closes; }
  bool reads_mass() const { return keys.closed.codec->signals.mass || values.closed.codec->signals.mass; }
  std::size_t open_bytes() const;     // of the budget, for an open block
  std::size_t closed_bytes() const;   // of the budget, for a full one
  std::size_t first_extra() const;    // of the budget, what the first full one takes beyond that
  std::size_t closing_bytes() const;  // of the budget, for what closing one adds until its open form is let go
  // That a sequence holds while it grows token by token: under a window those that it covers, and kKeptBehind.
  std::size_t max_blocks() const;
};

// How far a sequence can be trimmed, or its rows computed again, before a window misses what was behind it: positions.
inline constexpr std::uint32_t kKeptBehind = kBlockTokens;

// Thread-safe. Held by the cache and by each of its sequences.
struct CacheCore {
  const KvCacheOptions options;
  const std::vector<LayerForms> tables;        // of the layers that have keys and values of their own
  const std::vector<std::uint32_t> table_of;   // by layer: which of the tables it reads
  const std::vector<std::size_t> first_parts;  // of each table in a stored block, and of what would come after the last
  const std::unique_ptr<PagePool> pool;
  const std::unique_ptr<PagePool> offload;         // null where there is no such place
  SheetShelf shelf;                                // of blocks in the index; after the pool, before the index
  std::optional<PrefixIndex> index;                // after the pool: it drops its pages first
  KeptPrefixes kept;                               // after the pool too; empty where there is no index
  std::atomic<std::uint64_t> blocks_kept_raw = 0;  // not encoded since they held infinities or not-a-numbers
  std::atomic<std::uint64_t> cold_bytes = 0, cold_values = 0;  // of what has passed through a cold form

  // The tables that a cache with these options has. Requires: as check() does of layers and codecs.
  static std::vector<LayerForms> tables_of(const KvCacheOptions& options);

  // kInvalidArgument for options that make no sense, kOutOfBudget when not even one block fits.
  static Status check(const KvCacheOptions& options);
  // The errors of check; kIo when the system refuses the address space; those of PagePool::create_in_file.
  static Result<std::shared_ptr<CacheCore>> create(const KvCacheOptions& options);

  CacheCore(const KvCacheOptions& options, std::unique_ptr<PagePool> pool, std::unique_ptr<PagePool> offload);

  // Reserves, evicting sheets, kept prefixes and blocks of the index that nobody uses if need be. kOutOfBudget when
  // that is not enough.
  Result<Reservation> make_room(std::size_t bytes);
  // After something was published or loaded: blocks of the index and kept prefixes together stay within their budget. A
  // page that both hold counts twice.
  void hold_index_budget();

 private:
  std::size_t give_back(std::size_t bytes);
};

}  // namespace cairn::cache
