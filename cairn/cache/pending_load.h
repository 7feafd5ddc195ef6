// SPDX-License-Identifier: Apache-2.0
// Blocks of a prompt on their way from a store into a sequence. What the store hands over is checked here: sizes,
// recipe, tokens, and each page's checksum as it is copied.
//
//   on the way ──poll──► joined: the blocks are part of the sequence; layer by layer their pages arrive
//       │                  │ ├─► finish: a pass has been computed on them; they go to the index
//       │ abandoned,       │ └─► lost: some did not arrive; recover() keeps what is sound
//       └ dropped          ▼
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/hash.h"
#include "cairn/base/thread_pool.h"
#include "cairn/block/block_key.h"
#include "cairn/cache/cache_core.h"
#include "cairn/cache/sequence_state.h"
#include "cairn/store/store.h"

namespace cairn {

enum class LoadState : std::uint8_t { kNone, kOnTheWay, kJoined, kLost };

// What the owner of a sequence does next.
enum class LoadStep : std::uint8_t {
  kNone,     // compute: nothing is awaited, at this place or at all
  kCompute,  // compute a chunk and ask again: it is done before the blocks are there
  kWait,     // ask again: the blocks are there sooner than a chunk is computed
  kJoined,   // compute: the wait is over, the sequence has grown by what came, which may be nothing
};

// What helps after a pass failed.
enum class PassRemedy : std::uint8_t {
  kPollAgain,  // blocks that it was to read did not come: the sequence has shrunk to those that did
  kFewerRows,  // a shorter pass takes less room
  kMoreRoom,   // one row has no room while other sequences hold theirs
  kAnew,       // its policy has lost count of what it saw (Sequence::is_lost): another sequence, from the beginning
  kNone,       // nothing
};

struct LoadPoll {
  std::size_t chunk = 0;              // the most tokens that a pass would compute
  std::chrono::milliseconds look{0};  // how long poll() looks on before it says kWait
  bool whole = false;                 // join no sooner than all layers are there, or too late
};

}  // namespace cairn

namespace cairn::cache {

// Thread-compatible; must not outlive its cache.
class PendingLoad {
 public:
  // Starts to load what the store has of these blocks and the index has not, as far as that is worth it. `tokens` are
  // whole blocks, `keys` are theirs. Null when there is nothing. Requires: a store and an index. Waits for the store's
  // answer what it has, but not for long.
  static std::unique_ptr<PendingLoad> begin(CacheCore& core, std::span<const TokenId> tokens,
                                            std::span<const Digest> keys);
  // Loads it into the index before it returns. Never fails: what cannot be had is computed.
  static void warm(CacheCore& core, std::span<const TokenId> tokens, std::span<const Digest> keys);

  ~PendingLoad();
  PendingLoad(const PendingLoad&) = delete;
  PendingLoad& operator=(const PendingLoad&) = delete;

  LoadState state() const { return state_; }

  // Whether the sequence has come to where the blocks follow.
  bool due(const SequenceState& sequence) const;
  // Moves on. After kNone, and after kJoined in another state than kJoined, the load is over. Requires: due(sequence).
  LoadStep poll(SequenceState& sequence, const LoadPoll& how);

  // Of joined blocks, before anything attends over this table: waits for its pages and those of tables before it. kIo
  // when some do not arrive, or damaged: after that the pass cannot go on, and recover() follows its rollback.
  Status arrive(std::size_t table, ThreadPool& pool);
  // Ends a load whose pass has been rolled back: waits for the rest, keeps the leading blocks that are sound.
  void recover(SequenceState& sequence, ThreadPool& pool);
  // Ends a load all of whose pages have arrived, before the pass on it is committed.
  void finish(SequenceState& sequence);

 private:
  struct Wanted {
    std::size_t first = 0;  // number of the first block in its sequence
    Digest parent;          // of the first block: a key or the root
    std::vector<Digest> keys;
    std::vector<TokenId> tokens;  // of these blocks
  };
  PendingLoad(CacheCore& core, Wanted wanted, Deadline deadline);
  static std::unique_ptr<PendingLoad> begin(CacheCore& core, std::span<const TokenId> tokens,
                                            std::span<const Digest> keys, bool may_split);

  std::size_t end() const { return wanted_.first + wanted_.keys.size(); }  // block number
  bool late() const { return passed(deadline_); }                          // nothing is waited for any more
  bool all_here() const;
  LoadStep look_on(const SequenceState& sequence, const LoadPoll& how) const;
  void join(SequenceState& sequence);

  // Takes pages for the blocks from number `from` on, which are not filled yet. Waits for the first part of all blocks.
  // Fewer than wanted, or none, when some are missing, refused or have no room. Requires: wanted_.first <= from.
  void prepare(std::size_t from);
  bool accept(const LoadedBlock& block, std::size_t i, Reservation& room);
  bool fill(std::size_t table, std::size_t i);
  // Fills the pages up to this table, waiting for them; `pool` may be null. How many leading blocks are sound so far:
  // it never grows, and what lies behind must not be used.
  std::size_t fill_to(std::size_t table, ThreadPool* pool);

  const Digest& key(std::size_t i) const { return wanted_.keys[skipped_ + i]; }
  const Digest& parent(std::size_t i) const {
    return skipped_ + i == 0 ? wanted_.parent : wanted_.keys[skipped_ + i - 1];
  }
  std::span<const TokenId, kBlockTokens> tokens(std::size_t i) const {
    return std::span(wanted_.tokens).subspan((skipped_ + i) * kBlockTokens).first<kBlockTokens>();
  }

  CacheCore& core_;
  KvConnector& connector_;
  const Wanted wanted_;
  const Deadline deadline_;
  const Deadline begun_ = std::chrono::steady_clock::now();
  const std::shared_ptr<PrefixLoad> load_;
  LoadState state_ = LoadState::kOnTheWay;
  std::vector<LoadedBlock> blocks_;  // those that pages were taken for
  std::vector<BlockPages> pages_;
  std::size_t skipped_ = 0;  // wanted, but before where the sequence joined
  std::size_t tables_ = 0;   // filled
  std::size_t sound_ = 0;
  double unpack_s_ = 0;  // that filling took
};

}  // namespace cairn::cache
