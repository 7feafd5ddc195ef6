// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kv_connector.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/cache/block_parts.h"

namespace cairn {
namespace {

// A tier that was too slow gets a chance to show otherwise now and then.
constexpr std::uint32_t kProbeEvery = 16;
// A head is computed in whole prefill chunks: parts of one cost as much.
constexpr std::size_t kChunkBlocks = 4;

}  // namespace

KvConnector::KvConnector(KvConnectorOptions options) : options_(std::move(options)) {
  for (std::size_t t = 0; t < options_.store->tiers(); ++t) {
    options_.store->tier(t).describe_recipe(options_.recipe, options_.recipe_text);
  }
}

// How many of the leading blocks are computed sooner than all would be loaded: none when loading is fast, all when it
// is not worth it. Which form each page has is known once the block is: the least that a block takes decides.
std::size_t KvConnector::worth_computing(std::span<const std::size_t> tiers, std::uint64_t record_bytes) {
  const double rate = prefill_.per_second();
  if (!options_.break_even || rate == 0) return 0;
  double load_s = 0;
  for (const std::size_t tier : tiers) load_s += options_.store->expected_seconds(tier, record_bytes);
  const double compute_s = static_cast<double>(tiers.size() * kBlockTokens) / rate;
  if (load_s >= compute_s) {
    if (guard_streak_.fetch_add(1) % kProbeEvery == kProbeEvery - 1) return 0;
    loads_skipped_.fetch_add(1, std::memory_order_relaxed);
    return tiers.size();
  }
  // Both ends meet where the head has been computed in the time that the tail takes to load.
  const auto head = static_cast<std::size_t>(static_cast<double>(tiers.size()) * load_s / (load_s + compute_s));
  return head / kChunkBlocks * kChunkBlocks;
}

// A load that goes worse than expected costs at most as much again as computing would have.
Deadline KvConnector::load_deadline(std::size_t blocks) const {
  constexpr double kLeast = 0.1;
  double wait_s = std::chrono::duration<double>(options_.max_wait).count();
  if (const double rate = prefill_.per_second(); rate > 0 && options_.break_even) {
    wait_s = std::min(wait_s, std::max(kLeast, static_cast<double>(blocks * kBlockTokens) / rate));
  }
  return deadline_in(std::chrono::milliseconds(static_cast<std::int64_t>(1000 * wait_s)));
}

std::unique_ptr<PendingLoad> KvConnector::begin(CacheCore& core, std::span<const TokenId> prompt) {
  const CodecPlan& plan = core.options.plan;
  // Where blocks are encoded later than they are computed, computed ones cannot stand before loaded ones.
  return begin(core, prompt, /*may_split=*/plan.recent_blocks == 0 && !plan.exact_prefill);
}

std::unique_ptr<PendingLoad> KvConnector::begin(CacheCore& core, std::span<const TokenId> prompt, bool may_split) {
  const std::size_t blocks = prompt.size() / kBlockTokens;
  const std::vector<Digest> keys = block_keys(core.options.root, prompt);
  const std::size_t known = core.index->known(keys);
  if (known == blocks) return nullptr;
  const Deadline deadline = load_deadline(blocks - known);
  // Whoever opens a sequence waits for this, and in a server everybody else too.
  constexpr std::chrono::milliseconds kFindTime(500);
  const std::vector<std::size_t> tiers =
      options_.store->locate(std::span(keys).subspan(known), std::min(deadline, deadline_in(kFindTime)));
  if (tiers.empty()) return nullptr;
  std::size_t head = worth_computing(tiers, settled_record_bytes(core, options_.store->options().key.has_value()));
  if (head == tiers.size()) return nullptr;
  if (!may_split) head = 0;
  count_heads(head);
  const std::size_t first = known + head, end = known + tiers.size();
  const auto tokens = prompt.subspan(first * kBlockTokens, (end - first) * kBlockTokens);
  PendingLoad::Wanted wanted{
      .first = first,
      .parent = first == 0 ? core.options.root : keys[first - 1],
      .keys = {keys.begin() + static_cast<std::ptrdiff_t>(first), keys.begin() + static_cast<std::ptrdiff_t>(end)},
      .tokens = {tokens.begin(), tokens.end()},
      .recipe = options_.recipe};
  return std::make_unique<PendingLoad>(core, options_.store, std::move(wanted), deadline, blocks_refused_);
}

KvConnector::Advice KvConnector::advise(const PendingLoad& incoming, std::size_t tokens, std::size_t chunk,
                                        std::chrono::milliseconds look) const {
  constexpr double kLongWait = 0.5;
  if (incoming.ready(look) || incoming.late()) return Advice::kJoin;
  if (!options_.break_even) return Advice::kWait;
  const double rate = prefill_.per_second();
  const double chunk_s = rate == 0 ? kLongWait : static_cast<double>(chunk) / rate;
  const std::optional<double> left_s = incoming.seconds_left();
  if (!left_s) {  // a chunk later more is known
    return incoming.waited_s() < std::min(chunk_s, kLongWait) ? Advice::kWait : Advice::kCompute;
  }
  if (rate > 0 && *left_s >= static_cast<double>(incoming.end() * kBlockTokens - tokens) / rate)
    return Advice::kAbandon;
  return *left_s > chunk_s ? Advice::kCompute : Advice::kWait;
}

void KvConnector::count_load_time(std::chrono::steady_clock::time_point since) {
  load_nanoseconds_.fetch_add(nanoseconds_since(since), std::memory_order_relaxed);
}

std::size_t KvConnector::warm(CacheCore& core, std::span<const TokenId> prompt) {
  const auto start = std::chrono::steady_clock::now();
  std::size_t loaded = 0;
  // Once more after damage: the tier has let go of the block, one below may have it sound.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const std::uint64_t refused = blocks_refused_;
    const std::unique_ptr<PendingLoad> incoming = begin(core, prompt, /*may_split=*/false);
    if (incoming == nullptr) break;
    incoming->prepare(incoming->first());
    const std::size_t sound = incoming->arrive(core.layers.size() - 1, nullptr);
    for (std::size_t i = 0; i < sound; ++i) {
      SealedBlock sealed{.parent = incoming->parent(i), .key = incoming->key(i), .tokens = {}, .pages = {}};
      std::ranges::copy(incoming->tokens(i), sealed.tokens.begin());
      sealed.pages.assign(incoming->pages(i).begin(), incoming->pages(i).end());
      const InsertOutcome outcome = core.index->insert(core.options.root, std::move(sealed)).outcome;
      if (outcome != InsertOutcome::kInserted && outcome != InsertOutcome::kDuplicate) break;
      ++loaded;
    }
    if (blocks_refused_ == refused) break;
  }
  count_loaded(loaded);
  count_load_time(start);
  return loaded;
}

void KvConnector::write_behind(const CacheCore& core, const SealedBlock& block, std::uint32_t depth) {
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
    meta.parts.push_back(layer_part(core.layers[l], {block.pages[2 * l].form(), block.pages[2 * l + 1].form()}));
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

KvConnectorStats KvConnector::stats() const {
  return {.blocks_loaded = blocks_loaded_,
          .blocks_written = blocks_written_,
          .write_seconds = static_cast<double>(write_nanoseconds_.load()) * 1e-9,
          .loads_skipped = loads_skipped_,
          .heads_computed = heads_computed_,
          .blocks_refused = blocks_refused_,
          .load_seconds = static_cast<double>(load_nanoseconds_.load()) * 1e-9};
}

}  // namespace cairn
