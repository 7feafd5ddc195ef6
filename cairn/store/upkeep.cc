// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/upkeep.h"

#include <unistd.h>

#include <algorithm>
#include <expected>
#include <set>
#include <tuple>
#include <utility>

#include "cairn/base/thread_pool.h"
#include "cairn/store/record/compression.h"
#include "cairn/store/residency.h"

namespace cairn::upkeep {
namespace {

using Clock = std::chrono::steady_clock;
using Records = std::vector<std::shared_ptr<const BlockRecord>>;

constexpr std::size_t kVerifiedAtOnce = 8, kMovedAtOnce = 16;
constexpr std::size_t kCompressedBytesAtOnce = std::size_t{8} << 20, kCompressedAtOnce = 64;

double share(std::size_t done, std::size_t all) {
  return static_cast<double>(done) / static_cast<double>(all);
}

// A few blocks: read, compressed on all cores, verified, put in the place of what was there.
void compress_some(Tier& tier, std::span<const Digest> keys, const CompressOptions& options, const Watch& watch,
                   ThreadPool& threads, Compressed& figures) {
  using Outcome = std::expected<std::shared_ptr<const BlockRecord>, Refusal>;
  Records records, smaller;
  tier.get(keys, watch.deadline(), [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
    if (record != nullptr) {
      records.push_back(std::move(record));
    } else {
      ++(status == BlockStatus::kMiss || status == BlockStatus::kExpired ? figures.gone
         : status == BlockStatus::kCorrupt                               ? figures.damaged
                                                                         : figures.refused);
    }
  });
  std::vector<Outcome> outcomes(records.size());
  const Clock::time_point begin = Clock::now();
  threads.run(records.size(), [&](std::size_t i, unsigned) {
    if (!watch.stopped()) outcomes[i] = compress_record(*records[i], options.level, options.key);
  });
  figures.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
  if (watch.stopped()) return;
  for (std::size_t i = 0; i < records.size(); ++i) {
    figures.bytes_seen += records[i]->size();
    if (outcomes[i] && *outcomes[i] != nullptr) {
      smaller.push_back(*outcomes[i]);
    } else if (outcomes[i]) {
      ++figures.left;
    } else if (records[i]->intact()) {
      ++figures.locked;
    } else {
      ++figures.damaged;
      tier.report_corrupt(records[i]->meta().key);
    }
  }
  const std::vector<BlockStatus> statuses = tier.replace(smaller, watch.deadline());
  for (std::size_t i = 0; i < smaller.size(); ++i) {
    if (statuses[i] != BlockStatus::kOk) {
      ++(statuses[i] == BlockStatus::kMiss ? figures.gone : figures.refused);
      continue;
    }
    ++figures.compressed;
    figures.before += smaller[i]->plain_size();
    figures.after += smaller[i]->size();
  }
}

// The keys of those records whose parts `to` has, byte for byte. What it has under the same key and is damaged goes.
std::set<Digest> arrived(Tier& to, const Records& records, Deadline deadline) {
  std::vector<Digest> keys;
  for (const auto& record : records) keys.push_back(record->meta().key);
  std::set<Digest> there;
  to.get(keys, deadline, [&](std::size_t i, BlockStatus, std::shared_ptr<const BlockRecord> got) {
    if (got == nullptr) return;
    if (!got->intact()) {
      to.report_corrupt(keys[i]);
    } else if (got->same_parts(*records[i])) {
      there.insert(keys[i]);
    }
  });
  return there;
}

std::string gone_text(Gone gone, const TierStats& stats) {
  switch (gone) {
    case Gone::kEvicted: return "evicted to make room";
    case Gone::kExpired: return "its time had come";
    case Gone::kDamaged: return "it was damaged, and erased";
    case Gone::kErased: return "erased or moved on request";
    case Gone::kForeign:
      return stats.foreign > 0 ? format_version_text(stats.foreign_version)
                               : "another format version; this build reads version " + std::to_string(kRecordVersion);
    case Gone::kUnknown: break;
  }
  return "never stored, as far as the store remembers";
}

std::string why_missing(Tier& tier, const Digest& key, std::size_t block, const OtherRecipes& other,
                        Deadline deadline) {
  const Gone gone = tier.what_became_of(key);
  if (gone != Gone::kForeign) {
    for (const auto& [recipe, text] : tier.recipes()) {
      if (recipe == other.mine) continue;
      const Digest theirs = other.key(recipe, block);
      if (tier.contains({&theirs, 1}, deadline)[0] == BlockStatus::kOk) {
        const std::string difference = other.difference(text);
        return "held under another recipe: " + (difference.empty() ? "its description is the same" : difference);
      }
    }
  }
  return gone_text(gone, tier.stats());
}

}  // namespace

Result<std::vector<StoredBlock>> all_blocks(Tier& tier, Deadline deadline) {
  std::vector<StoredBlock> blocks;
  CAIRN_TRY_VOID(tier.list(
      [&](const StoredBlock& block) {
        blocks.push_back(block);
        return true;
      },
      deadline));
  return blocks;
}

Result<std::vector<StoredBlock>> blocks_with_prefix(Tier& tier, const std::string& prefix, Deadline deadline) {
  CAIRN_TRY(std::vector<StoredBlock> blocks, all_blocks(tier, deadline));
  std::erase_if(blocks, [&](const StoredBlock& block) { return !block.meta.key.hex().starts_with(prefix); });
  if (!blocks.empty()) return blocks;
  if (prefix.empty()) return fail(ErrorCode::kNotFound, tier.name() + " is empty");
  return fail(ErrorCode::kNotFound, "no block of " + tier.name() + " has a key that begins with '" + prefix + "'");
}

Summary summarize(std::span<const StoredBlock> blocks) {
  Summary summary;
  for (const StoredBlock& block : blocks) {
    Summary::Group& group = summary.groups[{block.meta.recipe, block.meta.tenant}];
    ++group.blocks;
    group.bytes += block.bytes;
    group.longest = std::max<std::uint64_t>(group.longest, block.meta.depth + 1);
    summary.bytes += block.bytes;
    summary.pinned += block.pinned_until_s != 0;
    summary.compressed += block.meta.compressed;
    summary.compressed_bytes += block.meta.compressed ? block.bytes : 0;
  }
  return summary;
}

Result<Verified> verify(Tier& tier, const Watch& watch) {
  CAIRN_TRY(const std::vector<StoredBlock> blocks, all_blocks(tier, watch.deadline()));
  Verified verified{.blocks = blocks.size(), .counts = {}, .damaged = {}, .torn = tier.stats().corrupt};
  for (std::size_t first = 0, end = 0; first < blocks.size() && !watch.stopped(); first = end) {
    end = std::min(blocks.size(), first + kVerifiedAtOnce);
    std::vector<Digest> keys;
    for (std::size_t i = first; i < end; ++i) keys.push_back(blocks[i].meta.key);
    tier.get(keys, watch.deadline(), [&](std::size_t i, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
      if (status == BlockStatus::kOk && !record->sound()) {
        tier.report_corrupt(keys[i]);
        status = BlockStatus::kCorrupt;
      }
      if (status == BlockStatus::kOk) verified.bytes += record->size();
      if (status == BlockStatus::kCorrupt) verified.damaged.push_back(keys[i]);
      ++verified.counts[status];
    });
    watch.progress(share(end, blocks.size()));
  }
  return verified;
}

Result<Compressed> compress(Tier& tier, const CompressOptions& options, const Watch& watch) {
  CAIRN_TRY(std::vector<StoredBlock> blocks, all_blocks(tier, watch.deadline()));
  Compressed figures;
  figures.already = std::erase_if(blocks, [](const StoredBlock& block) { return block.meta.compressed; });
  const std::int64_t newest_s = unix_seconds() - options.older_than_s;
  std::erase_if(blocks, [&](const StoredBlock& block) { return block.meta.created_s > newest_s; });
  std::ranges::sort(blocks, {},
                    [](const StoredBlock& block) { return std::pair(block.meta.created_s, block.meta.key); });
  ThreadPool threads(0);
  for (std::size_t next = 0; next < blocks.size() && !watch.stopped();) {
    std::vector<Digest> keys;
    for (std::uint64_t bytes = 0;
         next < blocks.size() && bytes < kCompressedBytesAtOnce && keys.size() < kCompressedAtOnce; ++next) {
      keys.push_back(blocks[next].meta.key);
      bytes += blocks[next].bytes;
    }
    compress_some(tier, keys, options, watch, threads, figures);
    watch.progress(share(next, blocks.size()));
  }
  return figures;
}

Result<Moved> move(Tier& from, Tier& to, const std::string& prefix, bool copy, const Watch& watch) {
  CAIRN_TRY(std::vector<StoredBlock> blocks, blocks_with_prefix(from, prefix, watch.deadline()));
  // Parents first, so that what is there is useful at any moment.
  std::ranges::sort(blocks, {}, [](const StoredBlock& block) { return std::tuple(block.meta.depth, block.meta.key); });
  Moved moved{.blocks = blocks.size()};
  const std::int64_t now_s = unix_seconds();
  for (const auto& [recipe, text] : from.recipes()) to.describe_recipe(recipe, text);
  for (std::size_t first = 0, next; first < blocks.size() && !watch.stopped(); first = next) {
    // One alone tells whether both are the same store.
    next = std::min(blocks.size(), first + (first == 0 ? 1 : kMovedAtOnce));
    std::vector<Digest> keys, done;
    for (std::size_t i = first; i < next; ++i) keys.push_back(blocks[i].meta.key);
    Records records;
    from.get(keys, watch.deadline(), [&](std::size_t i, BlockStatus, std::shared_ptr<const BlockRecord> record) {
      if (record == nullptr) return;
      if (record->intact()) {
        records.push_back(std::move(record));
      } else {
        ++moved.damaged;
        from.report_corrupt(keys[i]);
      }
    });
    (void)to.put(records, watch.deadline());
    std::set<Digest> there = arrived(to, records, watch.deadline());
    if (there.size() < records.size()) {  // what stood in the way may be gone now
      (void)to.put(records, watch.deadline());
      there = arrived(to, records, watch.deadline());
    }
    for (const auto& record : records) {
      if (!there.contains(record->meta().key)) continue;
      moved.bytes += record->size();
      done.push_back(record->meta().key);
    }
    const auto pin_again = [&] {
      for (std::size_t i = first; i < next; ++i) {
        if (blocks[i].pinned_until_s > now_s && there.contains(blocks[i].meta.key)) {
          moved.pins_lost += to.pin(blocks[i].meta.key, blocks[i].pinned_until_s) != BlockStatus::kOk;
        }
      }
    };
    pin_again();
    moved.moved += done.size();
    moved.refused += records.size() - done.size();
    if (!copy && !done.empty()) {
      from.erase(done, watch.deadline());
      if (to.contains(done, watch.deadline()).front() == BlockStatus::kMiss) {
        (void)to.put(records, watch.deadline());
        pin_again();
        moved.same_store = true;
        return moved;
      }
    }
    watch.progress(share(next, blocks.size()));
  }
  return moved;
}

Probe probe(Tier& tier, Deadline deadline) {
  BlockMeta meta;
  meta.key = Hasher("cairn.doctor.v1").u64(static_cast<std::uint64_t>(getpid())).finish();
  meta.parts = {PartMeta{256, 0}, PartMeta{1 << 20, 0}};
  meta.expires_s = unix_seconds() + 60;  // whatever happens, it does not stay
  const std::vector<std::byte> bytes(1 << 20, std::byte{0x5a});
  const std::span<const std::byte> contents[] = {std::span(bytes).first(256), bytes};
  const std::shared_ptr<const BlockRecord> block = BlockRecord::build(std::move(meta), contents);
  const auto ms = [](Clock::duration time) { return std::chrono::duration<double, std::milli>(time).count(); };
  Probe probe;
  const Clock::time_point start = Clock::now();
  probe.put = tier.put({&block, 1}, deadline)[0];
  const Clock::time_point written = Clock::now();
  tier.get({&block->meta().key, 1}, deadline,
           [&](std::size_t, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
             probe.got = record == nullptr || record->intact() ? status : BlockStatus::kCorrupt;
           });
  probe.read_ms = ms(Clock::now() - written);
  probe.write_ms = ms(written - start);
  tier.erase({&block->meta().key, 1}, deadline);
  return probe;
}

std::vector<Explained> explain(Tier& tier, std::span<const Digest> keys, const StoreKey* key, const OtherRecipes& other,
                               Deadline deadline) {
  std::vector<Explained> explained;
  for (const Digest& of : keys) explained.push_back({.key = of, .why = {}});
  tier.get(keys, deadline, [&](std::size_t b, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
    if (status == BlockStatus::kOk && !record->sound()) status = BlockStatus::kCorrupt;
    if (status == BlockStatus::kOk) explained[b].why = record->unreadable_with(key);
    explained[b].status = status;
  });
  bool reachable = true;
  for (std::size_t b = 0; b < explained.size(); ++b) {
    Explained& block = explained[b];
    switch (block.status) {
      case BlockStatus::kOk:
        if (!block.why.empty()) break;
        block.why = reachable ? "here" : "here, but unreachable: a block before it is missing";
        block.usable = reachable;
        continue;
      case BlockStatus::kMiss: block.why = why_missing(tier, block.key, b, other, deadline); break;
      case BlockStatus::kExpired: block.why = "its time had come"; break;
      case BlockStatus::kCorrupt: block.why = "a checksum does not hold: it will be computed and stored anew"; break;
      default: block.why = "the store does not answer: " + std::string(block_status_name(block.status)); break;
    }
    reachable = false;
  }
  return explained;
}

}  // namespace cairn::upkeep
