// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/sequence.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/cache/offload.h"
#include "cairn/cache/retention.h"

namespace cairn {

LoadStep Sequence::poll_load(const LoadPoll& how) {
  if (load_ == nullptr || !load_->due(*state_)) return LoadStep::kNone;
  const LoadStep step = load_->poll(*state_, how);
  const bool over = step == LoadStep::kNone || (step == LoadStep::kJoined && load_->state() != LoadState::kJoined);
  if (over) load_.reset();
  return step;
}

void Sequence::drop_load() {
  CAIRN_CHECK(load_ == nullptr || load_->state() == LoadState::kOnTheWay);
  load_.reset();
}

PassRemedy Sequence::recover(const Error& error, std::size_t rows, ThreadPool& pool) {
  if (load_state() == LoadState::kLost) {
    end_load(pool);
    return PassRemedy::kPollAgain;
  }
  // A retention that is owed fails before the model computes anything: where the policy lost count in an earlier pass,
  // computing anew helps. Any other error would only come again.
  if (error.code != ErrorCode::kOutOfBudget) {
    return state_->owes_retention && is_lost() ? PassRemedy::kAnew : PassRemedy::kNone;
  }
  if (state_->owes_retention) return PassRemedy::kMoreRoom;          // which stands before any row
  return rows > 1 ? PassRemedy::kFewerRows : PassRemedy::kMoreRoom;  // all blocks that a pass touches are open in it
}

Error Sequence::explained(Error error) const {
  return cache::with_offload(*state_, std::move(error));
}

bool Sequence::end_load(ThreadPool& pool) {
  if (load_ == nullptr) return false;
  if (load_->state() != LoadState::kOnTheWay) load_->recover(*state_, pool);
  load_.reset();
  return true;
}

Status Sequence::finish_prefill(ThreadPool& pool) {
  if (state_->in_pass) return fail(ErrorCode::kInvalidArgument, "commit the pass on this sequence before encoding");
  CAIRN_TRY_VOID(cache::end_prompt(*state_, pool));
  return state_->encode_prefill(pool);
}

Status Sequence::set_policy(const PolicySpec& policy) {
  if (state_->in_pass || size() != reused_tokens() || state_->packed_tokens != 0) {
    return fail(ErrorCode::kInvalidArgument, "a sequence gets its policy before its first token is computed");
  }
  CAIRN_TRY_VOID(cache::TokenPolicy::check(policy, state_->core->options));
  state_->policy.emplace(policy, *state_->core);
  state_->owes_retention = false;
  cache::offload_blocks(*state_);  // those of the prefix index, which a pass that needs room could not evict
  return {};
}

PolicyReport Sequence::policy_report() const {
  if (!state_->policy) return {};
  PolicyReport report = state_->policy->report();
  report.box_bytes = state_->policy->box_bytes();
  report.query_bytes = state_->policy->query_bytes();
  report.bytes_offloaded = cache::bytes_offloaded(*state_);
  return report;
}

Sequence Sequence::replay_fork() const {
  Sequence twin = fork();
  twin.state_->policy->begin_replay();
  twin.state_->leave_its_tokens();  // nobody else will ask for what it computes
  return twin;
}

std::size_t Sequence::rows_until_retention(std::size_t wanted) const {
  const auto& policy = state_->policy;
  if (!policy) return wanted;
  const std::size_t prompt = policy->prompt_ended() ? policy->prompt_tokens() : std::numeric_limits<std::size_t>::max();
  return tokens_until_action(policy->spec(), prompt, size(), wanted);
}

const AttentionMass* Sequence::mass(std::uint32_t layer, std::size_t token) const {
  const cache::LayerTable& table = state_->table(layer);
  const std::size_t block = table.find(token);
  return block < table.blocks() && table.entry(block).mass.collecting() ? &table.entry(block).mass : nullptr;
}

Status Sequence::trim(std::size_t tokens) {
  cache::SequenceState& state = *state_;
  if (state.in_pass) return fail(ErrorCode::kInvalidArgument, "end the pass on this sequence before cutting it");
  if (tokens > size()) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot keep " + std::to_string(tokens) + " tokens of a sequence of " + std::to_string(size()));
  }
  if (tokens != 0 && tokens < size()) {
    if (tokens < state.packed_tokens) {
      return fail(ErrorCode::kInvalidArgument, "cannot keep " + std::to_string(tokens) + " tokens: policy '" +
                                                   state.policy->spec().text + "' has packed the first " +
                                                   std::to_string(state.packed_tokens));
    }
    if (state.policy && state.policy->counted_from(static_cast<std::int32_t>(tokens))) {
      return fail(ErrorCode::kInvalidArgument, "cannot keep " + std::to_string(tokens) + " tokens: policy '" +
                                                   state.policy->spec().text +
                                                   "' remembers queries, and cannot go back so far");
    }
  }
  const auto is_gone = [=](const cache::LayerTable& table) { return table.find(tokens - 1) == table.blocks(); };
  if (tokens % kBlockTokens != 0 && std::ranges::any_of(state.tables, is_gone)) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot keep " + std::to_string(tokens) + " tokens: a layer has dropped the block of the last of them");
  }
  const std::optional<std::int64_t> next = state.position_after(tokens);
  const auto lacks = [=](const cache::LayerTable& table) { return tokens > 0 && table.misses(next.value_or(0)); };
  if (std::ranges::any_of(state.tables, lacks)) {
    return fail(ErrorCode::kInvalidArgument, "cannot keep " + std::to_string(tokens) +
                                                 " tokens: a layer with a window has let go of what the next one sees");
  }
  drop_load();
  CAIRN_TRY_VOID(reopen_tail(tokens));
  const std::size_t old_size = size();
  state.shrink(tokens);
  state.tokens.resize(tokens);
  state.closed_blocks = std::min(state.closed_blocks, tokens / kBlockTokens);
  state.offered_blocks = 0;
  state.reused = std::min(state.reused, tokens);
  if (tokens < old_size) state.owes_retention = state.by_tokens = false;
  if (state.policy) state.policy->trim(tokens);
  if (tokens == 0) {
    state.intact = state.by_tokens = true;
    state.packed_tokens = 0;
    if (state.policy) state.policy.emplace(PolicySpec(state.policy->spec()), *state.core);
  }
  state.block_keys.resize(std::min(state.block_keys.size(), tokens / kBlockTokens));
  state.own_tail_positions();
  return {};
}

// Before the cut, while nothing has changed: the block that becomes the tail takes tokens again.
Status Sequence::reopen_tail(std::size_t tokens) {
  cache::SequenceState& state = *state_;
  if (tokens % kBlockTokens == 0 || tokens == size()) return {};
  const std::size_t number = tokens / kBlockTokens;
  std::size_t bytes = 0, away = 0;
  bool changes = false;
  for (const cache::LayerTable& table : state.tables) {
    const cache::LayerTable::Entry& entry = table.entry(table.lower_bound(number));
    away += cache::bytes_offloaded(state, table, table.lower_bound(number));
    const cache::LayerForms& forms = table.forms();
    for (const PageSlot slot : forms.slots()) {
      if (entry.page(slot).form() != cache::kOpenForm) bytes += PagePool::occupied_bytes(forms.of(slot).open_bytes);
    }
    changes = changes || forms.reads_mass();
  }
  if (bytes + away > 0) {
    CAIRN_TRY(Reservation room, state.core->make_room(bytes + away));
    for (cache::LayerTable& table : state.tables) cache::bring_back(state, table, table.lower_bound(number), room);
    if (bytes > 0) {
      for (cache::LayerTable& table : state.tables) table.reopen(table.lower_bound(number), room);
    }
  }
  if (bytes > 0 || changes) state.leave_its_tokens();
  for (cache::LayerTable& table : state.tables) {
    cache::LayerTable::Entry& entry = table.entry(table.lower_bound(number));
    if (!entry.unencodable) continue;
    entry.closed = false;
    state.leave_its_tokens();
  }
  return {};
}

Status Sequence::drop_block(std::uint32_t layer, std::size_t first_token) {
  if (state_->in_pass)
    return fail(ErrorCode::kInvalidArgument, "end the pass on this sequence before dropping a block");
  const bool full =
      first_token % kBlockTokens == 0 && first_token + kBlockTokens <= size() && first_token >= state_->packed_tokens;
  cache::LayerTable* table = full && layer < state_->core->table_of.size() ? &state_->table(layer) : nullptr;
  const std::size_t block = table != nullptr ? table->find(first_token) : 0;
  if (table == nullptr || block == table->blocks()) {
    return fail(ErrorCode::kInvalidArgument,
                "layer " + std::to_string(layer) + " holds no full block at token " + std::to_string(first_token));
  }
  table->drop(block);
  if (state_->policy) {
    state_->policy->forget_plan_from(first_token);
    const auto number = static_cast<std::size_t>(table - state_->tables.data());
    state_->policy->tables()[number].boxes.shrink(block);  // those after it have moved
  }
  state_->leave_its_tokens();
  return {};
}

Status Sequence::hide(std::span<const std::size_t> tokens) {
  if (state_->in_pass) return fail(ErrorCode::kInvalidArgument, "end the pass on this sequence before hiding tokens");
  const auto beyond = std::ranges::find_if(tokens, [this](std::size_t token) { return token >= size(); });
  if (beyond != tokens.end()) {
    return fail(ErrorCode::kInvalidArgument,
                "cannot hide token " + std::to_string(*beyond) + " of " + std::to_string(size()));
  }
  if (std::ranges::any_of(tokens, [this](std::size_t token) { return token < state_->packed_tokens; })) {
    return fail(ErrorCode::kInvalidArgument, "cannot hide tokens among those that a policy has packed");
  }
  std::map<std::size_t, std::vector<std::size_t>> slots_of_block;
  for (const std::size_t token : tokens) slots_of_block[token / kBlockTokens].push_back(token % kBlockTokens);
  for (const auto& [block, slots] : slots_of_block) {
    std::shared_ptr<cache::PositionBlock> hidden;  // one for all layers; the old one may be a fork's too
    for (cache::LayerTable& table : state_->tables) {
      const std::size_t index = table.find(block * kBlockTokens);
      if (index == table.blocks()) continue;
      if (hidden == nullptr) {
        hidden = std::make_shared<cache::PositionBlock>(*table.entry(index).positions);
        for (const std::size_t slot : slots) (*hidden)[slot] = kHiddenPosition;
      }
      table.replace_positions(index, hidden);
    }
    state_->leave_its_tokens();
  }
  return {};
}

std::size_t Sequence::bytes_held() const {
  std::size_t bytes = state_->policy ? state_->policy->box_bytes() + state_->policy->query_bytes() : 0;
  for (const cache::LayerTable& table : state_->tables) {
    for (std::size_t b = 0; b < table.blocks(); ++b) {
      for (const PageSlot slot : table.forms().slots()) bytes += table.entry(b).page(slot).bytes();
    }
  }
  return bytes - cache::bytes_offloaded(*state_);
}

Sequence Sequence::fork() const {
  CAIRN_CHECK(!state_->in_pass && (load_ == nullptr || load_->state() == LoadState::kOnTheWay));
  Sequence twin(state_->core);
  *twin.state_ = *state_;
  twin.state_->own_tail_positions();
  return twin;
}

}  // namespace cairn
