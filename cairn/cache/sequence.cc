// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sequence.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/cache/encoding.h"
#include "cairn/cache/pending_load.h"
#include "cairn/cache/sealing.h"
#include "cairn/codec/codec.h"

namespace cairn {
namespace {

PageRef copy_page(const PageRef& page, std::size_t page_bytes, Reservation& room) {
  PageRef copy = room.take(page_bytes, page.form());
  std::memcpy(copy.data(), page.data(), page_bytes);
  return copy;
}

// A side that encodes gets its rows in the codec's basis, and notices what no code can stand for.
void store_row(const SideForms& side, LayerTable::Entry& entry, const PageRef& page, std::uint32_t slot,
               std::span<const float> row) {
  thread_local std::vector<float> transformed;
  if (side.settled.codec->hadamard) {
    transformed.assign(row.begin(), row.end());
    hadamard_heads(transformed, side.open.shape.head_dim);
    row = transformed;
  }
  if (side.encodes() && !fits_f16(row)) {
    std::atomic_ref(entry.unencodable).store(true, std::memory_order_relaxed);
  }
  side.open.codec->store_token(side.open, page.data(), slot, row.data());
}

// Whether a block from the index was not encoded though its layer does.
bool kept_raw(const LayerForms& forms, const PageRef& keys, const PageRef& values) {
  return (forms.keys.encodes() && keys.form() == kOpenForm) || (forms.values.encodes() && values.form() == kOpenForm);
}

bool all_settled(const LayerTable& layer, std::size_t first, std::size_t end) {
  if (!layer.forms().encodes()) return true;
  for (std::size_t b = layer.lower_bound(first); b < layer.blocks() && layer.entry(b).number() < end; ++b) {
    if (!layer.entry(b).settled) return false;
  }
  return true;
}

}  // namespace

Sequence::Sequence(std::shared_ptr<CacheCore> core)
    : core_(std::move(core)), deferring_(core_->options.plan.exact_prefill) {
  for (const LayerForms& forms : core_->layers) layers_.emplace_back(forms);
}

Sequence::Sequence(Sequence&& other) noexcept = default;
Sequence::~Sequence() = default;

// Not defaulted: that would let go of the old core before the old pages.
Sequence& Sequence::operator=(Sequence&& other) noexcept {
  Sequence taken(std::move(other));
  std::swap(core_, taken.core_);
  std::swap(layers_, taken.layers_);
  std::swap(tokens_, taken.tokens_);
  std::swap(block_keys_, taken.block_keys_);
  std::swap(reserved_, taken.reserved_);
  std::swap(encoding_room_, taken.encoding_room_);
  std::swap(settled_blocks_, taken.settled_blocks_);
  std::swap(deferring_, taken.deferring_);
  std::swap(intact_, taken.intact_);
  std::swap(attended_, taken.attended_);
  std::swap(reused_, taken.reused_);
  std::swap(incoming_, taken.incoming_);
  std::swap(joined_at_, taken.joined_at_);
  std::swap(joined_, taken.joined_);
  std::swap(lost_, taken.lost_);
  return *this;
}

void Sequence::attach(const PrefixMatch& match, std::span<const TokenId> prompt) {
  for (const PrefixMatch::Block& block : match.blocks) {
    append_block(block.key, block.pages, prompt.subspan(tokens_.size(), kBlockTokens));
  }
  reused_ = tokens_.size();
}

// A full block whose pages are final, after full ones.
void Sequence::append_block(const Digest& key, std::span<const PageRef> pages, std::span<const TokenId> tokens) {
  const std::size_t first_token = tokens_.size();
  const auto positions = std::make_shared<PositionBlock>();
  for (std::uint32_t t = 0; t < kBlockTokens; ++t) (*positions)[t] = static_cast<std::int32_t>(first_token + t);
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    layers_[l].append({.keys = pages[2 * l],
                       .values = pages[2 * l + 1],
                       .positions = positions,
                       .first_token = first_token,
                       .unencodable = kept_raw(layers_[l].forms(), pages[2 * l], pages[2 * l + 1])},
                      kBlockTokens);
  }
  block_keys_.push_back(key);
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  settled_blocks_ = block_keys_.size();
}

// What reserve() needs for so many tokens: a copy of the tail where others hold it too, new blocks, and the encoded
// form of blocks that become due.
std::size_t Sequence::bytes_for(std::size_t tokens) const {
  const std::size_t first_due = std::max<std::size_t>(settled_blocks_, core_->options.plan.sink_blocks);
  const std::size_t end_due = settling_end(tokens_.size() + tokens), held = tokens_.size() / kBlockTokens;
  std::size_t bytes = 0;
  for (const LayerTable& layer : layers_) {
    const std::size_t tail = layer.tail_tokens();
    const std::size_t blocks = (tail + tokens + kBlockTokens - 1) / kBlockTokens;
    bytes += layer.forms().open_bytes() * (tail == 0 ? blocks : blocks - (layer.owns_tail() ? 1 : 0));
    if (first_due >= end_due || !layer.forms().encodes()) continue;
    const std::size_t old_end = std::clamp(held, first_due, end_due);
    const std::size_t old = layer.lower_bound(old_end) - layer.lower_bound(first_due);
    bytes += layer.forms().encoding_bytes() * (old + end_due - old_end);
  }
  return bytes;
}

std::size_t Sequence::tokens_that_fit(std::size_t bytes) const {
  std::size_t fit = 0;
  for (std::size_t step = std::size_t{1} << 40; step > 0; step /= 2) {
    if (bytes_for(fit + step) <= bytes) fit += step;
  }
  return fit;
}

Status Sequence::reserve(std::span<const std::int32_t> positions) {
  if (reserved_ != 0) {
    return fail(ErrorCode::kInvalidArgument,
                std::to_string(reserved_) + " tokens are reserved already: commit them or roll back first");
  }
  if (positions.empty()) return {};
  Result<Reservation> room = core_->make_room(bytes_for(positions.size()));
  if (!room) {
    const PagePool& pool = *core_->pool;
    const std::size_t fit = std::min(tokens_that_fit(pool.budget() - pool.bytes_used()), positions.size() - 1);
    return fail(ErrorCode::kOutOfBudget, "the KV cache is full: " + std::to_string(fit) + " of " +
                                             std::to_string(positions.size()) + " more tokens fit into its " +
                                             std::to_string(pool.budget()) + " bytes; raise the KV cache budget");
  }

  if (layers_.front().tail_tokens() != 0) own_tail(*room);
  attended_ = false;
  reserved_ = positions.size();
  std::size_t done = 0;
  while (done < positions.size()) {
    const std::size_t tail = layers_.front().tail_tokens();
    const std::size_t count = std::min(positions.size() - done, kBlockTokens - tail);
    const auto block =
        tail != 0 ? layers_.front().entry(layers_.front().blocks() - 1).positions : std::make_shared<PositionBlock>();
    std::ranges::copy(positions.subspan(done, count), block->begin() + static_cast<std::ptrdiff_t>(tail));
    for (LayerTable& layer : layers_) {
      if (tail == 0) {
        const LayerForms& forms = layer.forms();
        LayerTable::Entry entry{.keys = room->take(forms.keys.open_bytes, kOpenForm),
                                .values = room->take(forms.values.open_bytes, kOpenForm),
                                .positions = block,
                                .first_token = tokens_.size() + done};
        if (forms.needs_mass()) entry.mass.resize(forms.keys.open.shape.kv_heads * kBlockTokens);
        layer.append(std::move(entry), static_cast<std::uint32_t>(count));
      } else {
        layer.set_tail_count(static_cast<std::uint32_t>(tail + count));
      }
    }
    done += count;
  }
  encoding_room_ = *std::move(room);
  return {};
}

void Sequence::own_tail(Reservation& room) {
  for (LayerTable& layer : layers_) {
    if (layer.owns_tail()) continue;
    const std::size_t block = layer.blocks() - 1;
    layer.replace_pages(block, copy_page(layer.entry(block).keys, layer.forms().keys.open_bytes, room),
                        copy_page(layer.entry(block).values, layer.forms().values.open_bytes, room));
  }
}

void Sequence::store(std::uint32_t layer, std::size_t first, std::size_t rows, const float* k, const float* v) {
  CAIRN_DCHECK(first + rows <= reserved_);
  const std::size_t width = core_->options.layers[layer].shape.values_per_token();
  const LayerForms& forms = layers_[layer].forms();
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t token = tokens_.size() + first + row;
    LayerTable::Entry& entry = layers_[layer].entry(layers_[layer].find(token));
    const auto slot = static_cast<std::uint32_t>(token % kBlockTokens);
    store_row(forms.keys, entry, entry.keys, slot, {k + row * width, width});
    store_row(forms.values, entry, entry.values, slot, {v + row * width, width});
  }
}

Status Sequence::commit(std::span<const TokenId> tokens) {
  if (tokens.size() != reserved_) {
    return fail(ErrorCode::kInvalidArgument, std::to_string(tokens.size()) + " tokens to commit, but " +
                                                 std::to_string(reserved_) + " are reserved: they must be as many");
  }
  if (joined_) index_incoming();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  reserved_ = 0;
  encoding_room_ = {};
  const std::size_t end = settling_end(tokens_.size());
  for (LayerTable& layer : layers_) {
    CAIRN_CHECK(all_settled(layer, std::max<std::size_t>(settled_blocks_, core_->options.plan.sink_blocks), end));
    layer.let_go_of_open_forms(settled_blocks_);
  }
  settled_blocks_ = end;
  seal_full_blocks();
  return {};
}

void Sequence::seal_full_blocks() {
  if (!intact_) return;
  for (std::size_t b = block_keys_.size(); b < tokens_.size() / kBlockTokens; ++b) {
    // A key says nothing of positions, so the first block at other ones ends the chain.
    if (!at_plain_positions(layers_.front(), b)) return;
    const Digest& parent = b == 0 ? core_->options.root : block_keys_.back();
    const auto tokens = std::span<const TokenId>(tokens_).subspan(b * kBlockTokens).first<kBlockTokens>();
    const Digest key = block_key(parent, tokens);
    publish_block(*core_, parent, key, tokens, layers_, b);
    block_keys_.push_back(key);
  }
}

void Sequence::rollback() {
  if (reserved_ == 0) return;
  shrink_layers(tokens_.size());
  for (LayerTable& layer : layers_) {
    if (!attended_) break;
    for (std::size_t b = layer.lower_bound(settled_blocks_); b < layer.blocks(); ++b) layer.unsettle(b);
    if (layer.forms().needs_mass()) intact_ = false;
  }
  distrust_tail();
  encoding_room_ = {};
  reserved_ = 0;
}

Status Sequence::trim(std::size_t tokens) {
  if (tokens > tokens_.size()) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot keep " + std::to_string(tokens) + " tokens of a sequence of " + std::to_string(tokens_.size()));
  }
  if (tokens % kBlockTokens != 0 &&
      std::ranges::any_of(layers_, [=](const LayerTable& layer) { return layer.find(tokens - 1) == layer.blocks(); })) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot keep " + std::to_string(tokens) + " tokens: a layer has dropped the block of the last of them");
  }
  CAIRN_CHECK(!joined_);
  drop_incoming();
  rollback();
  CAIRN_TRY_VOID(reopen_tail(tokens));
  shrink_layers(tokens);
  tokens_.resize(tokens);
  settled_blocks_ = std::min(settled_blocks_, tokens / kBlockTokens);
  reused_ = std::min(reused_, tokens);
  if (tokens == 0) intact_ = true;
  block_keys_.resize(std::min(block_keys_.size(), tokens / kBlockTokens));
  own_tail_positions();
  return {};
}

Status Sequence::drop_block(std::uint32_t layer, std::size_t first_token) {
  if (reserved_ != 0) {
    return fail(ErrorCode::kInvalidArgument, "commit the reserved tokens or roll back before dropping a block");
  }
  const bool full = first_token % kBlockTokens == 0 && first_token + kBlockTokens <= tokens_.size();
  const std::size_t block = full && layer < layers_.size() ? layers_[layer].find(first_token) : SIZE_MAX;
  if (block == SIZE_MAX || block == layers_[layer].blocks()) {
    return fail(ErrorCode::kInvalidArgument,
                "layer " + std::to_string(layer) + " holds no full block at token " + std::to_string(first_token));
  }
  layers_[layer].drop(block);
  intact_ = false;
  return {};
}

Status Sequence::hide(std::span<const std::size_t> tokens) {
  if (reserved_ != 0) {
    return fail(ErrorCode::kInvalidArgument, "commit the reserved tokens or roll back before hiding others");
  }
  const auto beyond = std::ranges::find_if(tokens, [this](std::size_t token) { return token >= tokens_.size(); });
  if (beyond != tokens.end()) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot hide token " + std::to_string(*beyond) + " of " + std::to_string(tokens_.size()));
  }
  std::map<std::size_t, std::vector<std::size_t>> slots_of_block;
  for (const std::size_t token : tokens) slots_of_block[token / kBlockTokens].push_back(token % kBlockTokens);
  for (const auto& [block, slots] : slots_of_block) {
    std::shared_ptr<PositionBlock> hidden;  // one for all layers; the old one may be a fork's too
    for (LayerTable& layer : layers_) {
      const std::size_t index = layer.find(block * kBlockTokens);
      if (index == layer.blocks()) continue;
      if (hidden == nullptr) {
        hidden = std::make_shared<PositionBlock>(*layer.entry(index).positions);
        for (const std::size_t slot : slots) (*hidden)[slot] = kHiddenPosition;
      }
      layer.replace_positions(index, hidden);
    }
    intact_ = false;
  }
  return {};
}

std::size_t Sequence::bytes_held() const {
  std::size_t bytes = 0;
  for (const LayerTable& layer : layers_) {
    for (std::size_t b = 0; b < layer.blocks(); ++b)
      bytes += layer.entry(b).keys.bytes() + layer.entry(b).values.bytes();
  }
  return bytes;
}

void Sequence::shrink_layers(std::size_t tokens) {
  for (LayerTable& layer : layers_) layer.shrink(tokens);
}

// A block that was full, or came from a fork, shares its positions with others that must not see the next append.
void Sequence::own_tail_positions() {
  if (layers_.front().tail_tokens() == 0) return;
  const LayerTable& first = layers_.front();
  const auto copy = std::make_shared<PositionBlock>(*first.entry(first.blocks() - 1).positions);
  for (LayerTable& layer : layers_) layer.replace_positions(layer.blocks() - 1, copy);
}

Sequence Sequence::fork() const {
  CAIRN_CHECK(reserved_ == 0 && !joined_);
  Sequence twin(core_);
  twin.layers_ = layers_;
  twin.tokens_ = tokens_;
  twin.block_keys_ = block_keys_;
  twin.intact_ = intact_;
  twin.reused_ = reused_;
  twin.settled_blocks_ = settled_blocks_;
  twin.deferring_ = deferring_;
  twin.own_tail_positions();
  return twin;
}

}  // namespace cairn
