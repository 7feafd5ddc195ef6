// SPDX-License-Identifier: Apache-2.0
// Kept prefixes: what a sequence holds right after a retention within its prompt, for later sequences under the same
// policy whose prompts begin with the same tokens. They start there: nothing before it is computed again, and its pages
// are shared. Only what follows from the policy and these tokens alone is published, so a hit changes no bit.
//
// Retentions within a prompt come at its chunks' ends, its borders. The borders of all prompts under one policy form a
// tree. A border stays while it is one of the last two of its prompt, or one where prompts parted: two went on behind
// it, or two began there. Each retention packs pages anew, so borders share few of them, and few prompts part in the
// middle of one. The last border alone would not do, since prompts end with what they do not share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/tokens.h"

namespace cairn {

struct PolicySpec;  // cairn/policy/policy.h

struct KeptPrefixStats {
  std::uint64_t hits = 0;            // sequences that began with one, a preempted request each time that it goes on
  std::uint64_t tokens_matched = 0;  // theirs
  std::uint64_t published = 0;
  std::uint64_t evictions = 0;  // for want of room; those that a later border replaced are not counted
  std::uint64_t prefixes = 0;   // now
  // Now: each page once, however many of them hold it, and what stands beside the pages. Those that sequences or the
  // prefix index hold too count.
  std::uint64_t bytes = 0;
};

}  // namespace cairn

namespace cairn::cache {

struct SequenceState;  // sequence_state.h

// Which ones may go for the memory that comes back.
enum class KeptToGo : std::uint8_t {
  kMostlyOwn,  // those whose pages are mostly theirs alone: what they cost is what comes back
  kAny,        // any that nobody else keeps all of: they may save others the work for a single page
};

// Thread-safe. The pool of the pages must outlive it.
class KeptPrefixes {
 public:
  // Of all of them, as stats() counts bytes. One that is larger is refused; who has put some holds the rest to it.
  explicit KeptPrefixes(std::size_t budget_bytes) : budget_(budget_bytes) {}
  KeptPrefixes(const KeptPrefixes&) = delete;
  KeptPrefixes& operator=(const KeptPrefixes&) = delete;

  using State = std::shared_ptr<const SequenceState>;  // its `core` is null, so that no cache holds itself

  // The deepest that was published for a border of these keys, the first one first, and holds the first of these tokens
  // under this policy. Null where there is none. Marks it as just used.
  State find(std::span<const Digest> keys, std::span<const TokenId> tokens, const PolicySpec& policy);
  // Whether there is one for the last of these borders. Marks it as just used, as if it had been published anew: the
  // prompt that comes by needs those before it no longer.
  bool touch(std::span<const Digest> keys);
  // For the last of these borders. Where there is one already that one stays, and is touched.
  void put(std::span<const Digest> keys, State state);

  // Drops those that nobody is just taking over, the least recently used first, until at least `bytes` are free.
  // Returns how many are: pages that a sequence or the prefix index holds too stay where they are, and where nothing
  // comes back nothing is dropped. Those that share all of their pages with each other alone go together.
  std::size_t evict(std::size_t bytes, KeptToGo which = KeptToGo::kAny);
  // Drops the least recently used one, whether that frees pages or not; false when there is none.
  bool drop_oldest();
  void clear();

  std::size_t bytes() const;
  KeptPrefixStats stats() const;

 private:
  struct Node {
    Digest key;
    Node* parent = nullptr;  // the border before it; null at the first
    std::size_t children = 0;
    std::size_t hits = 0;
    State state{};                       // null: it only joins those behind it
    std::size_t beside = 0;              // bytes of what stands beside its pages
    std::list<Node*>::iterator place{};  // in by_use_, where there is a state
  };

  static bool is_parting(const Node& node) { return node.children > 1 || node.hits > 1; }
  // By the address of a page, how many kept prefixes hold it. No two held pages have the same address.
  using PageCounts = std::unordered_map<const std::byte*, std::size_t>;

  Node& node_of(std::span<const Digest> keys);
  void use(Node& node);
  void drop(Node& node);
  Node* next_to_go(KeptToGo which, std::size_t& frees) const;

  const std::size_t budget_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::unordered_map<Digest, Node, DigestHash> nodes_;
  std::list<Node*> by_use_;  // the least recently used first
  PageCounts pages_;
  KeptPrefixStats stats_;
};

// Whether what sequences under this policy keep within their prompts follows from their tokens alone: it drops tokens
// there, and looks at no query.
bool keeps_prefixes(const PolicySpec& policy);

// The keys of the borders within these tokens, a chain that begins with the cache's root, which tells tenants apart,
// and all of the policy. Requires: keeps_prefixes().
std::vector<Digest> border_keys(const Digest& root, const PolicySpec& policy, std::span<const TokenId> tokens);

// After a retention: publishes what is held, if it stands at a border and follows from its tokens and its policy alone.
// Nothing is published where nothing is reused, or where nothing was packed, which is a prefix of exact blocks; nor
// where KvCacheOptions::keeps_prefixes says no.
void publish_kept(const SequenceState& state);

// Before its first token: begins a sequence with the deepest prefix that was kept under this policy, but never with the
// whole prompt. False where there is none, and nothing has changed.
bool resume_kept(SequenceState& state, std::span<const TokenId> prompt, const PolicySpec& policy);

}  // namespace cairn::cache
