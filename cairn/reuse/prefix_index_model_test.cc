// SPDX-License-Identifier: Apache-2.0
// Random operations on a PrefixIndex against a plain map from token paths to blocks, whose eviction scans everything.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "cairn/reuse/prefix_index.h"

namespace cairn {
namespace {

using Path = std::vector<TokenId>;  // one symbol per block; the tokens of a block are its symbol, 64 times

constexpr std::size_t kPage = PagePool::kPageAlignment;
const Digest kRoot = chain_root(Digest{}, "model");

std::vector<TokenId> tokens_of(const Path& path) {
  std::vector<TokenId> tokens;
  for (TokenId symbol : path) tokens.insert(tokens.end(), kBlockTokens, symbol);
  return tokens;
}

Path prefix(const Path& path, std::size_t blocks) {
  return {path.begin(), path.begin() + static_cast<long>(blocks)};
}

struct Model {
  struct Entry {
    std::uint64_t stamp = 0;
    const std::byte* first_page = nullptr;
  };
  std::map<Path, Entry> entries;
  std::size_t budget = 0;
  std::size_t charge = 0;
  std::uint64_t clock = 0;

  std::size_t depth(const Path& path) const {
    std::size_t n = 0;
    while (n < path.size() && entries.contains(prefix(path, n + 1))) ++n;
    return n;
  }
  void use(const Path& path) {
    ++clock;
    for (std::size_t n = 1; n <= path.size(); ++n) entries.at(prefix(path, n)).stamp = clock;
  }
  std::size_t children(const Path& path) const {
    return std::ranges::count_if(entries, [&](const auto& e) {
      return e.first.size() == path.size() + 1 && prefix(e.first, path.size()) == path;
    });
  }
  std::vector<Path> leaves_by_age() const {
    std::vector<Path> leaves;
    for (const auto& [path, entry] : entries) {
      if (children(path) == 0) leaves.push_back(path);
    }
    std::ranges::sort(leaves, {}, [&](const Path& path) { return entries.at(path).stamp; });
    return leaves;
  }
  // Returns what the pages freed, two for each block not held by a reader.
  std::size_t evict(std::size_t bytes, const std::multiset<const std::byte*>& held) {
    const auto unused = [&](const Path& path) { return !held.contains(entries.at(path).first_page); };
    std::size_t freed = 0;
    for (bool progress = true; progress && freed < bytes;) {
      progress = false;
      for (const Path& leaf : leaves_by_age()) {
        if (!unused(leaf)) continue;
        entries.erase(leaf);
        freed += 2 * kPage;
        progress = true;
        break;
      }
    }
    for (bool progress = true; progress && freed < bytes;) {
      progress = false;
      for (const Path& leaf : leaves_by_age()) {
        Path top = leaf;
        while (!top.empty() && children(top) <= 1 && !unused(top)) top.pop_back();
        if (top.empty() || children(top) > 1) continue;
        for (std::size_t n = leaf.size(); n >= top.size(); --n) entries.erase(prefix(leaf, n));
        freed += 2 * kPage;
        progress = true;
        break;
      }
    }
    return freed;
  }
  InsertOutcome insert(const Path& path, const std::byte* first_page) {
    if (entries.contains(path)) {
      use(path);
      return InsertOutcome::kDuplicate;
    }
    const Path parent = prefix(path, path.size() - 1);
    if (depth(parent) != parent.size()) return InsertOutcome::kOrphan;
    if (path.size() * charge > budget) return InsertOutcome::kNoRoom;
    entries[path] = {0, first_page};
    use(path);
    while (entries.size() * charge > budget) entries.erase(leaves_by_age().front());
    return InsertOutcome::kInserted;
  }
};

struct Readers {
  std::vector<PrefixMatch> matches;
  std::multiset<const std::byte*> held;

  void add(PrefixMatch match) {
    for (const auto& block : match.blocks) held.insert(block.pages.page(0, PageSlot::kKeys).data());
    matches.push_back(std::move(match));
  }
  void remove(std::size_t i) {
    for (const auto& block : matches[i].blocks) held.erase(held.find(block.pages.page(0, PageSlot::kKeys).data()));
    matches.erase(matches.begin() + static_cast<long>(i));
  }
};

SealedBlock make_block(PagePool& pool, const Path& path) {
  SealedBlock block{.parent = kRoot, .key = kRoot, .tokens = {}, .pages = BlockPages(1)};
  for (TokenId symbol : path) {
    block.tokens.fill(symbol);
    block.parent = block.key;
    block.key = block_key(block.parent, block.tokens);
  }
  auto reservation = pool.reserve(2 * kPage);
  for (const PageSlot slot : kPageSlots) block.pages.page(0, slot) = reservation->take(kPage);
  return block;
}

// Ranges of full width in every case, where RapidCheck would start with narrow ones.
Path make_path() {
  const auto depth = *rc::gen::resize(100, rc::gen::inRange<std::size_t>(1, 6));
  return *rc::gen::resize(100, rc::gen::container<Path>(depth, rc::gen::inRange<TokenId>(0, 3)));
}

void run_model() {
  const auto pool = *PagePool::create(4096 * kPage, std::array<std::size_t, 1>{kPage});
  Model model;
  {
    PrefixIndex probe(1 << 20);
    probe.insert(kRoot, make_block(*pool, {1}));
    model.charge = probe.stats().bytes;
  }
  model.budget = *rc::gen::inRange<std::size_t>(1, 12) * model.charge + *rc::gen::inRange<std::size_t>(0, model.charge);
  PrefixIndex index(model.budget);
  Readers readers;
  std::size_t evictions = 0;

  const auto steps = *rc::gen::inRange(0, 200);
  for (int step = 0; step < steps; ++step) {
    Path path = make_path();
    const std::size_t before = model.entries.size();
    bool inserted = false;
    switch (*rc::gen::weightedElement<int>({{6, 0}, {3, 1}, {2, 2}, {2, 3}, {2, 4}})) {
      case 0: {
        // Mostly the next block of what is there; orphans now and then.
        if (path.back() != 0) path = prefix(path, std::min(model.depth(path) + 1, path.size()));
        SealedBlock block = make_block(*pool, path);
        const std::byte* const first_page = block.pages.page(0, PageSlot::kKeys).data();
        const InsertResult result = index.insert(kRoot, std::move(block));
        RC_ASSERT(result.outcome == model.insert(path, first_page));
        inserted = result.outcome == InsertOutcome::kInserted;
        if (result.outcome == InsertOutcome::kDuplicate) {
          RC_ASSERT(result.first_pages.page(0, PageSlot::kKeys).data() == model.entries.at(path).first_page);
        }
        break;
      }
      case 1:
      case 2: {
        PrefixMatch match = index.match(kRoot, tokens_of(path));
        const std::size_t depth = model.depth(path);
        RC_ASSERT(match.blocks.size() == depth);
        for (std::size_t n = 0; n < depth; ++n) {
          RC_ASSERT(match.blocks[n].pages.page(0, PageSlot::kKeys).data() ==
                    model.entries.at(prefix(path, n + 1)).first_page);
        }
        if (depth > 0) model.use(prefix(path, depth));
        if (path.front() == 0) readers.add(std::move(match));
        break;
      }
      case 3:
        if (!readers.matches.empty()) readers.remove(static_cast<std::size_t>(path.front()) % readers.matches.size());
        break;
      default: {
        const std::size_t bytes = path.size() * kPage;
        RC_ASSERT(index.evict(bytes) == model.evict(bytes, readers.held));
      }
    }
    evictions += before + (inserted ? 1 : 0) - model.entries.size();
    const PrefixIndexStats stats = index.stats();
    RC_ASSERT(stats.blocks == model.entries.size());
    RC_ASSERT(stats.bytes == model.entries.size() * model.charge);
    RC_ASSERT(stats.bytes <= model.budget);
    RC_ASSERT(stats.evictions == evictions);
  }
  for (const auto& [path, entry] : model.entries)
    RC_ASSERT(index.match(kRoot, tokens_of(path)).blocks.size() == path.size());
  readers = {};
  index.clear();
  RC_ASSERT(pool->bytes_used() == 0u);
}

// What holds whatever the policy: the budget, chains without holes, and that eviction frees what it says.
void run_policy(const std::string& name) {
  const auto pool = *PagePool::create(4096 * kPage, std::array<std::size_t, 1>{kPage});
  std::size_t charge = 0;
  {
    PrefixIndex probe(1 << 20);
    probe.insert(kRoot, make_block(*pool, {1}));
    charge = probe.stats().bytes;
  }
  const std::size_t budget = *rc::gen::inRange<std::size_t>(1, 12) * charge;
  PrefixIndex index(budget, *make_chain_policy(name, budget));
  Readers readers;
  const auto steps = *rc::gen::resize(300, rc::gen::inRange(0, 300));
  for (int step = 0; step < steps; ++step) {
    Path path = make_path();
    switch (*rc::gen::weightedElement<int>({{6, 0}, {3, 1}, {1, 2}, {2, 3}})) {
      case 0: {
        std::size_t there = 0;
        for (const auto& block : index.list(SIZE_MAX)) there = std::max<std::size_t>(there, block.depth + 1);
        path = prefix(path, std::min(path.size(), there + 1));
        const std::size_t depth = index.match(kRoot, tokens_of(path)).blocks.size();
        if (depth + 1 < path.size()) path = prefix(path, depth + 1);
        const InsertOutcome outcome = index.insert(kRoot, make_block(*pool, path)).outcome;
        const bool fits = path.size() * charge <= budget;
        RC_ASSERT(outcome == (depth == path.size() ? InsertOutcome::kDuplicate
                              : fits               ? InsertOutcome::kInserted
                                                   : InsertOutcome::kNoRoom));
        // Its own chain stayed.
        if (fits) RC_ASSERT(index.match(kRoot, tokens_of(path)).blocks.size() == path.size());
        break;
      }
      case 1: readers.add(index.match(kRoot, tokens_of(path))); break;
      case 2:
        if (!readers.matches.empty()) readers.remove(static_cast<std::size_t>(path.front()) % readers.matches.size());
        break;
      default: {
        const std::size_t bytes = path.size() * kPage, used = pool->bytes_used();
        const std::size_t freed = index.evict(bytes);
        RC_ASSERT(used - pool->bytes_used() == freed);
        if (readers.matches.empty()) RC_ASSERT(freed >= std::min(bytes, used));
      }
    }
    RC_ASSERT(index.stats().bytes <= budget);
    // Every block's parent is there: nothing in the middle of a chain was dropped, in use or not.
    std::set<Digest> keys{kRoot};
    for (const IndexedBlock& block : index.list(SIZE_MAX)) {
      RC_ASSERT(keys.contains(block.parent));
      keys.insert(block.key);
    }
    RC_ASSERT(keys.size() == index.stats().blocks + 1);
  }
  readers = {};
  index.clear();
  RC_ASSERT(pool->bytes_used() == 0u);
  RC_ASSERT(index.insert(kRoot, make_block(*pool, {1})).outcome == InsertOutcome::kInserted);
}

TEST(PrefixIndexModel, EveryPolicyTakesLeavesAndKeepsTheBudget) {
  for (const std::string& name : eviction_policy_names()) {
    EXPECT_TRUE(rc::check([&] { run_policy(name); })) << name;
  }
  EXPECT_FALSE(make_chain_policy("none", 0));
}

TEST(PrefixIndexModel, BehavesLikeAMapOfPaths) {
  EXPECT_TRUE(rc::check(run_model));
}

}  // namespace
}  // namespace cairn
