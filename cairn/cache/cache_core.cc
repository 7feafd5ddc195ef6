// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/cache_core.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "cairn/cache/window.h"
#include "cairn/eviction/eviction.h"

namespace cairn::cache {
namespace {

// The widest window of the layers that read this one's keys and values; 0 where one of them has none.
std::uint32_t widest_window(const std::vector<LayerSpec>& layers, std::uint32_t owner) {
  std::uint32_t widest = layers[owner].window;
  for (const LayerSpec& reader : layers) {
    if (reader.kv_map == owner) widest = reader.window == 0 || widest == 0 ? 0 : std::max(widest, reader.window);
  }
  return widest;
}

std::vector<std::uint32_t> numbers_of_tables(const std::vector<LayerSpec>& layers) {
  std::vector<std::uint32_t> numbers;
  std::uint32_t tables = 0;
  for (std::uint32_t l = 0; l < layers.size(); ++l) {
    numbers.push_back(layers[l].kv_map == l ? tables++ : numbers[layers[l].kv_map]);
  }
  return numbers;
}

std::vector<std::size_t> first_parts_of(const std::vector<LayerForms>& tables) {
  std::vector<std::size_t> first = {1};  // after the tokens
  for (const LayerForms& layer : tables) first.push_back(first.back() + layer.slots().size());
  return first;
}

IndexWindows index_windows(const std::vector<LayerForms>& tables) {
  IndexWindows windows;
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const std::uint32_t window = tables[t].window;
    if (window == 0) continue;
    windows.layers.resize(tables.size());
    windows.layers[t] = true;
    // A query sees window - 1 positions before its own, which is the first of its block.
    const std::size_t kept = std::size_t{window} - 1 + kKeptBehind;
    windows.blocks = std::max(windows.blocks, (kept + kBlockTokens - 1) / kBlockTokens);
  }
  return windows;
}

// One open block and its encoded form.
std::size_t least_bytes(const std::vector<LayerForms>& tables) {
  std::size_t bytes = 0;
  for (const LayerForms& layer : tables) bytes += layer.open_bytes() + layer.closing_bytes() + layer.first_extra();
  return bytes;
}

// Null where there is no such place. Errors speak of it, not of the KV budget.
Result<std::unique_ptr<PagePool>> offload_pool(const OffloadPlace& place, std::span<const std::size_t> page_sizes) {
  if (place.bytes == 0) return nullptr;
  auto pool = place.folder.empty() ? PagePool::create(place.bytes, page_sizes)
                                   : PagePool::create_in_file(place.bytes, page_sizes, place.folder);
  if (pool || pool.error().code == ErrorCode::kNotFound) return pool;
  const bool small = pool.error().code == ErrorCode::kOutOfBudget;
  const std::string where = place.folder.empty() ? "ram" : "'" + place.folder + "'";
  return fail(pool.error().code,
              small ? "no block fits the " + std::to_string(place.bytes) + " bytes of --offload-size; give it more"
                    : "cannot --offload " + std::to_string(place.bytes) + " bytes to " + where + ": " +
                          pool.error().message + "; another place or a smaller --offload-size may help");
}

}  // namespace

PageForms::PageForms(const CodecPlan& plan, std::uint32_t layer, PageSlot slot, PageShape shape)
    : open(open_format(plan.format(layer, slot, shape))),
      closed(plan.format(layer, slot, shape)),
      first(first_format(closed)) {
  if (std::ranges::find(shape.slots(), slot) == shape.slots().end()) return;
  for (const Codec& codec : codec_table()) demoted.push_back({.codec = &codec, .shape = shape, .slot = slot});
  open_bytes = open.codec->page_bytes(open);
  closed_bytes = closed.codec->page_bytes(closed);
  first_bytes = first.codec->page_bytes(first);
  closes = encodes() || plan.cold != nullptr;
}

const PageFormat& PageForms::format(std::uint32_t form) const {
  if (form >= kDemotedForm) return demoted[form - kDemotedForm];
  return form == kOpenForm ? open : form == kFirstForm ? first : closed;
}

std::size_t PageForms::page_bytes(std::uint32_t form) const {
  if (form >= kDemotedForm) return format(form).codec->page_bytes(format(form));
  return form == kOpenForm ? open_bytes : form == kFirstForm ? first_bytes : closed_bytes;
}

std::size_t PageForms::closing_bytes() const {
  return closes ? PagePool::occupied_bytes(closed_bytes) : 0;
}

std::size_t LayerForms::open_bytes() const {
  return PagePool::occupied_bytes(keys.open_bytes) + PagePool::occupied_bytes(values.open_bytes);
}

std::size_t LayerForms::closed_bytes() const {
  return PagePool::occupied_bytes(keys.closed_bytes) + PagePool::occupied_bytes(values.closed_bytes);
}

std::size_t LayerForms::first_extra() const {
  return PagePool::occupied_bytes(keys.first_bytes) + PagePool::occupied_bytes(values.first_bytes) - closed_bytes();
}

std::size_t LayerForms::closing_bytes() const {
  return keys.closing_bytes() + values.closing_bytes();
}

std::vector<LayerForms> CacheCore::tables_of(const KvCacheOptions& options) {
  std::vector<LayerForms> tables;
  for (std::uint32_t l = 0; l < options.layers.size(); ++l) {
    const LayerSpec& spec = options.layers[l];
    if (spec.kv_map != l) continue;
    tables.push_back({spec, widest_window(options.layers, l), PageForms(options.plan, l, PageSlot::kKeys, spec.shape),
                      PageForms(options.plan, l, PageSlot::kValues, spec.shape)});
    if (options.plan.cold != nullptr) tables.back().cold.emplace(options.plan.cold, l, ColdRotation(spec.rope));
  }
  return tables;
}

CacheCore::CacheCore(const KvCacheOptions& cache_options, std::unique_ptr<PagePool> page_pool,
                     std::unique_ptr<PagePool> offload_pool)
    : options(cache_options),
      tables(tables_of(options)),
      table_of(numbers_of_tables(options.layers)),
      first_parts(first_parts_of(tables)),
      pool(std::move(page_pool)),
      offload(std::move(offload_pool)),
      kept(options.index_budget_bytes) {
  if (options.index_budget_bytes > 0 && options.plan.reusable()) {
    index.emplace(options.index_budget_bytes, *make_chain_policy(options.eviction, options.index_budget_bytes),
                  index_windows(tables), [this](const Digest& key) { shelf.forget(key); });
  }
}

Status CacheCore::check(const KvCacheOptions& options) {
  CAIRN_TRY_VOID(check_layers(options.layers));
  CAIRN_TRY_VOID(make_chain_policy(options.eviction, 0));
  if (options.plan.layers.size() != options.layers.size()) {
    return fail(ErrorCode::kInvalidArgument, "a KV cache of " + std::to_string(options.layers.size()) +
                                                 " layers needs as many codecs for keys and values, not " +
                                                 std::to_string(options.plan.layers.size()));
  }
  for (std::size_t l = 0; l < options.layers.size(); ++l) {
    const LayerPlan& layer = options.plan.layers[l];
    if (layer.keys == nullptr || layer.values == nullptr) {
      return fail(ErrorCode::kInvalidArgument, "a KV cache needs a codec for keys and one for values");
    }
    CAIRN_TRY_VOID(check_pair(layer, options.layers[l].shape));
    for (const Codec* codec : {layer.keys, layer.values}) {
      CAIRN_TRY_VOID(check_shape(*codec, options.layers[l].shape));
      if (codec->needs_codebook && options.plan.codebooks == nullptr) {
        return fail(ErrorCode::kInvalidArgument, "codec '" + std::string(codec->name) + "' needs codebooks");
      }
    }
  }
  const std::size_t least = least_bytes(tables_of(options));
  if (least > options.budget_bytes) {
    return fail(ErrorCode::kOutOfBudget, "the KV cache budget of " + std::to_string(options.budget_bytes) +
                                             " bytes does not hold one block of " + std::to_string(kBlockTokens) +
                                             " tokens: give it at least " + std::to_string(least) + " bytes");
  }
  return {};
}

Result<std::shared_ptr<CacheCore>> CacheCore::create(const KvCacheOptions& options) {
  CAIRN_TRY_VOID(check(options));
  std::vector<std::size_t> page_sizes;
  for (const LayerForms& layer : tables_of(options)) {
    for (const PageSlot slot : layer.slots()) {
      page_sizes.insert(page_sizes.end(),
                        {layer.of(slot).open_bytes, layer.of(slot).closed_bytes, layer.of(slot).first_bytes});
    }
  }
  auto pool = PagePool::create(options.budget_bytes, page_sizes);
  if (!pool) {
    Error error = std::move(pool).error();
    if (error.code == ErrorCode::kIo) error.message += "; a smaller KV cache budget may help";
    return std::unexpected(std::move(error));
  }
  CAIRN_TRY(auto offload, offload_pool(options.offload, page_sizes));
  return std::make_shared<CacheCore>(options, *std::move(pool), std::move(offload));
}

std::size_t LayerForms::max_blocks() const {
  return window == 0 ? std::numeric_limits<std::size_t>::max() : max_window_blocks(window);
}

Result<Reservation> CacheCore::make_room(std::size_t bytes) {
  for (;;) {
    Result<Reservation> room = pool->reserve(bytes);
    // What can never fit must not cost the index its blocks.
    if (room || !index || bytes > pool->budget()) return room;
    const std::size_t free = pool->budget() - pool->bytes_used();
    // Another thread may have made room, or taken it, since: then try again. Sheets go first: they are cheap to make.
    if (free < bytes && shelf.forget_unused() == 0 && give_back(bytes - free) == 0) return room;
  }
}

// Neither can tell what the other's are worth: a block serves every request, a kept prefix saves more for each of its
// bytes, and what comes back is not known. So whichever holds more gives, and neither starves the other. Where it has
// nothing to give, since all of it is in use, the other one does. Kept prefixes that share most of their pages come
// last: each saves as much as any, and little would come back for it.
std::size_t CacheCore::give_back(std::size_t bytes) {
  const std::size_t held = kept.bytes();
  // One at a time: then the index may hold more.
  if (held > index->stats().bytes) {
    if (const std::size_t freed = kept.evict(1, KeptToGo::kMostlyOwn); freed > 0) return freed;
  }
  if (const std::size_t freed = index->evict(bytes); freed > 0 || held == 0) return freed;
  const std::size_t freed = kept.evict(1, KeptToGo::kMostlyOwn);
  return freed > 0 ? freed : kept.evict(1, KeptToGo::kAny);
}

void CacheCore::hold_index_budget() {
  for (;;) {
    const std::size_t held = kept.bytes();
    if (held == 0) return;
    const std::size_t blocks = index->stats().bytes, budget = options.index_budget_bytes;
    if (held + blocks <= budget) return;
    if (held <= blocks && index->evict(held + blocks - budget) > 0) continue;
    if (!kept.drop_oldest()) return;
  }
}

}  // namespace cairn::cache

std::size_t cairn::max_window_blocks(std::uint32_t window) {
  // The positions that LayerTable::release_behind() leaves begin anywhere in a block, and a new block is begun before
  // it.
  return (std::size_t{window} + cache::kKeptBehind - 1 + kBlockTokens - 1) / kBlockTokens + 1;
}
