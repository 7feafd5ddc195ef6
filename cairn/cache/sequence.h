// SPDX-License-Identifier: Apache-2.0
// One token sequence on the paged cache, as its owner sees it. Pages are shared between forks and with the prefix index
// and are copied only where a shared one would be written. Tokens are added, and computed again, by a Pass alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "cairn/attention/attend.h"
#include "cairn/base/hash.h"
#include "cairn/base/result.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/pending_load.h"
#include "cairn/cache/sequence_state.h"

namespace cairn {

// Thread-compatible; sequences of one cache may be used from different threads. Keeps what it needs of the cache alive
// and may outlive the KvCache itself. Moved-from sequences may only be destroyed or assigned to. While a pass computes
// on it a sequence stays where it is, and only what is const may be called. Invalidated by passes, trim, join and
// destruction: spans and views handed out before.
class Sequence {
 public:
  Sequence(Sequence&& other) noexcept = default;
  // Not defaulted: that would let go of the old cache before what the old load holds of it.
  Sequence& operator=(Sequence&& other) noexcept {
    Sequence taken(std::move(other));
    std::swap(state_, taken.state_);
    std::swap(load_, taken.load_);
    return *this;
  }
  ~Sequence() = default;

  std::size_t size() const { return state_->tokens.size(); }  // committed tokens
  std::span<const TokenId> tokens() const { return state_->tokens; }
  // Of the leading full blocks at positions 0, 1, ...
  std::span<const Digest> block_keys() const { return state_->block_keys; }

  // Of the committed tokens, those that came from the prefix index or from a store.
  std::size_t reused_tokens() const { return state_->reused; }
  // Of the prompt, the tokens that the prefix index knew as the sequence was opened: more than it reused where the
  // pages that a window sees were gone.
  std::size_t known_tokens() const { return state_->known; }

  // With a sequence that was opened while a store loads (KvCache::open_while_loading): blocks may be on their way. Ask
  // before each pass what to do. Once blocks have joined, size() has grown, and nothing but passes that add tokens may
  // follow until one of them is committed.
  LoadState load_state() const { return load_ == nullptr ? LoadState::kNone : load_->state(); }
  LoadStep poll_load(const LoadPoll& how);
  // After a pass on this sequence failed with `error`, `rows` of them its own: what to do about it. Once blocks are
  // lost this must come before any other pass, and does the recovery: the blocks before the first that is not sound
  // stay.
  PassRemedy recover(const Error& error, std::size_t rows, ThreadPool& pool);
  // The error of a pass on this sequence for which there is no remedy, for people: where it lacks room and blocks could
  // not be offloaded, with the reason.
  Error explained(Error error) const;
  // Goes on without what has not come: of joined blocks those that are sound stay, once all that still come are there.
  // Says whether a load was on its way; then size() may have shrunk.
  bool end_load(ThreadPool& pool);

  // Under a plan with exact prefill: until finish_prefill nothing is encoded, and queries see the tokens since then as
  // they were computed. The first finish_prefill also ends the prompt for a policy. Otherwise both do nothing. Errors:
  // kInvalidArgument during a pass, kOutOfBudget; blocks stay as they are, save those of layers that were packed.
  void begin_prefill() { state_->prefilling = state_->core->options.plan.exact_prefill; }
  Status finish_prefill(ThreadPool& pool);

  // A prompt after the first one: until finish_prefill() its queries read all they see, whatever the policy.
  void begin_prompt() {
    if (state_->policy) state_->policy->begin_prompt();
  }

  // Which tokens this sequence keeps and its queries read from now on (docs/policies.md). The first prompt ends with
  // the first finish_prefill(); until then queries read all they see. What an earlier one knew is forgotten.
  // kInvalidArgument during a pass, or once tokens were computed or packed; kUnsupported where this cache's layers or
  // codecs cannot follow the policy.
  Status set_policy(const PolicySpec& policy);
  // Whether its policy goes by the queries of a model that repeats the prompt: replay_fork() is a sequence to repeat it
  // on, and absorb_replay() takes what the policy saw there. To be done before finish_prefill().
  bool wants_replay() const { return state_->policy && state_->policy->wants_replay(size()); }
  // Before the first of them: how many of its tokens were repeated by replays that have been absorbed. The next one
  // goes on there. Those of other tokens, from before it grew or was cut, are forgotten.
  std::size_t begin_replays() { return state_->policy->begin_replays(size()); }
  Sequence replay_fork() const;
  // After it the first `repeated` tokens have been repeated.
  void absorb_replay(const Sequence& twin, std::size_t repeated) {
    state_->policy->absorb_replay(*twin.state_->policy, size(), repeated);
  }
  // How many of `wanted` more tokens may share a pass: those up to where the policy may keep less again.
  std::size_t rows_until_retention(std::size_t wanted) const;
  // Whether a retention failed that does not wait: the next pass begins with it.
  bool owes_retention() const { return state_->owes_retention; }
  const PolicySpec* policy() const { return state_->policy ? &state_->policy->spec() : nullptr; }  // null without one
  // How many tokens the prompt had when it ended for the policy; 0 before, and without one.
  std::size_t prompt_tokens() const { return state_->policy ? state_->policy->prompt_tokens() : 0; }
  // Whether a pass that was taken back leaves its policy with counts of rows that are gone: it cannot retain any more,
  // and the sequence has to be opened and computed anew.
  bool is_lost() const { return state_->policy && state_->policy->is_lost(); }
  // What it did so far; empty without a policy.
  PolicyReport policy_report() const;

  // To look at: the pages of a layer, or of the layer whose keys and values it reads, in order; every page but the last
  // is full. During a pass its rows are among them.
  std::span<const PageView> pages(std::uint32_t layer) const { return state_->table(layer).views(); }
  // The attention that the tokens of one block have got so far at a layer whose codecs ask for it; null where it is not
  // collected, any more or at all.
  const AttentionMass* mass(std::uint32_t layer, std::size_t token) const;

  // Keeps the first `tokens` tokens. A cut inside an encoded block leaves what its tokens decode to, which ends
  // publishing. kInvalidArgument during a pass, when there are fewer, when the last token would lie inside a block that
  // some layer has dropped, or when a layer with a window has let go of what the next token would see (at most
  // cache::kKeptBehind tokens can be cut from a long sequence, or all); kOutOfBudget when an encoded block cannot be
  // opened again.
  Status trim(std::size_t tokens);

  // Lets go of one layer's K and V of the full block that begins at `first_token`: that layer, and those that read its
  // keys and values, attend without it from now on, the others keep theirs. Nothing that is computed afterwards is
  // exact, so none of it is published, in this sequence or its forks. kInvalidArgument when there is no such full block
  // at that layer, or during a pass.
  Status drop_block(std::uint32_t layer, std::size_t first_token);
  // No query sees these tokens from now on, at any layer: an eviction as far as attention can tell, which frees
  // nothing. Like drop_block it ends publishing. kInvalidArgument when there is no such token, or during a pass;
  // nothing changes then.
  Status hide(std::span<const std::size_t> tokens);
  // Pages as they count against the budget, those that others hold too included, and what a policy holds beside them
  // (PolicyReport::box_bytes, query_bytes).
  std::size_t bytes_held() const;
  // Whether every layer shows every token as it was computed: only then are new blocks published.
  bool intact() const { return state_->intact; }

  // A sequence of its own with the same tokens, sharing all pages. Requires: no pass, no joined blocks.
  Sequence fork() const;

 private:
  friend class KvCache;
  friend class PassRunner;
  explicit Sequence(std::shared_ptr<cache::CacheCore> core)
      : state_(std::make_unique<cache::SequenceState>(std::move(core))) {}
  Status reopen_tail(std::size_t tokens);
  void drop_load();  // requires: not joined

  std::unique_ptr<cache::SequenceState> state_;  // first: the load refers to its cache
  std::unique_ptr<cache::PendingLoad> load_;
};

}  // namespace cairn
