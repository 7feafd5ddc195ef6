// SPDX-License-Identifier: Apache-2.0
// Random operations on sequences of one small cache against plain vectors of tokens.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "cairn/cache/cache_model_test-inl.h"
#include "cairn/cache/kv_cache.h"

namespace cairn {
namespace {

using testing::difference;
using testing::model_of;
using testing::model_token;
using testing::ModelToken;

struct Live {
  Sequence sequence;
  std::vector<ModelToken> model;
};

// A prompt that follows one stream and may change to another one on its way.
std::vector<TokenId> make_prompt() {
  const auto [first, second, part] =
      *rc::gen::tuple(rc::gen::inRange(0, 3), rc::gen::inRange(0, 3), rc::gen::inRange<std::size_t>(0, 200));
  const auto rest = *rc::gen::inRange<std::size_t>(0, 150);
  std::vector<TokenId> prompt = testing::stream(first, 0, part);
  std::ranges::copy(testing::stream(second, part, rest), std::back_inserter(prompt));
  return prompt;
}

void check_attached(const Sequence& sequence, const std::vector<TokenId>& prompt) {
  RC_ASSERT(sequence.size() % kBlockTokens == 0u);
  RC_ASSERT(sequence.size() < std::max<std::size_t>(prompt.size(), 1));
  RC_ASSERT(std::ranges::equal(sequence.tokens(), std::span(prompt).first(sequence.size())));
  RC_ASSERT(sequence.block_keys().size() == sequence.size() / kBlockTokens);
}

void check_append(KvCache& cache, Live& live, std::span<const TokenId> ids) {
  const bool plain = *rc::gen::weightedElement<bool>({{9, true}, {1, false}});
  std::vector<ModelToken> model = live.model;
  std::vector<std::int32_t> positions;
  for (TokenId id : ids) {
    positions.push_back(static_cast<std::int32_t>(plain ? model.size() : 3 * model.size() + 5));
    model.push_back(model_token(model, id, positions.back()));
  }
  auto pass = testing::begin(live.sequence, positions);
  if (!pass) {
    RC_ASSERT(pass.error().code == ErrorCode::kOutOfBudget);
    return;
  }
  testing::store_tokens(*pass, std::span(model).subspan(live.model.size()));
  RC_ASSERT(difference(cache, live.sequence, model, ids.size()) == "");
  if (*rc::gen::weightedElement<bool>({{1, true}, {4, false}})) return;  // rolled back
  RC_ASSERT(pass->commit(ids).has_value());
  live.model = std::move(model);
}

// Some tokens of the sequence in any order, at new positions, perhaps with new ones behind them.
void check_rewrite(KvCache& cache, Live& live) {
  std::vector<ModelToken> model = live.model;
  const auto added = *rc::gen::inRange<std::size_t>(0, 70);
  std::vector<std::size_t> slots;
  for (std::size_t s = 0; s < live.model.size(); ++s) {
    if (*rc::gen::weightedElement<bool>({{1, true}, {9, false}})) slots.push_back(s);
  }
  for (std::size_t i = 0; i < added; ++i) slots.push_back(live.model.size() + i);
  model.resize(live.model.size() + added);
  for (std::size_t i = slots.size(); i > 1; --i) std::swap(slots[i - 1], slots[*rc::gen::inRange<std::size_t>(0, i)]);
  std::vector<std::int32_t> positions;
  std::vector<TokenId> ids;
  std::vector<ModelToken> rows;
  for (const std::size_t slot : slots) {
    ids.push_back(*rc::gen::inRange<TokenId>(0, 5000));
    positions.push_back(static_cast<std::int32_t>(slot + 3 * (slot % 7)));
    model[slot] = model_token({}, ids.back(), positions.back());
    rows.push_back(model[slot]);
  }
  if (slots.empty()) return;
  const bool rewrites = std::ranges::any_of(slots, [&](std::size_t s) { return s < live.model.size(); });
  auto pass = testing::begin(live.sequence, positions, slots);
  if (!pass) {
    RC_ASSERT(pass.error().code == ErrorCode::kOutOfBudget);
    RC_ASSERT(difference(cache, live.sequence, live.model) == "");
    return;
  }
  testing::store_tokens(*pass, rows);
  if (*rc::gen::arbitrary<bool>()) return;  // rolled back
  RC_ASSERT(pass->commit(ids).has_value());
  RC_ASSERT(!rewrites || !live.sequence.intact());
  live.model = std::move(model);
}

void check_all(const KvCache& cache, const std::vector<Live>& all) {
  for (const Live& live : all) RC_ASSERT(difference(cache, live.sequence, live.model) == "");
}

void run_model() {
  const auto blocks = *rc::gen::inRange<std::size_t>(3, 24);
  const auto cache = testing::make_cache(blocks, *rc::gen::inRange<std::size_t>(0, blocks + 2));
  std::vector<Live> all;
  const auto steps = *rc::gen::inRange(0, 100);
  for (int step = 0; step < steps; ++step) {
    const int action = *rc::gen::weightedElement<int>({{4, 0}, {8, 1}, {2, 2}, {3, 3}, {3, 4}, {1, 5}, {3, 6}});
    if (action == 0 && all.size() < 6) {
      const std::vector<TokenId> prompt = make_prompt();
      Sequence sequence = cache->open(prompt);
      check_attached(sequence, prompt);
      Live live{std::move(sequence), {}};
      live.model = model_of(live.sequence.tokens());
      check_append(*cache, live, std::span(prompt).subspan(live.model.size()));
      all.push_back(std::move(live));
    } else if (action == 5) {
      cache->clear();
    } else if (!all.empty()) {
      Live& live = all[*rc::gen::inRange<std::size_t>(0, all.size())];
      const auto stream = *rc::gen::inRange(0, 3);
      if (action == 1) {
        check_append(*cache, live, testing::stream(stream, live.model.size(), *rc::gen::inRange<std::size_t>(0, 150)));
      } else if (action == 2 && all.size() < 6) {
        Live twin{live.sequence.fork(), live.model};
        all.push_back(std::move(twin));
      } else if (action == 3) {
        live.model.resize(*rc::gen::inRange<std::size_t>(0, live.model.size() + 1));
        RC_ASSERT(live.sequence.trim(live.model.size()).has_value());
      } else if (action == 6) {
        check_rewrite(*cache, live);
      } else if (action == 4) {
        std::swap(live, all.back());
        all.pop_back();
      }
    }
    if (step % 3 == 0) check_all(*cache, all);
    const KvCacheStats stats = cache->stats();
    RC_ASSERT(stats.high_water <= stats.bytes_budget);
    RC_ASSERT(stats.index.bytes <= cache->options().index_budget_bytes);
  }
  check_all(*cache, all);
  all.clear();
  cache->clear();
  RC_ASSERT(cache->stats().bytes_used == 0u);
}

TEST(KvCacheModel, BehavesLikeVectorsOfTokens) {
  EXPECT_TRUE(rc::check(run_model));
}

}  // namespace
}  // namespace cairn
