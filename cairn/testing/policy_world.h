// SPDX-License-Identifier: Apache-2.0
// Test support: sequences under a token policy, and what must hold after every step on one of them. Two worlds that
// take the same steps may differ in threads, in how they compute a text and in what they find again, and must not
// differ in a bit of what comes out.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/cache/pass.h"
#include "cairn/engine/engine.h"
#include "cairn/testing/random.h"
#include "cairn/testing/sequence_pages.h"

namespace cairn::testing {

enum class Act : std::uint8_t { kOpen, kCompute, kPrefill, kDecode, kCancel, kFork, kTrim, kRollBack, kDrop, kForget };

struct PolicyStep {
  Act act = Act::kOpen;
  std::size_t who = 0;        // of the sequences that live
  std::vector<TokenId> text;  // kOpen: the prompt; of those that compute: all of the sequence afterwards
  std::size_t size = 0;       // kTrim: what stays; kRollBack: rows
  std::uint32_t layers = 0;   // kRollBack: at how many it gets
  bool plain = false;         // kOpen: without the policy
  bool prompt = false;        // kCompute: of a prompt that begins or goes on
};

struct StepOutcome {
  std::optional<Error> refused{};
  std::vector<float> logits{};
};

class PolicyWorld {
 public:
  // `by_hand`: texts are computed in random pieces, and the prompt ended after them.
  PolicyWorld(std::unique_ptr<Engine> engine, bool by_hand, std::uint64_t seed)
      : engine_(std::move(engine)), pages_(engine_->cache().options()), by_hand_(by_hand), random_(seed, "pieces") {}

  std::size_t count() const { return live_.size(); }
  std::size_t size(std::size_t who) const { return live_[who].sequence.size(); }
  std::span<const TokenId> text(std::size_t who) const { return live_[who].text; }
  // Of tokens, and of keys, values and positions as attention sees them.
  std::uint64_t content(std::size_t who) const { return pages_.seen(live_[who].sequence).content; }
  // Whether it began with tokens of the prefix index.
  bool hit(std::size_t who) const { return live_[who].hit; }
  std::uint64_t hits() const { return engine_->cache().stats().index.hits; }
  Engine& engine() { return *engine_; }

  StepOutcome take(const PolicyStep& step) {
    std::vector<Seen> before;
    for (const Live& live : live_) before.push_back(pages_.seen(live.sequence));
    const std::uint64_t published = engine_->cache().stats().index.inserted;
    const bool intact = step.act == Act::kOpen || step.who >= live_.size() || live_[step.who].sequence.intact();
    const std::size_t old_count = live_.size();
    StepOutcome outcome = act(step);
    if (outcome.refused) {
      EXPECT_FALSE(outcome.refused->message.empty());
    }
    if (!intact) {
      EXPECT_EQ(engine_->cache().stats().index.inserted, published) << "what is not exact was published";
    }
    std::size_t now = 0;
    for (std::size_t i = 0; i < old_count; ++i) {
      if (step.act == Act::kDrop && i == step.who) continue;
      const Seen after = pages_.seen(live_[now++].sequence);
      const bool own = i == step.who && step.act != Act::kOpen && step.act != Act::kForget && step.act != Act::kFork;
      if (!own) {
        EXPECT_EQ(after.bytes, before[i].bytes) << "a page or number of sequence " << i << " has changed";
      }
      const bool stays = step.act == Act::kRollBack || (outcome.refused && step.act == Act::kTrim);
      if (own && stays) {
        EXPECT_EQ(after.content, before[i].content) << "it did not happen, but shows";
      }
    }
    for (const Live& live : live_) check(live);
    check_bytes();
    return outcome;
  }

  // All sequences go, and the prefixes: nothing is left of the budget.
  void end() {
    live_.clear();
    engine_->cache().clear();
    EXPECT_EQ(engine_->cache().stats().bytes_used, 0u);
    EXPECT_EQ(engine_->cache().stats().bytes_offloaded, 0u);
  }

 private:
  struct Live {
    Sequence sequence;
    std::vector<TokenId> text;
    bool plain = false, hit = false;
    std::size_t ended_at = 0;  // of the prompt
    bool straight = true;      // no step was taken back
    bool prompt = true;        // all of it is a prompt that has not ended
  };
  const PolicySpec* policy_of(const Live& live) const { return live.plain ? nullptr : &*engine_->policy(); }
  bool keeps_all(const Live& live) const {
    const PolicySpec* policy = live.plain || !engine_->policy() ? nullptr : policy_of(live);
    return policy == nullptr || policy->reads_less() || policy->keep == 1;
  }

  bool demotes(const Live& live) const {
    return !live.plain && engine_->policy() && !engine_->policy()->demote.empty();
  }

  void check(const Live& live) const {
    const Sequence& sequence = live.sequence;
    ASSERT_TRUE(std::ranges::equal(sequence.tokens(), live.text));
    const PolicyReport report = sequence.policy_report();
    std::size_t held = report.box_bytes + report.query_bytes;
    pages_.each_page(sequence, [&](const PageView&, const PageFormat& format, const std::byte*) {
      held += PagePool::occupied_bytes(format.codec->page_bytes(format));
    });
    EXPECT_EQ(sequence.bytes_held() + report.bytes_offloaded, held);
    const auto size = static_cast<std::int32_t>(sequence.size());
    for (std::uint32_t l = 0; l < pages_.layers(); ++l) {
      for (std::uint32_t h = 0; h < pages_.spec(l).shape.kv_heads; ++h) {
        std::vector<std::int32_t> found = pages_.positions(sequence, l, h);
        const auto not_after = std::ranges::adjacent_find(found, std::greater_equal<>());
        EXPECT_EQ(not_after, found.end()) << "layer " << l << ", head " << h;
        // What was demoted lies between what stays and the tail, in the order of retentions.
        const std::vector<std::int32_t> demoted = pages_.positions(sequence, l, h, true);
        EXPECT_TRUE(demoted.empty() || demotes(live)) << "layer " << l << ", head " << h;
        found.insert(found.end(), demoted.begin(), demoted.end());
        std::ranges::sort(found);
        EXPECT_EQ(std::ranges::adjacent_find(found), found.end()) << "a token is there twice";
        const std::int32_t tail = size - size % static_cast<std::int32_t>(kBlockTokens);
        std::int32_t must = keeps_all(live) || demotes(live) ? 0 : tail;  // from here on all positions are there
        if (pages_.spec(l).window != 0) must = std::max(0, size + 1 - static_cast<std::int32_t>(pages_.spec(l).window));
        EXPECT_TRUE(found.empty() || (found.front() >= 0 && found.back() < size));
        const auto first = std::ranges::lower_bound(found, must);
        EXPECT_EQ(found.end() - first, size - must) << "layer " << l << ", head " << h;
      }
    }
    if (keeps_all(live)) {
      EXPECT_EQ(sequence.policy_report().bytes_freed, 0u);
    }
    if (!live.plain && engine_->policy() && engine_->policy()->keep == 1) {
      EXPECT_EQ(sequence.policy_report().read_fraction(), 1.0);
    }
  }

  // Without an index all that is used is held by the sequences, each page once however many share it.
  void check_bytes() const {
    const KvCacheStats stats = engine_->cache().stats();
    EXPECT_LE(stats.bytes_used, stats.bytes_budget);
    const std::size_t held = stats.bytes_used + stats.bytes_offloaded;
    if (engine_->cache().options().index_budget_bytes != 0) return;
    std::map<const std::byte*, std::size_t> pages;
    std::size_t boxes = 0, used = 0;
    for (const Live& live : live_) {
      pages_.each_page(live.sequence, [&](const PageView&, const PageFormat& format, const std::byte* page) {
        pages[page] = PagePool::occupied_bytes(format.codec->page_bytes(format));
      });
      boxes += live.sequence.policy_report().box_bytes;
    }
    for (const auto& [page, bytes] : pages) used += bytes;
    EXPECT_GE(held, used);
    if (!engine_->policy() || !engine_->policy()->reads_less()) {
      EXPECT_EQ(held, used);
    }
    if (live_.size() == 1) {
      EXPECT_EQ(held, used + boxes);
    }
    if (live_.empty()) {
      EXPECT_EQ(held, 0u);
    }
  }

  StepOutcome act(const PolicyStep& step) {
    switch (step.act) {
      case Act::kOpen: return open(step);
      case Act::kCompute: return compute(live_[step.who], step.text, step.prompt);
      case Act::kPrefill: return prefill(live_[step.who], step.text);
      case Act::kDecode: return decode(live_[step.who], step.text);
      case Act::kCancel: return cancel(live_[step.who], step.text);
      case Act::kFork: {
        const Live& live = live_[step.who];
        live_.push_back(
            {live.sequence.fork(), live.text, live.plain, live.hit, live.ended_at, live.straight, live.prompt});
        return {};
      }
      case Act::kTrim: return trim(live_[step.who], step.size);
      case Act::kRollBack:
        live_[step.who].straight = false;
        return roll_back(live_[step.who].sequence, step.size, step.layers);
      case Act::kDrop: live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(step.who)); return {};
      case Act::kForget: engine_->cache().clear(); return {};
    }
    return {};
  }

  StepOutcome open(const PolicyStep& step) {
    Sequence sequence = step.plain ? engine_->cache().open(step.text) : engine_->open(step.text);
    EXPECT_LT(sequence.size(), std::max<std::size_t>(step.text.size(), 1));
    const bool hit = sequence.size() > 0;
    const std::vector<TokenId> own(sequence.tokens().begin(), sequence.tokens().end());
    EXPECT_TRUE(std::ranges::equal(own, std::span(step.text).first(own.size())));
    live_.push_back({std::move(sequence), own, step.plain, hit});
    return {};
  }

  StepOutcome compute(Live& live, std::span<const TokenId> text, bool prompt) {
    if (prompt) {
      live.sequence.begin_prompt();
      live.sequence.begin_prefill();
    }
    StepOutcome outcome;  // without logits where it was found to be there already
    if (live.sequence.size() < text.size()) outcome.logits.resize(engine_->config().vocab);
    while (live.sequence.size() < text.size()) {
      const auto left = text.subspan(live.sequence.size());
      const std::size_t piece = 1 + random_.below(std::min<std::size_t>(left.size(), 200));
      const auto tokens = left.first(live.sequence.rows_until_retention(piece));
      const bool last = tokens.size() == left.size();
      const ForwardRows rows[] = {{&live.sequence, tokens, last ? 1u : 0u, outcome.logits.data()}};
      if (Status done = engine_->forward(rows); !done) return {std::move(done).error()};
      live.text.insert(live.text.end(), tokens.begin(), tokens.end());
    }
    if (live.sequence.size() > live.sequence.reused_tokens()) {
      EXPECT_FALSE(live.sequence.set_policy(parse_policy("full").value())) << "a policy came after the first token";
    }
    return outcome;
  }

  // With one token of a text at a time it may be decoding, which is no prompt.
  StepOutcome prefill(Live& live, std::span<const TokenId> text, bool prompt = true) {
    if (by_hand_) {
      if (!prompt) live.sequence.begin_prefill();
      StepOutcome outcome = compute(live, text, prompt);
      if (outcome.refused) return outcome;
      const Sequence before = live.sequence.fork();
      if (Status ended = engine_->finish_prompt(live.sequence); !ended) {
        EXPECT_EQ(pages_.seen(live.sequence).content, pages_.seen(before).content)
            << "a refused end of the prompt shows";
        return {std::move(ended).error()};
      }
      check_moved(before, live.sequence);
      if (prompt && !live.straight && live.prompt) check_straight(live, outcome);
      live.prompt = false;
      end_prompt(live);
      return outcome;
    }
    const auto left = text.subspan(live.sequence.size());
    const auto logits = prompt ? engine_->prefill(live.sequence, left) : engine_->decode(live.sequence, left.front());
    live.text.assign(live.sequence.tokens().begin(), live.sequence.tokens().end());
    EXPECT_TRUE(std::ranges::equal(live.text, text.first(live.text.size())));
    if (!logits) return {logits.error()};
    end_prompt(live);
    return {{}, {logits->begin(), logits->end()}};
  }

  StepOutcome decode(Live& live, std::span<const TokenId> text) {
    StepOutcome all;
    for (std::size_t end = live.sequence.size() + 1; end <= text.size(); ++end) {
      StepOutcome one = prefill(live, text.first(end), false);
      if (one.refused) return one;
      all.logits.insert(all.logits.end(), one.logits.begin(), one.logits.end());
    }
    return all;
  }

  StepOutcome cancel(Live& live, std::span<const TokenId> text) {
    std::atomic<bool> stop = false;
    const auto logits =
        engine_->prefill(live.sequence, text.subspan(live.sequence.size()),
                         {.on_progress = [&](std::size_t, std::size_t) { stop = true; }, .cancel = &stop});
    live.text.assign(live.sequence.tokens().begin(), live.sequence.tokens().end());
    if (!logits) return {logits.error()};
    end_prompt(live);
    return {{}, {logits->begin(), logits->end()}};
  }

  StepOutcome trim(Live& live, std::size_t size) {
    const std::size_t held = live.sequence.bytes_held();
    if (Status done = live.sequence.trim(size); !done) {
      EXPECT_EQ(live.sequence.bytes_held(), held);
      return {std::move(done).error()};
    }
    live.text.resize(size);
    live.straight = false;
    if (size == 0) live.prompt = true;
    if (size < live.ended_at) live.ended_at = 0;
    if (size == 0) {
      EXPECT_EQ(live.sequence.bytes_held(), 0u);
    }
    if (size == 0) {
      EXPECT_TRUE(live.sequence.intact());
    }
    return {};
  }

  // A pass that stops somewhere between the layers.
  StepOutcome roll_back(Sequence& sequence, std::size_t count, std::uint32_t end) {
    const std::uint32_t heads = engine_->config().heads;
    PassRunner runner(heads, engine_->pool());
    std::vector<std::int32_t> positions;
    std::vector<std::uint32_t> numbers;
    for (std::size_t i = 0; i < count; ++i) {
      positions.push_back(static_cast<std::int32_t>(sequence.size() + i));
      numbers.push_back(static_cast<std::uint32_t>(i));
    }
    const PassRows rows[] = {{&sequence, positions}};
    Result<Pass> pass = runner.begin(rows);
    if (!pass) return {pass.error()};
    for (std::uint32_t l = 0; l < std::min(end, pages_.layers()); ++l) {
      const PageShape shape = pages_.spec(l).shape;
      const auto k = random_floats(count * shape.values_per_token(), l + 1);
      const auto q = random_floats(count * heads * shape.head_dim, l + 9);
      std::vector<float> out(count * heads * shape.value_dim());
      pass->append(l, k.data(), k.data());
      if (Status done = pass->attend({.layer = l, .rows = numbers, .q = q.data(), .out = out.data()}); !done) {
        return {std::move(done).error()};
      }
    }
    return {};
  }

  // What was taken back has left nothing: a sequence that computed the text at once is the same. Where blocks are
  // encoded a cut leaves what they decode to.
  void check_straight(const Live& live, const StepOutcome& outcome) {
    for (const auto& codecs : engine_->cache().options().plan.layers) {
      if (codecs.keys->encode != nullptr || codecs.values->encode != nullptr) return;
    }
    Sequence other = live.plain ? engine_->cache().open({}) : engine_->open({});
    const auto logits = engine_->prefill(other, live.text);
    ASSERT_TRUE(logits) << logits.error().message;
    EXPECT_TRUE(std::ranges::equal(*logits, outcome.logits)) << "not as if it had been computed at once";
    EXPECT_EQ(pages_.seen(other).content, pages_.seen(live.sequence).content) << "not as if computed at once";
  }

  // As the prompt ended, raw rows moved and stayed what they were, at the positions that they had.
  void check_moved(const Sequence& before, const Sequence& after) const {
    for (std::uint32_t l = 0; l < pages_.layers(); ++l) {
      if (!pages_.owns(l)) continue;
      for (std::uint32_t h = 0; h < pages_.spec(l).shape.kv_heads; ++h) {
        const auto old = pages_.rows_by_position(before, l, h), now = pages_.rows_by_position(after, l, h);
        for (const auto& [position, row] : now) {
          const auto was = old.find(position);
          ASSERT_NE(was, old.end()) << "layer " << l << ", head " << h << ", position " << position;
          ASSERT_EQ(was->second, row) << "layer " << l << ", head " << h << ", position " << position;
        }
      }
    }
  }
  // Of retention, what stays: the report says how much, and it is within the budget, but for what is protected.
  void end_prompt(Live& live) {
    if (live.ended_at != 0) return;
    live.ended_at = live.sequence.size();
    if (keeps_all(live) || policy_of(live)->prompt_stays) return;
    const PolicySpec& policy = *policy_of(live);
    const std::size_t size = live.sequence.size();
    std::size_t kept = 0, allowed = 0, demoted = 0;
    for (std::uint32_t l = 0; l < pages_.layers(); ++l) {
      if (!pages_.owns(l) || pages_.spec(l).window != 0) continue;
      for (std::uint32_t h = 0; h < pages_.spec(l).shape.kv_heads; ++h) {
        const std::vector<std::int32_t> found = pages_.positions(live.sequence, l, h);
        const auto is_protected = [&](std::int32_t position) {
          const auto p = static_cast<std::size_t>(position);
          return p < policy.sinks || p + policy.recent >= size || p >= size / kBlockTokens * kBlockTokens;
        };
        const auto stay = static_cast<std::size_t>(std::ranges::count_if(found, is_protected));
        kept += found.size();
        demoted += pages_.positions(live.sequence, l, h, true).size();
        allowed += std::max(stay, static_cast<std::size_t>(std::llround(policy.keep * static_cast<double>(size))));
      }
    }
    // Where demoting would save nothing, nothing is demoted.
    if (policy.demote.empty()) {
      EXPECT_LE(kept, allowed);
    }
    EXPECT_EQ(live.sequence.policy_report().tokens_kept, kept);
    EXPECT_EQ(live.sequence.policy_report().tokens_demoted, demoted);
  }

  std::unique_ptr<Engine> engine_;
  const SequencePages pages_;
  const bool by_hand_;
  SeededRandom random_;
  std::vector<Live> live_;  // after the engine
};

}  // namespace cairn::testing
