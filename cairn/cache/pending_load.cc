// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/pending_load.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/cache/cold_blocks.h"
#include "cairn/cache/stored_block.h"

namespace cairn::cache {

std::unique_ptr<PendingLoad> PendingLoad::begin(CacheCore& core, std::span<const TokenId> tokens,
                                                std::span<const Digest> keys) {
  const CodecPlan& plan = core.options.plan;
  // Where blocks are encoded later than they are computed, computed ones cannot stand before loaded ones.
  return begin(core, tokens, keys, /*may_split=*/plan.recent_blocks == 0 && !plan.exact_prefill);
}

std::unique_ptr<PendingLoad> PendingLoad::begin(CacheCore& core, std::span<const TokenId> tokens,
                                                std::span<const Digest> keys, bool may_split) {
  CAIRN_DCHECK(tokens.size() == keys.size() * kBlockTokens);
  KvConnector& connector = *core.options.connector;
  const std::size_t known = core.index->known(keys);
  if (known == keys.size()) return nullptr;
  const Deadline deadline = connector.load_deadline(keys.size() - known);
  // The caller waits for this answer, and in a server so does every other request.
  constexpr std::chrono::milliseconds kFindTime(500);
  const std::vector<std::size_t> tiers =
      connector.store().locate(keys.subspan(known), std::min(deadline, deadline_in(kFindTime)));
  if (tiers.empty()) return nullptr;
  const bool encrypted = connector.store().options().key.has_value();
  std::size_t head = connector.head_to_compute(tiers, closed_record_bytes(core, encrypted));
  if (head == tiers.size()) return nullptr;
  if (!may_split) head = 0;
  connector.count_heads(head);
  const std::size_t first = known + head, count = tiers.size() - head;
  const auto wanted_keys = keys.subspan(first, count);
  const auto wanted_tokens = tokens.subspan(first * kBlockTokens, count * kBlockTokens);
  Wanted wanted{.first = first,
                .parent = first == 0 ? core.options.root : keys[first - 1],
                .keys = {wanted_keys.begin(), wanted_keys.end()},
                .tokens = {wanted_tokens.begin(), wanted_tokens.end()}};
  return std::unique_ptr<PendingLoad>(new PendingLoad(core, std::move(wanted), deadline));
}

void PendingLoad::warm(CacheCore& core, std::span<const TokenId> tokens, std::span<const Digest> keys) {
  const auto start = std::chrono::steady_clock::now();
  KvConnector& connector = *core.options.connector;
  std::size_t loaded = 0;
  // Once more after damage: the tier has let go of the block, one below may have it sound.
  for (int attempt = 0; attempt < 2; ++attempt) {
    const std::uint64_t refused = connector.blocks_refused();
    const std::unique_ptr<PendingLoad> load = begin(core, tokens, keys, /*may_split=*/false);
    if (load == nullptr) break;
    load->prepare(load->wanted_.first);
    const std::size_t sound = load->fill_to(core.tables.size() - 1, nullptr);
    for (std::size_t i = 0; i < sound; ++i) {
      SealedBlock sealed{.parent = load->parent(i), .key = load->key(i), .tokens = {}, .pages = load->pages_[i]};
      std::ranges::copy(load->tokens(i), sealed.tokens.begin());
      const InsertOutcome outcome = core.index->insert(core.options.root, std::move(sealed)).outcome;
      core.hold_index_budget();
      if (outcome != InsertOutcome::kInserted && outcome != InsertOutcome::kDuplicate) break;
      ++loaded;
    }
    if (connector.blocks_refused() == refused) break;
  }
  connector.count_loaded(loaded);
  connector.count_load_time(start);
}

PendingLoad::PendingLoad(CacheCore& core, Wanted wanted, Deadline deadline)
    : core_(core),
      connector_(*core.options.connector),
      wanted_(std::move(wanted)),
      deadline_(deadline),
      load_(connector_.store().load(wanted_.keys, deadline, LoadOrder::kByPart)) {}

PendingLoad::~PendingLoad() {
  load_->abandon();
}

bool PendingLoad::due(const SequenceState& sequence) const {
  const std::size_t num_tokens = sequence.tokens.size();
  return state_ == LoadState::kOnTheWay && !sequence.in_pass && sequence.intact && num_tokens % kBlockTokens == 0 &&
         sequence.closed_blocks * kBlockTokens == num_tokens && num_tokens / kBlockTokens >= wanted_.first;
}

bool PendingLoad::all_here() const {
  return load_->have_part(parts_before(core_, core_.tables.size()) - 1).has_value();
}

LoadStep PendingLoad::poll(SequenceState& sequence, const LoadPoll& how) {
  CAIRN_CHECK(due(sequence));
  const auto start = std::chrono::steady_clock::now();
  const LoadStep step = look_on(sequence, how);
  if (step == LoadStep::kJoined) join(sequence);
  connector_.count_load_time(start);
  return step;
}

LoadStep PendingLoad::look_on(const SequenceState& sequence, const LoadPoll& how) const {
  if (load_->have_part(0, how.look).has_value() || late()) {
    return how.whole && !all_here() && !late() ? LoadStep::kWait : LoadStep::kJoined;
  }
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begun_;
  const std::size_t left = end() * kBlockTokens - std::min(end() * kBlockTokens, sequence.tokens.size());
  switch (connector_.advise(load_->seconds_left(), waited.count(), left, how.chunk)) {
    case KvConnector::Advice::kWait: return LoadStep::kWait;
    case KvConnector::Advice::kCompute: return LoadStep::kCompute;
    case KvConnector::Advice::kAbandon: break;
  }
  return LoadStep::kNone;
}

void PendingLoad::join(SequenceState& sequence) {
  const std::size_t at = sequence.block_keys.size();
  connector_.count_heads(at - wanted_.first);
  if (at < end()) prepare(at);
  if (pages_.empty()) return;
  for (std::size_t i = 0; i < pages_.size(); ++i) sequence.append_block(key(i), pages_[i], tokens(i));
  sequence.reused += pages_.size() * kBlockTokens;
  state_ = LoadState::kJoined;
}

void PendingLoad::prepare(std::size_t from) {
  CAIRN_CHECK(from >= wanted_.first && pages_.empty());
  skipped_ = std::min(from - wanted_.first, wanted_.keys.size());
  const std::size_t there = load_->wait_part(0);
  std::vector<LoadedBlock> blocks;
  for (std::size_t i = skipped_; i < there; ++i) {
    LoadedBlock block = load_->wait(i);
    if (!has_parts_of(core_, block.record->meta())) break;
    blocks.push_back(std::move(block));
  }
  if (skipped_ + blocks.size() < there) connector_.count_refused();
  const auto make_room = [&] {
    std::size_t bytes = 0;
    for (const LoadedBlock& block : blocks) bytes += page_bytes_of(core_, block.record->meta());
    return core_.make_room(bytes);
  };
  Result<Reservation> room = make_room();
  while (!room && !blocks.empty()) {  // fewer, then
    blocks.resize(blocks.size() / 2);
    room = make_room();
  }
  for (LoadedBlock& block : blocks) {
    if (!accept(block, pages_.size(), *room)) {
      connector_.count_refused();
      break;
    }
    blocks_.push_back(std::move(block));
  }
  sound_ = pages_.size();
}

// The key is a hash of the tokens, yet a hit compares the tokens as well.
bool PendingLoad::accept(const LoadedBlock& block, std::size_t i, Reservation& room) {
  const BlockMeta& meta = block.record->meta();
  std::array<TokenId, kBlockTokens> stored;
  // A cold form depends on where a block stands.
  if ((core_.options.plan.cold != nullptr && meta.depth != wanted_.first + skipped_ + i) ||
      meta.recipe != connector_.recipe() ||
      !connector_.store().copy_part(block, 0, std::as_writable_bytes(std::span(stored))) ||
      !std::ranges::equal(stored, tokens(i))) {
    return false;
  }
  BlockPages pages(core_.tables.size());
  for (std::size_t t = 0; t < core_.tables.size(); ++t) {
    for (const PageSlot slot : core_.tables[t].slots()) {
      const PageForms& forms = core_.tables[t].of(slot);
      const std::uint32_t form = form_of_part(forms, meta, part_of_page(core_, t, slot));
      pages.page(t, slot) = room.take(forms.page_bytes(form), form);
    }
  }
  pages_.push_back(std::move(pages));
  return true;
}

bool PendingLoad::fill(std::size_t table, std::size_t i) {
  for (const PageSlot slot : core_.tables[table].slots()) {
    const std::size_t part = part_of_page(core_, table, slot);
    const BlockMeta& meta = blocks_[i].record->meta();
    const PageRef& page = pages_[i].page(table, slot);
    if (meta.parts[part].tag != kColdPart) {
      if (!connector_.store().copy_part(blocks_[i], part, {page.data(), meta.parts[part].bytes})) return false;
      continue;
    }
    std::vector<std::byte> cold(meta.parts[part].bytes);
    if (!connector_.store().copy_part(blocks_[i], part, cold) ||
        !read_cold_part(core_.tables[table], slot, meta.depth, cold, page)) {
      return false;
    }
  }
  return true;
}

std::size_t PendingLoad::fill_to(std::size_t table, ThreadPool* pool) {
  for (; tables_ <= table && sound_ > 0; ++tables_) {
    const std::size_t there = load_->wait_part(parts_before(core_, tables_ + 1) - 1);
    sound_ = std::min(sound_, there - std::min(there, skipped_));
    const auto start = std::chrono::steady_clock::now();
    std::atomic<std::size_t> first_bad{sound_};
    const auto fill_one = [&](std::size_t i) {
      if (fill(tables_, i)) return;
      std::size_t bad = first_bad.load();
      while (i < bad && !first_bad.compare_exchange_weak(bad, i)) {
      }
    };
    if (pool != nullptr) {
      pool->run(sound_, [&](std::size_t i, unsigned) { fill_one(i); });
    } else {
      for (std::size_t i = 0; i < sound_; ++i) fill_one(i);
    }
    if (first_bad < sound_) connector_.count_refused();
    sound_ = first_bad;
    unpack_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (tables_ + 1 == core_.tables.size()) connector_.observe_unpacking(sound_, unpack_s_);
  }
  if (sound_ == 0) tables_ = core_.tables.size();
  return sound_;
}

Status PendingLoad::arrive(std::size_t table, ThreadPool& pool) {
  if (state_ == LoadState::kJoined) {
    const auto start = std::chrono::steady_clock::now();
    const std::size_t sound = fill_to(table, &pool);
    connector_.count_load_time(start);
    if (sound == pages_.size()) return {};
    state_ = LoadState::kLost;
  }
  if (state_ != LoadState::kLost) return {};
  return fail(ErrorCode::kIo, "blocks from the store did not arrive in time, or damaged");
}

void PendingLoad::recover(SequenceState& sequence, ThreadPool& pool) {
  CAIRN_CHECK(state_ == LoadState::kJoined || state_ == LoadState::kLost);
  CAIRN_CHECK(!sequence.in_pass);
  const std::size_t sound = fill_to(core_.tables.size() - 1, &pool);
  const std::size_t blocks = wanted_.first + skipped_ + sound;
  sequence.shrink(blocks * kBlockTokens);
  sequence.tokens.resize(blocks * kBlockTokens);
  sequence.block_keys.resize(blocks);
  sequence.closed_blocks = blocks;
  sequence.reused -= (pages_.size() - sound) * kBlockTokens;
  sequence.intact = true;  // what was counted for blocks after these went with them
  finish(sequence);
  sequence.release_behind_windows();
}

void PendingLoad::finish(SequenceState& sequence) {
  CAIRN_CHECK(tables_ == core_.tables.size());
  const std::size_t first = wanted_.first + skipped_;
  const std::size_t sound = sequence.block_keys.size() - first;
  for (std::size_t i = 0; i < sound; ++i) sequence.index_block(first + i);
  connector_.count_loaded(sound);
  state_ = LoadState::kNone;
}

}  // namespace cairn::cache
