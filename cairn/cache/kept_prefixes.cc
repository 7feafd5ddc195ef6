// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/kept_prefixes.h"

#include <algorithm>
#include <utility>

#include "cairn/cache/sequence_state.h"
#include "cairn/policy/budget_profile.h"
#include "cairn/policy/policy.h"

namespace cairn::cache {
namespace {

template <class Visit>
void each_entry(const SequenceState& state, const Visit& visit) {
  for (const LayerTable& table : state.tables) {
    for (std::size_t b = 0; b < table.blocks(); ++b) visit(table, table.entry(b));
  }
}

// Pages, and about what the tables and tokens take beside them.
std::size_t bytes_of(const SequenceState& state) {
  std::size_t bytes = sizeof(SequenceState) + state.tokens.size() * sizeof(TokenId);
  each_entry(state, [&](const LayerTable& table, const LayerTable::Entry& entry) {
    bytes += sizeof(LayerTable::Entry) + 2 * sizeof(PageView);
    if (entry.head_positions) bytes += entry.head_positions->size() * sizeof(std::int32_t);
    for (const PageSlot slot : table.forms().slots()) bytes += entry.page(slot).bytes();
  });
  return bytes;
}

// Of its pages, those that nobody else holds.
std::size_t unshared_bytes(const SequenceState& state) {
  std::size_t bytes = 0;
  each_entry(state, [&](const LayerTable& table, const LayerTable::Entry& entry) {
    for (const PageSlot slot : table.forms().slots()) bytes += entry.page(slot).unique() ? entry.page(slot).bytes() : 0;
  });
  return bytes;
}

bool begins_with(std::span<const TokenId> tokens, std::span<const TokenId> first) {
  return first.size() <= tokens.size() && std::ranges::equal(first, tokens.first(first.size()));
}

}  // namespace

KeptPrefixes::State KeptPrefixes::find(std::span<const Digest> keys, std::span<const TokenId> tokens,
                                       const PolicySpec& policy) {
  const std::lock_guard lock(mutex_);
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    const auto found = nodes_.find(*key);
    if (found == nodes_.end() || found->second.state == nullptr) continue;
    Node& node = found->second;
    if (!begins_with(tokens, node.state->tokens) || !(node.state->policy->spec() == policy)) continue;
    by_use_.splice(by_use_.end(), by_use_, node.place);
    ++node.hits;
    ++stats_.hits;
    stats_.tokens_matched += node.state->tokens.size();
    return node.state;
  }
  return nullptr;
}

bool KeptPrefixes::contains(const Digest& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(key);
  return found != nodes_.end() && found->second.state != nullptr;
}

KeptPrefixes::Node& KeptPrefixes::node_of(std::span<const Digest> keys) {
  Node* parent = nullptr;
  for (const Digest& key : keys) {
    const auto [place, is_new] = nodes_.try_emplace(key, Node{.key = key, .parent = parent});
    if (is_new && parent != nullptr) ++parent->children;
    parent = &place->second;
  }
  return *parent;
}

void KeptPrefixes::put(std::span<const Digest> keys, State state) {
  const std::lock_guard lock(mutex_);
  Node& node = node_of(keys);
  if (node.state != nullptr) {
    by_use_.splice(by_use_.end(), by_use_, node.place);
    return;
  }
  node.bytes = bytes_of(*state);
  node.state = std::move(state);
  node.place = by_use_.insert(by_use_.end(), &node);
  stats_.bytes += node.bytes;
  ++stats_.published;
  Node* const before_last = node.parent == nullptr ? nullptr : node.parent->parent;
  if (before_last != nullptr && before_last->state != nullptr && !is_parting(*before_last)) drop(*before_last);
}

// And the borders that only joined it to others.
void KeptPrefixes::drop(Node& node) {
  by_use_.erase(node.place);
  stats_.bytes -= std::exchange(node.bytes, 0);
  node.state.reset();
  for (Node* last = &node; last != nullptr && last->state == nullptr && last->children == 0;) {
    Node* const parent = last->parent;
    if (parent != nullptr) --parent->children;
    nodes_.erase(Digest(last->key));
    last = parent;
  }
}

std::size_t KeptPrefixes::evict(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  std::size_t freed = 0;
  while (freed < bytes) {
    std::size_t own = 0;
    // A sequence that is just taking it over holds its pages too.
    const auto frees = [&](const Node* node) {
      return node->state.use_count() == 1 && (own = unshared_bytes(*node->state)) > 0;
    };
    const auto next = std::ranges::find_if(by_use_, frees);
    if (next == by_use_.end()) break;
    drop(**next);
    freed += own;
    ++stats_.evictions;
  }
  return freed;
}

bool KeptPrefixes::drop_oldest() {
  const std::lock_guard lock(mutex_);
  if (by_use_.empty()) return false;
  drop(*by_use_.front());
  ++stats_.evictions;
  return true;
}

void KeptPrefixes::clear() {
  const std::lock_guard lock(mutex_);
  by_use_.clear();
  nodes_.clear();
  stats_.bytes = 0;
}

std::size_t KeptPrefixes::bytes() const {
  const std::lock_guard lock(mutex_);
  return stats_.bytes;
}

KeptPrefixStats KeptPrefixes::stats() const {
  const std::lock_guard lock(mutex_);
  KeptPrefixStats stats = stats_;
  stats.prefixes = by_use_.size();
  return stats;
}

bool keeps_prefixes(const PolicySpec& policy) {
  return policy.scorer != nullptr && !policy.sees_queries() && policy.chunk != 0;
}

std::vector<Digest> border_keys(const Digest& root, const PolicySpec& policy, std::span<const TokenId> tokens) {
  Hasher first("cairn.kept.v1");
  first.digest(root).text(policy.text);
  if (policy.profile != nullptr) {
    // The text names its file, whose content may change while the program runs.
    first.bytes(std::as_bytes(std::span(&policy.profile->keep, 1)))
        .bytes(std::as_bytes(std::span(policy.profile->shares)));
  }
  Digest before = first.finish();
  std::vector<Digest> keys;
  for (; tokens.size() >= policy.chunk; tokens = tokens.subspan(policy.chunk)) {
    before = Hasher("cairn.border.v1").digest(before).bytes(std::as_bytes(tokens.first(policy.chunk))).finish();
    keys.push_back(before);
  }
  return keys;
}

void publish_kept(const SequenceState& state) {
  CacheCore& core = *state.core;
  const TokenPolicy& policy = *state.policy;
  const std::size_t size = state.tokens.size();
  if (!core.index || !keeps_prefixes(policy.spec()) || policy.prompt_ended()) return;
  if (!state.by_tokens || !policy.retained_at_every_border(size) || state.packed_tokens != size) return;
  const std::vector<Digest> keys = border_keys(core.options.root, policy.spec(), state.tokens);
  if (core.kept.contains(keys.back())) return;
  const auto copy = std::make_shared<SequenceState>(state);
  copy->core = nullptr;
  copy->prompt = nullptr;
  copy->owes_retention = false;
  copy->policy->leave_prompt();
  copy->reused = copy->known = size;
  core.kept.put(keys, copy);
  core.hold_index_budget();
}

bool resume_kept(SequenceState& state, std::span<const TokenId> prompt, const PolicySpec& policy) {
  CacheCore& core = *state.core;
  if (!core.index || !keeps_prefixes(policy) || prompt.size() <= policy.chunk || core.kept.bytes() == 0) return false;
  const auto reusable = prompt.first(prompt.size() - 1);  // the last token must be computed for its logits
  const KeptPrefixes::State kept = core.kept.find(border_keys(core.options.root, policy, reusable), reusable, policy);
  if (kept == nullptr) return false;
  std::shared_ptr<CacheCore> own = std::move(state.core);
  state = *kept;
  state.core = std::move(own);
  return true;
}

}  // namespace cairn::cache
