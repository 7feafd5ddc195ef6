// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/pending_load.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/cache/block_parts.h"

namespace cairn {
namespace {

std::size_t bytes_of(const CacheCore& core, std::span<const LoadedBlock> blocks) {
  std::size_t bytes = 0;
  for (const LoadedBlock& block : blocks) {
    for (std::size_t l = 0; l < core.layers.size(); ++l) {
      bytes += occupied_by(core.layers[l], forms_of_part(block.record->meta().parts[l + 1]));
    }
  }
  return bytes;
}

}  // namespace

PendingLoad::PendingLoad(CacheCore& core, std::shared_ptr<Store> store, Wanted wanted, Deadline deadline,
                         std::atomic<std::uint64_t>& refused)
    : core_(core),
      store_(std::move(store)),
      wanted_(std::move(wanted)),
      deadline_(deadline),
      refused_(refused),
      load_(store_->load(wanted_.keys, deadline, LoadOrder::kByPart)) {}

double PendingLoad::waited_s() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
}

std::size_t PendingLoad::prepare(std::size_t from) {
  CAIRN_CHECK(from >= wanted_.first && pages_.empty());
  skipped_ = std::min(from - wanted_.first, wanted_.keys.size());
  const std::size_t there = load_->wait_part(0);
  std::vector<LoadedBlock> blocks;
  for (std::size_t i = skipped_; i < there; ++i) {
    LoadedBlock block = load_->wait(i);
    if (!has_parts_of(core_, block.record->meta())) break;
    blocks.push_back(std::move(block));
  }
  if (skipped_ + blocks.size() < there) refused_.fetch_add(1, std::memory_order_relaxed);
  Result<Reservation> room = core_.make_room(bytes_of(core_, blocks));
  while (!room && !blocks.empty()) {  // fewer, then
    blocks.resize(blocks.size() / 2);
    room = core_.make_room(bytes_of(core_, blocks));
  }
  for (LoadedBlock& block : blocks) {
    if (!accept(block, pages_.size(), *room)) {
      refused_.fetch_add(1, std::memory_order_relaxed);
      break;
    }
    blocks_.push_back(std::move(block));
  }
  sound_ = pages_.size();
  return sound_;
}

// The key is a hash of the tokens, yet a hit compares the tokens as well.
bool PendingLoad::accept(const LoadedBlock& block, std::size_t i, Reservation& room) {
  const BlockMeta& meta = block.record->meta();
  std::array<TokenId, kBlockTokens> stored;
  if (meta.recipe != wanted_.recipe || !store_->copy_part(block, 0, std::as_writable_bytes(std::span(stored))) ||
      !std::ranges::equal(stored, tokens(i))) {
    return false;
  }
  std::vector<PageRef> pages;
  for (std::size_t l = 0; l < core_.layers.size(); ++l) {
    const LayerPartForms forms = forms_of_part(meta.parts[l + 1]);
    pages.push_back(room.take(page_bytes(core_.layers[l].keys, forms.keys), forms.keys));
    pages.push_back(room.take(page_bytes(core_.layers[l].values, forms.values), forms.values));
  }
  pages_.push_back(std::move(pages));
  return true;
}

bool PendingLoad::fill(std::size_t layer, std::size_t i) {
  thread_local std::vector<std::byte> both;
  both.resize(blocks_[i].record->meta().parts[layer + 1].bytes);
  if (!store_->copy_part(blocks_[i], layer + 1, both)) return false;
  const PageRef& keys = pages_[i][2 * layer];
  const PageRef& values = pages_[i][2 * layer + 1];
  const std::size_t key_bytes = page_bytes(core_.layers[layer].keys, keys.form());
  std::memcpy(keys.data(), both.data(), key_bytes);
  std::memcpy(values.data(), both.data() + key_bytes, both.size() - key_bytes);
  return true;
}

std::size_t PendingLoad::arrive(std::size_t layer, ThreadPool* pool) {
  for (; layers_ <= layer && sound_ > 0; ++layers_) {
    const std::size_t there = load_->wait_part(layers_ + 1);
    sound_ = std::min(sound_, there - std::min(there, skipped_));
    std::atomic<std::size_t> first_bad{sound_};
    const auto fill_one = [&](std::size_t i) {
      if (fill(layers_, i)) return;
      std::size_t bad = first_bad.load();
      while (i < bad && !first_bad.compare_exchange_weak(bad, i)) {
      }
    };
    if (pool != nullptr) {
      pool->run(sound_, [&](std::size_t i, unsigned) { fill_one(i); });
    } else {
      for (std::size_t i = 0; i < sound_; ++i) fill_one(i);
    }
    if (first_bad < sound_) refused_.fetch_add(1, std::memory_order_relaxed);
    sound_ = first_bad;
  }
  if (sound_ == 0) layers_ = core_.layers.size();
  return sound_;
}

}  // namespace cairn
