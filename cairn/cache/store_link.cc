// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/store_link.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace cairn {
namespace {

// Part 0 of a record is the tokens, part 1 + l is K then V of layer l; the tag says in which form each is.
constexpr std::uint32_t kKeysOpen = 1, kValuesOpen = 2;
// A tier that was too slow gets a chance to show otherwise now and then.
constexpr std::uint32_t kProbeEvery = 16;

std::uint64_t nanoseconds_since(std::chrono::steady_clock::time_point start) {
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
}

std::size_t page_bytes(const SideForms& side, std::uint32_t form) {
  return form == kOpenForm ? side.open_bytes : side.settled_bytes;
}

PartMeta layer_part(const LayerForms& layer, std::uint32_t keys_form, std::uint32_t values_form) {
  const std::size_t bytes = page_bytes(layer.keys, keys_form) + page_bytes(layer.values, values_form);
  return {static_cast<std::uint32_t>(bytes),
          (keys_form == kOpenForm ? kKeysOpen : 0) | (values_form == kOpenForm ? kValuesOpen : 0)};
}

// Whatever the header says, only pages of this cache's own sizes are taken.
bool fits(const CacheCore& core, const BlockMeta& meta) {
  if (meta.parts.size() != core.layers.size() + 1) return false;
  if (meta.parts[0].bytes != kBlockTokens * sizeof(TokenId)) return false;
  for (std::size_t l = 0; l < core.layers.size(); ++l) {
    const PartMeta& part = meta.parts[l + 1];
    if ((part.tag & ~(kKeysOpen | kValuesOpen)) != 0) return false;
    const std::uint32_t keys_form = part.tag & kKeysOpen ? kOpenForm : kSettledForm;
    const std::uint32_t values_form = part.tag & kValuesOpen ? kOpenForm : kSettledForm;
    if (part != layer_part(core.layers[l], keys_form, values_form)) return false;
  }
  return true;
}

}  // namespace

StoreLink::StoreLink(StoreLinkOptions options) : options_(std::move(options)) {
  for (std::size_t t = 0; t < options_.store->tiers(); ++t) {
    options_.store->tier(t).describe_recipe(options_.recipe, options_.recipe_text);
  }
}

// Which form each page has is known once the block is: the least that a block takes decides.
bool StoreLink::worth_loading(std::span<const std::size_t> tiers, std::uint64_t block_bytes) {
  const double rate = prefill_.per_second();
  if (!options_.break_even || rate == 0) return true;
  double load_s = 0;
  for (const std::size_t tier : tiers) load_s += options_.store->expected_seconds(tier, block_bytes);
  const double compute_s = static_cast<double>(tiers.size() * kBlockTokens) / rate;
  if (load_s < compute_s || guard_streak_.fetch_add(1) % kProbeEvery == kProbeEvery - 1) return true;
  loads_skipped_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

// A load that goes worse than expected costs at most as much again as computing would have.
Deadline StoreLink::load_deadline(std::size_t blocks) const {
  constexpr double kLeast = 0.1;
  double wait_s = std::chrono::duration<double>(options_.most_wait).count();
  if (const double rate = prefill_.per_second(); rate > 0 && options_.break_even) {
    wait_s = std::min(wait_s, std::max(kLeast, static_cast<double>(blocks * kBlockTokens) / rate));
  }
  return deadline_in(std::chrono::milliseconds(static_cast<std::int64_t>(1000 * wait_s)));
}

// Empty when the block is refused or there is no room for it.
std::vector<PageRef> StoreLink::copy_pages(CacheCore& core, const LoadedBlock& block, std::span<const TokenId> tokens) {
  const BlockMeta& meta = block.record->meta();
  std::array<TokenId, kBlockTokens> stored;
  if (!fits(core, meta) || meta.recipe != options_.recipe ||
      !options_.store->copy_part(block, 0, std::as_writable_bytes(std::span(stored))) ||
      !std::ranges::equal(stored, tokens)) {
    blocks_refused_.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  std::size_t bytes = 0;
  for (std::size_t l = 0; l < core.layers.size(); ++l) {
    const std::uint32_t tag = meta.parts[l + 1].tag;
    bytes += PagePool::occupied_bytes(page_bytes(core.layers[l].keys, tag & kKeysOpen ? kOpenForm : kSettledForm));
    bytes += PagePool::occupied_bytes(page_bytes(core.layers[l].values, tag & kValuesOpen ? kOpenForm : kSettledForm));
  }
  Result<Reservation> room = core.make_room(bytes);
  if (!room) return {};
  std::vector<PageRef> pages;
  std::vector<std::byte> both;
  for (std::size_t l = 0; l < core.layers.size(); ++l) {
    const PartMeta& part = meta.parts[l + 1];
    const std::uint32_t keys_form = part.tag & kKeysOpen ? kOpenForm : kSettledForm;
    const std::uint32_t values_form = part.tag & kValuesOpen ? kOpenForm : kSettledForm;
    const std::size_t keys = page_bytes(core.layers[l].keys, keys_form), values = part.bytes - keys;
    both.resize(part.bytes);
    if (!options_.store->copy_part(block, l + 1, both)) {
      blocks_refused_.fetch_add(1, std::memory_order_relaxed);
      return {};
    }
    pages.push_back(room->take(keys, keys_form));
    std::memcpy(pages.back().data(), both.data(), keys);
    pages.push_back(room->take(values, values_form));
    std::memcpy(pages.back().data(), both.data() + keys, values);
  }
  return pages;
}

// Returns how many of `wanted`, the keys from block `first` on, are in the index now.
std::size_t StoreLink::insert_loaded(CacheCore& core, std::span<const TokenId> prompt, std::span<const Digest> keys,
                                     std::size_t first, std::span<const Digest> wanted, Deadline deadline,
                                     std::vector<PageRef>& held) {
  const auto load = options_.store->load({wanted.begin(), wanted.end()}, deadline);
  std::size_t loaded = 0;
  for (; loaded < wanted.size(); ++loaded) {
    const LoadedBlock block = load->wait(loaded);
    if (block.status != BlockStatus::kOk) break;
    const std::size_t b = first + loaded;
    const auto tokens = prompt.subspan(b * kBlockTokens, kBlockTokens);
    std::vector<PageRef> pages = copy_pages(core, block, tokens);
    if (pages.empty()) break;
    SealedBlock sealed{.parent = b == 0 ? core.options.root : keys[b - 1], .key = keys[b], .tokens = {}, .pages = {}};
    std::ranges::copy(tokens, sealed.tokens.begin());
    held.insert(held.end(), pages.begin(), pages.end());
    sealed.pages = std::move(pages);
    const InsertOutcome outcome = core.index->insert(core.options.root, std::move(sealed)).outcome;
    if (outcome != InsertOutcome::kInserted && outcome != InsertOutcome::kDuplicate) break;
  }
  load->abandon();
  return loaded;
}

std::size_t StoreLink::warm(CacheCore& core, std::span<const TokenId> prompt) {
  const std::size_t blocks = prompt.size() / kBlockTokens;
  std::vector<Digest> keys;
  for (std::size_t b = 0; b < blocks; ++b) {
    keys.push_back(block_key(b == 0 ? core.options.root : keys.back(), prompt.subspan(b * kBlockTokens, kBlockTokens)));
  }
  const std::size_t known = core.index->known(keys);
  if (known == blocks) return 0;
  const auto start = std::chrono::steady_clock::now();
  const Deadline deadline = load_deadline(blocks - known);
  const std::vector<std::size_t> tiers = options_.store->locate(std::span(keys).subspan(known), deadline);
  std::size_t loaded = 0;
  if (!tiers.empty() && worth_loading(tiers, core.settled_block_bytes())) {
    const auto wanted = std::span(keys).subspan(known, tiers.size());
    std::vector<PageRef> held;  // so that making room for later blocks cannot evict earlier ones
    // Once more after damage: the tier has let go of the block, one below may have it sound.
    for (int attempt = 0; attempt < 2 && loaded < wanted.size(); ++attempt) {
      const std::uint64_t refused = blocks_refused_;
      loaded += insert_loaded(core, prompt, keys, known + loaded, wanted.subspan(loaded), deadline, held);
      if (blocks_refused_ == refused) break;
    }
  }
  blocks_loaded_.fetch_add(loaded, std::memory_order_relaxed);
  load_nanoseconds_.fetch_add(nanoseconds_since(start), std::memory_order_relaxed);
  return loaded;
}

void StoreLink::write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth) {
  const auto start = std::chrono::steady_clock::now();
  BlockMeta meta{.key = block.key,
                 .parent = block.parent,
                 .recipe = options_.recipe,
                 .tenant = tenant_tag(options_.tenant),
                 .depth = depth};
  thread_local std::vector<std::byte> both;
  std::size_t total = 0;
  meta.parts.push_back({kBlockTokens * sizeof(TokenId), 0});
  for (std::size_t l = 0; l < core.layers.size(); ++l) {
    meta.parts.push_back(layer_part(core.layers[l], block.pages[2 * l].form(), block.pages[2 * l + 1].form()));
    total += meta.parts.back().bytes;
  }
  both.resize(total);
  std::vector<std::span<const std::byte>> contents = {std::as_bytes(std::span(block.tokens))};
  std::size_t at = 0;
  for (std::size_t l = 0; l < core.layers.size(); ++l) {
    const std::size_t keys = page_bytes(core.layers[l].keys, block.pages[2 * l].form());
    const std::size_t bytes = meta.parts[l + 1].bytes;
    std::memcpy(both.data() + at, block.pages[2 * l].data(), keys);
    std::memcpy(both.data() + at + keys, block.pages[2 * l + 1].data(), bytes - keys);
    contents.push_back(std::span<const std::byte>(both).subspan(at, bytes));
    at += bytes;
  }
  if (options_.store->write(std::move(meta), contents)) blocks_written_.fetch_add(1, std::memory_order_relaxed);
  write_nanoseconds_.fetch_add(nanoseconds_since(start), std::memory_order_relaxed);
}

StoreLinkStats StoreLink::stats() const {
  return {.blocks_loaded = blocks_loaded_,
          .blocks_written = blocks_written_,
          .write_seconds = static_cast<double>(write_nanoseconds_.load()) * 1e-9,
          .loads_skipped = loads_skipped_,
          .blocks_refused = blocks_refused_,
          .load_seconds = static_cast<double>(load_nanoseconds_.load()) * 1e-9};
}

}  // namespace cairn
