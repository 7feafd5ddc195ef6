// SPDX-License-Identifier: Apache-2.0
// Random token policies on random codecs, and random steps on sequences that share prefixes: two worlds that take them
// at the same time, one of them with the prefix index, give the same bits, and in each of them the invariants of
// docs/policies.md hold after every step (testing/policy_world.h). With a budget for everything a third world, which
// has no policy, gives these bits too.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cairn/policy/policy.h"
#include "cairn/testing/policy_world.h"
#include "cairn/testing/tiny_cold.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {
namespace {

using testing::Act;
using testing::PolicyStep;
using testing::PolicyWorld;
using testing::StepOutcome;

constexpr std::size_t kContext = 4096, kDocument = 1200, kMaxLive = 4;

// One model for all rounds: siblings have caches of their own.
Engine& family(const std::string& arch, unsigned threads) {
  static std::map<std::pair<std::string, unsigned>, std::unique_ptr<Engine>> engines;
  std::unique_ptr<Engine>& engine = engines[{arch, threads}];
  if (engine == nullptr) {
    TinyModel tiny;
    tiny.arch = arch;
    tiny.type = TinyModel::kQ8_0;
    tiny.layers = 3;
    tiny.context = kContext;
    engine = load_tiny(tiny.builder().build(), {.threads = threads}).value();
  }
  return *engine;
}

struct Setting {
  std::string arch, codec, policy;
  std::uint64_t seed = 0;
};

std::unique_ptr<PolicyWorld> world(const Setting& setting, unsigned threads, bool reuse, bool policy = true) {
  EngineOptions options;
  options.kv_budget_bytes = std::size_t{64} << 20;
  options.codec = with_cold_tables(family(setting.arch, threads), setting.codec);
  options.policy = policy ? setting.policy : "";
  options.reuse = reuse;
  // In one world it fills up now and then.
  options.offload = {.folder = reuse ? ::testing::TempDir() : "",
                     .bytes = reuse ? std::size_t{64} << 20 : std::size_t{300} << 10};
  auto engine = family(setting.arch, threads).sibling(options);
  if (!engine) return nullptr;
  return std::make_unique<PolicyWorld>(*std::move(engine), !reuse, setting.seed);
}

// A row of the table with some of its parts changed.
std::string some_policy(SeededRandom& random) {
  const NamedPolicy& row = random.pick(policy_table());
  std::string text(row.name);
  const std::vector<std::pair<std::string, std::vector<std::string>>> parts = {
      {"keep", {"1", "0.75", "0.5", "0.3", "0.2", "0.05", "0.001"}},
      {"mass", {"1", "0.9", "0.5"}},
      {"layers", {"own", "pairs"}},
      {"unread", {"stay", "offload"}},
      {"rest", {"none", "mean", "boxes"}},
      {"scorer",
       {"recency", "random", "knorm", "keydiff", "lagkv", "expected", "mass", "replay", "peak", "sum", "observed",
        "salience"}},
      {"budget", {"uniform", "pyramid", "prefix", "ada", "entropy", "global", "slope"}},
      {"group", {"1", "2", "8"}},
      {"unit-by", {"mean", "best"}},
      {"task", {"find", "gather"}},
      {"punctuation", {"0", "0.5", "1"}},
      {"then", {"score", "age"}},
      {"heads", {"own", "shared"}},
      {"sinks", {"0", "1", "4", "70"}},
      {"recent", {"0", "1", "32", "64", "100", "5000"}},
      {"recent-share", {"0", "0.3", "1"}},
      {"window", {"1", "8", "32", "300"}},
      {"pool", {"1", "3", "7"}},
      {"unit", {"1", "8", "16", "64"}},
      {"chunk", {"0", "64", "192", "256"}},
      {"every", {"0", "64", "128"}},
      {"region", {"all", "decode"}},
      {"demote", {"none", "kivi2-g32", "kivi2-g64", "tok4", "kivi4-g64"}},
  };
  for (const auto& [name, values] : parts) {
    const bool often = name == "keep" || name == "layers" || name == "unread" || name == "rest";
    if (random.below(often ? 2 : 5) != 0) continue;
    const std::string with = text + "+" + name + "=" + random.pick(values);
    if (parse_policy(with)) text = with;
  }
  return text;
}

// One that keeps less within prompts and looks at no query.
std::string some_chunked_policy(SeededRandom& random) {
  for (;;) {
    const std::string text = some_policy(random);
    const PolicySpec spec = parse_policy(text).value();
    if (spec.reads_less() || spec.sees_queries()) continue;
    if (spec.chunk != 0) return text;
    if (const std::string with = text + "+chunk=64"; parse_policy(with)) return with;
  }
}

// Writes down what happened, for a failure.
class Story {
 public:
  explicit Story(const Setting& setting) {
    text_ << "seed " << setting.seed << ": " << setting.arch << ", codec " << setting.codec << ", policy "
          << setting.policy;
  }
  void tell(const PolicyStep& step, const StepOutcome& outcome) {
    constexpr const char* kNames[] = {"open", "compute", "prefill",   "decode", "cancel",
                                      "fork", "trim",    "roll back", "drop",   "forget"};
    text_ << "\n  " << kNames[static_cast<std::size_t>(step.act)] << " of " << step.who;
    if (!step.text.empty()) text_ << ", " << step.text.size() << " tokens";
    if (step.size != 0) text_ << ", " << step.size;
    if (step.plain) text_ << ", without the policy";
    if (outcome.refused) text_ << ": refused, " << outcome.refused->message;
  }
  std::string text() const { return text_.str(); }

 private:
  std::ostringstream text_;
};

class Round {
 public:
  // `renews`: on one document, of which new sequences keep coming; older ones go for them.
  explicit Round(Setting setting, bool renews = false)
      : setting_(std::move(setting)), random_(setting_.seed, "steps"), story_(setting_), renews_(renews) {
    for (std::uint64_t d = 0; d < (renews ? 1u : 2u); ++d)
      documents_.push_back(random_prompt(setting_.seed * 2 + d, kDocument));
  }

  // False where the cache cannot follow the policy.
  bool run(std::size_t steps) {
    found_ = world(setting_, 1, true);
    cold_ = world(setting_, 2, false);
    if (found_ == nullptr) return false;
    const PolicySpec policy = parse_policy(setting_.policy).value();
    if (policy.keep == 1) plain_ = world(setting_, 2, false, false);
    PolicyStep first = opening();
    take(first);
    for (std::size_t i = 0; i < steps && !::testing::Test::HasFailure(); ++i) take(next());
    if (!::testing::Test::HasFailure()) {
      for (const auto& each : {&found_, &cold_, &plain_}) {
        if (*each != nullptr) (*each)->end();
      }
    }
    if (::testing::Test::HasFailure()) ADD_FAILURE() << story_.text();
    return true;
  }
  std::uint64_t hits() const { return found_->hits(); }
  std::uint64_t kept_hits() const { return found_->engine().cache().stats().kept.hits; }
  std::size_t refusals() const { return refusals_; }

 private:
  // A prompt: the beginning of a document, and a few tokens of its own.
  PolicyStep opening() {
    const std::vector<TokenId>& document = random_.pick(documents_);
    const std::size_t size = random_.below(5) == 0 ? random_.below(70) : 100 + random_.below(500);
    PolicyStep step{.act = Act::kOpen,
                    .text = {document.begin(), document.begin() + static_cast<std::ptrdiff_t>(size)}};
    if (random_.below(2) == 0) {
      for (const TokenId id : random_prompt(random_.next(), 1 + random_.below(40))) step.text.push_back(id);
    }
    step.plain = random_.below(5) == 0;
    prompts_.push_back(step.text);
    return step;
  }

  std::vector<TokenId> longer(std::size_t who, std::size_t by) {
    std::vector<TokenId> text = texts_[who];
    for (const TokenId id : random_prompt(random_.next(), by)) text.push_back(id);
    return text;
  }

  PolicyStep next() {
    if (texts_.empty()) return opening();
    PolicyStep step;
    step.who = random_.below(texts_.size());
    const std::size_t size = texts_[step.who].size();
    if (size < prompts_[step.who].size()) {  // it has its prompt to compute
      step.text = prompts_[step.who];
      const std::size_t left = step.text.size() - size;
      switch (random_.below(6)) {
        case 0:
          step.act = Act::kCompute;
          step.text.resize(size + 1 + random_.below(left));
          return step;
        case 1: step.act = Act::kCancel; return step;
        case 2:
          if (found_->size(step.who) == size) break;
          [[fallthrough]];
        default: step.act = Act::kPrefill; return step;
      }
      step.text.clear();
    }
    switch (random_.below(14)) {
      case 0:
      case 1:
      case 2:
        if (texts_.size() < kMaxLive) return opening();
        if (renews_) {
          step.act = Act::kDrop;
          return step;
        }
        [[fallthrough]];
      case 3: {
        step.act = Act::kPrefill;
        step.text = longer(step.who, 1 + random_.below(200));
        return step;
      }
      case 4:
      case 5: {
        step.act = Act::kDecode;
        step.text = longer(step.who, 1 + random_.below(80));
        return step;
      }
      case 6:
        step.act = Act::kCompute;
        step.text = longer(step.who, 1 + random_.below(90));
        return step;
      case 7:
      case 8:
        if (texts_.size() >= kMaxLive) break;
        step.act = Act::kFork;
        return step;
      case 9:
      case 10:
      case 11:
        step.act = Act::kTrim;
        step.size = random_.below(3) == 0 ? random_.below(size + 1) : size - std::min(size, random_.below(90));
        return step;
      case 12: step.act = random_.below(2) == 0 ? Act::kDrop : Act::kForget; return step;
      default: break;
    }
    step.act = Act::kRollBack;
    step.size = 1 + random_.below(100);
    step.layers = static_cast<std::uint32_t>(random_.below(5));
    return step;
  }

  static bool same(const StepOutcome& a, const StepOutcome& b) {
    return a.refused.has_value() == b.refused.has_value() && a.logits.size() == b.logits.size() &&
           (a.logits.empty() || std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)) == 0);
  }

  void take(const PolicyStep& step) {
    const bool hit = step.act != Act::kOpen && found_->hit(step.who);
    const StepOutcome outcome = found_->take(step);
    story_.tell(step, outcome);
    refusals_ += outcome.refused ? 1 : 0;
    PolicyStep same_step = step;
    if (step.act == Act::kCancel) {  // as far as it came
      same_step.prompt = true;
      if (outcome.refused) same_step.text.resize(found_->size(step.who));
      same_step.act = outcome.refused ? Act::kCompute : Act::kPrefill;
      if (outcome.refused && outcome.refused->code != ErrorCode::kCancelled) same_step.act = Act::kPrefill;
    }
    // One that was found has less to look back at than one that was computed, and may refuse to go back so far.
    if (outcome.refused && step.act == Act::kTrim && hit) return remember(step);
    const StepOutcome cold = cold_->take(same_step);
    if (step.act == Act::kCancel && same_step.act == Act::kCompute) {
      EXPECT_FALSE(cold.refused);
    } else {
      const bool found = step.act == Act::kCompute && !outcome.refused && outcome.logits.empty();
      EXPECT_TRUE(found || same(outcome, cold)) << (cold.refused ? cold.refused->message : "other bits");
    }
    if (plain_ != nullptr && !cold.refused) {
      EXPECT_TRUE(same(cold, plain_->take(same_step))) << "not as without a policy";
    }
    for (std::size_t i = 0; i < cold_->count(); ++i) {
      if (found_->size(i) != cold_->size(i)) continue;  // its prompt was found, and not computed yet
      EXPECT_EQ(found_->content(i), cold_->content(i)) << "sequence " << i << " of the two worlds differs";
    }
    remember(step);
  }

  void remember(const PolicyStep& step) {
    const auto who = static_cast<std::ptrdiff_t>(step.who);
    switch (step.act) {
      case Act::kOpen: texts_.emplace_back(); break;
      case Act::kFork:
        texts_.push_back(texts_[step.who]);
        prompts_.push_back(prompts_[step.who]);
        break;
      case Act::kDrop:
        texts_.erase(texts_.begin() + who);
        prompts_.erase(prompts_.begin() + who);
        break;
      case Act::kForget: break;
      default: {
        const std::span<const TokenId> now = cold_->text(step.who);
        texts_[step.who].assign(now.begin(), now.end());
        std::vector<TokenId>& prompt = prompts_[step.who];
        const bool on_its_way = now.size() < prompt.size() && std::equal(now.begin(), now.end(), prompt.begin());
        if (!on_its_way || step.act == Act::kTrim) prompt.clear();
      }
    }
  }

  const Setting setting_;
  SeededRandom random_;
  Story story_;
  const bool renews_;
  std::unique_ptr<PolicyWorld> found_, cold_, plain_;
  std::vector<std::vector<TokenId>> documents_, texts_, prompts_;  // the last two of the sequences
  std::size_t refusals_ = 0;
};

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(PolicyProperties, HoldAfterEveryStep) {
  const std::vector<std::string> codecs = {"raw_f16",
                                           "raw_f32",
                                           "tok4",
                                           "kivi4-g32",
                                           "raw_f32/tok8",
                                           "tok4+sinks=1",
                                           "tok8+recent=2",
                                           "kivi2-g32+recent=1",
                                           "kivi4-g64+prefill=exact",
                                           "tok4+prefill=exact",
                                           "raw_bf16",
                                           "raw_f16+cold",
                                           "tok4+cold"};
  std::uint64_t hits = 0;
  std::size_t rounds = 0, refusals = 0;
  // To see one again, or more than these.
  const std::uint64_t begin = number_of("CAIRN_PROPERTY_SEED", 1), count = number_of("CAIRN_PROPERTY_ROUNDS", 44);
  for (std::uint64_t seed = begin; seed < begin + count && !HasFailure(); ++seed) {
    SeededRandom random(seed, "setting");
    const std::vector<std::string> archs = {"llama", "llama", "gemma3", "deepseek2"};
    const Setting setting{random.pick(archs), random.pick(codecs), some_policy(random), seed};
    Round round(setting);
    if (!round.run(14)) continue;
    ++rounds;
    hits += round.hits();
    refusals += round.refusals();
  }
  if (count < 44) return;
  EXPECT_GT(rounds, 25u);
  EXPECT_GT(hits, 5u);
  EXPECT_GT(refusals, 5u);
}

// Where prompts begin with what others kept.
TEST(PolicyProperties, HoldWithKeptPrefixes) {
  const std::vector<std::string> codecs = {"raw_f16",      "raw_f32",          "tok4", "kivi4-g32", "tok4+sinks=1",
                                           "raw_f16+cold", "tok8+sinks=1+cold"};
  std::uint64_t hits = 0;
  const std::uint64_t begin = number_of("CAIRN_PROPERTY_SEED", 1), count = number_of("CAIRN_PROPERTY_ROUNDS", 25);
  for (std::uint64_t seed = begin; seed < begin + count && !HasFailure(); ++seed) {
    SeededRandom random(seed, "kept setting");
    const std::vector<std::string> archs = {"llama", "llama", "gemma3", "deepseek2"};
    const Setting setting{random.pick(archs), random.pick(codecs), some_chunked_policy(random), seed};
    Round round(setting, /*renews=*/true);
    if (round.run(40)) hits += round.kept_hits();
  }
  if (count >= 25) {
    EXPECT_GT(hits, 5u);
  }
}

}  // namespace
}  // namespace cairn
