// SPDX-License-Identifier: Apache-2.0
// How a sequence takes blocks that a store is still loading.
#include <chrono>

#include "cairn/base/check.h"
#include "cairn/cache/kv_connector.h"
#include "cairn/cache/pending_load.h"
#include "cairn/cache/sealing.h"
#include "cairn/cache/sequence.h"

namespace cairn {

bool Sequence::at_awaited_blocks() const {
  return awaits_blocks() && reserved_ == 0 && intact_ && tokens_.size() % kBlockTokens == 0 &&
         settled_blocks_ * kBlockTokens == tokens_.size() && tokens_.size() / kBlockTokens >= incoming_->first();
}

void Sequence::join_incoming() {
  CAIRN_CHECK(at_awaited_blocks());
  joined_at_ = block_keys_.size();
  core_->options.store->count_heads(joined_at_ - incoming_->first());
  const std::size_t blocks = joined_at_ < incoming_->end() ? incoming_->prepare(joined_at_) : 0;
  if (blocks == 0) {
    drop_incoming();
    return;
  }
  for (std::size_t i = 0; i < blocks; ++i) append_block(incoming_->key(i), incoming_->pages(i), incoming_->tokens(i));
  reused_ += blocks * kBlockTokens;
  joined_ = true;
}

void Sequence::drop_incoming() {
  incoming_.reset();
  joined_ = lost_ = false;
}

Status Sequence::arrive(std::uint32_t layer, ThreadPool& pool) {
  if (!joined_) return {};
  if (!lost_) {
    const auto start = std::chrono::steady_clock::now();
    const std::size_t sound = incoming_->arrive(layer, &pool);
    core_->options.store->count_load_time(start);
    if (sound == incoming_->prepared()) return {};
  }
  lost_ = true;
  return fail(ErrorCode::kIo, "blocks from the store did not arrive in time, or damaged");
}

void Sequence::recover_from_loss(ThreadPool& pool) {
  CAIRN_CHECK(joined_ && reserved_ == 0);
  const std::size_t sound = incoming_->arrive(static_cast<std::uint32_t>(layers_.size()) - 1, &pool);
  const std::size_t blocks = joined_at_ + sound;
  shrink_layers(blocks * kBlockTokens);
  tokens_.resize(blocks * kBlockTokens);
  block_keys_.resize(blocks);
  settled_blocks_ = blocks;
  reused_ -= (incoming_->prepared() - sound) * kBlockTokens;
  intact_ = true;  // what was counted for blocks after these went with them
  index_incoming();
}

// Every layer of the blocks that are left has arrived.
void Sequence::index_incoming() {
  CAIRN_CHECK(incoming_->complete());
  const std::size_t sound = block_keys_.size() - joined_at_;
  for (std::size_t i = 0; i < sound; ++i) {
    index_block(*core_, incoming_->parent(i), incoming_->key(i), incoming_->tokens(i), layers_, joined_at_ + i);
  }
  core_->options.store->count_loaded(sound);
  drop_incoming();
}

}  // namespace cairn
