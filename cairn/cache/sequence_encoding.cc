// SPDX-License-Identifier: Apache-2.0
// How the blocks of a sequence get their encoded form, and how they lose it again.
#include <algorithm>
#include <utility>

#include "cairn/cache/encoding.h"
#include "cairn/cache/sequence.h"

namespace cairn {

// The number of the first block that stays open with so many tokens.
std::size_t Sequence::settling_end(std::size_t tokens) const {
  if (deferring_) return settled_blocks_;
  const std::size_t full = tokens / kBlockTokens, recent = core_->options.plan.recent_blocks;
  return std::max(settled_blocks_, full - std::min(full, recent));
}

void Sequence::encode_due(std::uint32_t layer, std::size_t tokens, ThreadPool& pool) {
  attended_ = true;
  LayerTable& table = layers_[layer];
  if (!table.forms().encodes()) return;
  std::vector<std::size_t> due;
  for (std::size_t b = table.lower_bound(std::max<std::size_t>(settled_blocks_, core_->options.plan.sink_blocks));
       b < table.blocks() && table.entry(b).number() < settling_end(tokens); ++b) {
    if (!table.entry(b).settled) due.push_back(b);
  }
  if (!due.empty()) encode_blocks(*core_, table, due, encoding_room_, pool);
}

LayerTable::Entry* Sequence::counting_entry(std::uint32_t layer, std::size_t p) {
  attended_ = true;
  LayerTable& table = layers_[layer];
  return p >= table.blocks() || table.entry(p).mass.empty() ? nullptr : &table.entry(p);
}

LayerTable::Entry* Sequence::counting_block(std::uint32_t layer, std::size_t token) {
  return counting_entry(layer, layers_[layer].find(token));
}

Status Sequence::finish_prefill(ThreadPool& pool) {
  if (!deferring_) return {};
  if (reserved_ != 0) return fail(ErrorCode::kInvalidArgument, "commit the reserved tokens before encoding");
  deferring_ = false;
  const std::size_t end = settling_end(tokens_.size());
  std::size_t bytes = 0;
  for (const LayerTable& layer : layers_) bytes += (end - settled_blocks_) * layer.forms().encoding_bytes();
  Result<Reservation> room = core_->make_room(bytes);
  if (!room) {
    deferring_ = true;
    return std::unexpected(std::move(room).error());
  }
  encoding_room_ = *std::move(room);
  for (std::uint32_t l = 0; l < layers_.size(); ++l) {
    encode_due(l, tokens_.size(), pool);
    layers_[l].let_go_of_open_forms(settled_blocks_);
  }
  encoding_room_ = {};
  settled_blocks_ = end;
  return {};
}

// Before the cut, while nothing has changed: the block that becomes the tail takes tokens again.
Status Sequence::reopen_tail(std::size_t tokens) {
  if (tokens % kBlockTokens == 0 || tokens == tokens_.size()) return {};
  const std::size_t number = tokens / kBlockTokens;
  std::size_t bytes = 0;
  bool changes = false;
  for (const LayerTable& layer : layers_) {
    const LayerTable::Entry& entry = layer.entry(layer.lower_bound(number));
    const LayerForms& forms = layer.forms();
    for (const auto& [side, page] : {std::pair(&forms.keys, &entry.keys), std::pair(&forms.values, &entry.values)}) {
      if (page->form() == kSettledForm) bytes += PagePool::occupied_bytes(side->open_bytes);
    }
    changes = changes || forms.needs_mass();
  }
  if (bytes > 0) {
    CAIRN_TRY(Reservation room, core_->make_room(bytes));
    for (LayerTable& layer : layers_) reopen_block(layer, layer.lower_bound(number), room);
  }
  if (bytes > 0 || changes) intact_ = false;
  for (LayerTable& layer : layers_) {
    LayerTable::Entry& entry = layer.entry(layer.lower_bound(number));
    if (entry.unencodable) intact_ = entry.settled = false;
  }
  return {};
}

// What made a block unencodable may be gone with the tokens that were dropped, and then a cold run would encode it.
void Sequence::distrust_tail() {
  for (LayerTable& layer : layers_) {
    if (layer.tail_tokens() != 0 && layer.entry(layer.blocks() - 1).unencodable) intact_ = false;
  }
}

}  // namespace cairn
