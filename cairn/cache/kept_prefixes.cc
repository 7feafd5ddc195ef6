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
void each_page(const SequenceState& state, const Visit& visit) {
  for (const LayerTable& table : state.tables) {
    for (std::size_t b = 0; b < table.blocks(); ++b) {
      for (const PageSlot slot : table.forms().slots()) visit(table.entry(b).page(slot));
    }
  }
}

// About what tables and tokens take beside the pages.
std::size_t bytes_beside(const SequenceState& state) {
  std::size_t bytes = sizeof(SequenceState) + state.tokens.size() * sizeof(TokenId);
  for (const LayerTable& table : state.tables) {
    for (std::size_t b = 0; b < table.blocks(); ++b) {
      bytes += sizeof(LayerTable::Entry) + 2 * sizeof(PageView);
      const auto& positions = table.entry(b).head_positions;
      if (positions) bytes += positions->size() * sizeof(std::int32_t);
    }
  }
  return bytes;
}

std::size_t page_bytes(const SequenceState& state) {
  std::size_t bytes = 0;
  each_page(state, [&](const PageRef& page) { bytes += page.bytes(); });
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

bool KeptPrefixes::touch(std::span<const Digest> keys) {
  const std::lock_guard lock(mutex_);
  const auto found = nodes_.find(keys.back());
  if (found == nodes_.end() || found->second.state == nullptr) return false;
  use(found->second);
  return true;
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
  const std::size_t beside = bytes_beside(*state);
  if (beside + page_bytes(*state) > budget_) return;  // all others would go for it, and then it as well
  const std::lock_guard lock(mutex_);
  Node& node = node_of(keys);
  if (node.state == nullptr) {
    node.state = std::move(state);
    node.beside = beside;
    node.place = by_use_.insert(by_use_.end(), &node);
    stats_.bytes += beside;
    each_page(*node.state, [&](const PageRef& page) { stats_.bytes += pages_[page.data()]++ == 0 ? page.bytes() : 0; });
    ++stats_.published;
  }
  use(node);
}

// One that a prompt has reached: the one two borders before it goes, if it was kept for this prompt alone.
void KeptPrefixes::use(Node& node) {
  by_use_.splice(by_use_.end(), by_use_, node.place);
  Node* const before_last = node.parent == nullptr ? nullptr : node.parent->parent;
  if (before_last != nullptr && before_last->state != nullptr && !is_parting(*before_last)) drop(*before_last);
}

// And the borders that only joined it to others.
void KeptPrefixes::drop(Node& node) {
  by_use_.erase(node.place);
  stats_.bytes -= std::exchange(node.beside, 0);
  each_page(*node.state, [&](const PageRef& page) {
    const auto count = pages_.find(page.data());
    if (--count->second > 0) return;
    stats_.bytes -= page.bytes();
    pages_.erase(count);
  });
  node.state.reset();
  for (Node* last = &node; last != nullptr && last->state == nullptr && last->children == 0;) {
    Node* const parent = last->parent;
    if (parent != nullptr) --parent->children;
    nodes_.erase(Digest(last->key));
    last = parent;
  }
}

// `frees`: bytes that come back as it goes.
KeptPrefixes::Node* KeptPrefixes::next_to_go(KeptToGo which, std::size_t& frees) const {
  Node* among_themselves = nullptr;  // the first whose pages come back once others of them are gone too
  for (Node* node : by_use_) {
    if (node->state.use_count() > 1) continue;  // a sequence that is just taking it over holds its pages too
    std::size_t all = 0, own = 0, kept = 0;
    each_page(*node->state, [&](const PageRef& page) {
      const std::size_t users = page.use_count();
      all += page.bytes();
      if (users == 1) own += page.bytes();
      if (users == pages_.at(page.data())) kept += page.bytes();
    });
    frees = own;
    if (own > 0 && (which == KeptToGo::kAny || 2 * own >= all)) return node;
    if (kept > 0 && among_themselves == nullptr) among_themselves = node;
  }
  frees = 0;
  return which == KeptToGo::kAny ? among_themselves : nullptr;
}

std::size_t KeptPrefixes::evict(std::size_t bytes, KeptToGo which) {
  const std::lock_guard lock(mutex_);
  std::size_t freed = 0, frees = 0;
  while (freed < bytes) {
    Node* const next = next_to_go(which, frees);
    if (next == nullptr) break;
    drop(*next);
    freed += frees;
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
  pages_.clear();
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
  if (!core.index || !core.options.keeps_prefixes || !keeps_prefixes(policy.spec()) || policy.prompt_ended()) return;
  if (!state.by_tokens || !policy.retained_at_every_border(size) || state.packed_tokens != size) return;
  const std::vector<Digest> keys = border_keys(core.options.root, policy.spec(), state.tokens);
  if (core.kept.touch(keys)) return;
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
