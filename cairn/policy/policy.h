// SPDX-License-Identifier: Apache-2.0
// Token policies: which tokens a sequence keeps, and which of them a query reads (docs/policies.md). A policy is a
// tuple of parts, written NAME[+part=value]...: what scores a token, how many tokens each layer and head may keep, in
// what units they go, and where to. Pure decisions on statistics: what computes them, and what carries decisions out,
// is the cache.
//
// Immutable values, and functions without state that may be called from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn {

struct Scorer;         // scorer.h
struct Reader;         // reader.h
struct BudgetProfile;  // budget_profile.h

// How many tokens each layer and KV head keeps of what the policy keeps in all (budgets_of, retention.h).
enum class BudgetRule : std::uint8_t { kUniform, kPyramid, kPrefix, kAda, kEntropy, kGlobal, kSlope };

// What stands for the tokens that a query does not read, with as much weight as the reader thinks they would have got:
// nothing, the mean of the values of all full blocks (SparQ), or that of each box.
enum class RestRule : std::uint8_t { kNone, kMean, kBoxes };

// One policy with all of its parts. Exactly one of `scorer` (retention: tokens go for good, or to fewer bits, and their
// memory comes back) and `reader` (read selection: nothing goes, a query reads less) is set.
struct PolicySpec {
  std::string name = {};  // of its row in the table
  std::string text = {};  // canonical: the name, then every part that differs from the row's
  const Scorer* scorer = nullptr;
  const Reader* reader = nullptr;
  // Share of the tokens that stay, or of those that a query reads; (0, 1]. Protected tokens count among those that
  // stay, tokens that went before among all. With prompt_stays it is the share of the decoded tokens. 1 changes
  // nothing.
  double keep = 0.25;
  double mass = 1;  // of reading: it ends where this share of the scores is reached; (0, 1]. 1: by `keep` alone
  bool layer_pairs = false;         // of reading: the second of two layers reads what the first chose
  bool offloads = false;            // of reading: full blocks leave memory, and are read where they lie
  RestRule rest = RestRule::kNone;  // of reading
  BudgetRule budget = BudgetRule::kUniform;
  std::shared_ptr<const BudgetProfile> profile = {};  // budgets of layers that were found before, instead of `budget`
  std::string profile_file = {};                      // where that was read
  std::uint32_t group = 1;                            // neighbouring layers, of which the first one's scores serve all
  bool per_head = true;       // KV heads of a layer choose for themselves, or all together by their mean score
  std::uint32_t sinks = 4;    // first positions that always stay
  std::uint32_t recent = 0;   // last positions that always stay
  double recent_share = 0;    // share of the budget that goes to the last positions, before any score; [0, 1]
  std::uint32_t window = 0;   // last queries of the prompt that are probes, where the scorer looks at these; or last
                              // queries of the sequence that a reader asks with
  std::uint32_t pool = 1;     // scores become the mean over this many neighbours, an odd number up to 31
  std::uint32_t unit = 1;     // neighbouring tokens that stay or go together: 1, 8, 16, 32 or 64
  bool unit_by_best = false;  // by the mean of its better half, not of all
  double punctuation = 1;     // how far above the least score of its head a token of punctuation stays; [0, 1]
  std::uint32_t chunk = 0;    // retention each time that many more tokens of a prompt are computed; 0: only at its end
  std::uint32_t every = 0;    // retention again each time that many more tokens are decoded, whole blocks; 0: never
  bool then_by_age = false;   // after the prompt without scores, the oldest of a recent region first (aging.h)
  bool prompt_stays = false;  // only decoded tokens go
  std::string demote = {};    // the codec whose pages take the tokens that do not stay; empty: they go

  bool reads_less() const { return reader != nullptr; }
  bool ages() const { return then_by_age && every != 0 && !prompt_stays; }
  // Whether some layers keep more than others.
  bool moves_between_layers() const {
    return profile != nullptr || (budget != BudgetRule::kUniform && budget != BudgetRule::kAda);
  }
  // Whether a query decides what stays: what a prefix keeps then depends on the tokens after it. Never so for read
  // selection, under which everything stays.
  bool sees_queries() const;
  // Whether both decide alike: by their texts, and by what their profiles say of the budgets.
  bool operator==(const PolicySpec& other) const;
};

// A row of the table of policies.
struct NamedPolicy {
  std::string_view name;
  std::string_view scorer;   // of the table of scorers, or
  std::string_view reader;   // of the table of readers
  PolicySpec parts;          // the defaults; name, text, scorer and reader are left empty
  std::string_view paper;    // author, year, arXiv number
  std::string_view summary;  // one line for --help and docs/policies.md
};

// Every policy of this build, in the order of docs/policies.md.
std::span<const NamedPolicy> policy_table();

// "NAME[+part=value]...". Read selection has keep, and where a score decides
//   mass          above 0, at most 1
//   layers        own, pairs
//   unread        stay, offload
//   rest          none, mean, boxes, where the reader weighs what a query does not read; not beside layers=pairs
//   window        1 to 1024, where the reader asks with the last queries
// Retention has
//   keep          above 0, at most 1
//   budget        uniform, pyramid, prefix, ada, entropy, global, slope
//   profile       a file of budget_profile.h, instead of `budget`
//   group         1 to 64
//   heads         own, shared
//   sinks, recent 0 to 1048576
//   recent-share  0 to 1
//   window        1 to 1024, where the scorer looks at the last queries; `recent` follows it in rows that keep them
//   pool          odd, 1 to 31
//   unit          1, 8, 16, 32, 64
//   unit-by       mean, best
//   task          find (unit-by=best, window=32), gather (unit-by=mean, window=16); other parts come after it
//   punctuation   0 to 1
//   chunk         0 to 1048576, a multiple of 64
//   every         0 to 1048576, a multiple of 64
//   then          score, age (which needs every)
//   region        all, decode (which needs every)
//   demote        none, or the name of a codec; whether there is one that fits the cache is not known here
//   scorer        of the table of scorers: the same policy by other numbers
// A row that keeps everything has none. Errors, one line each: kInvalidArgument (no such policy or scorer, with the
// list, two policies, a part that this policy has not, that is there twice or that has no such value, or two that
// contradict each other; the line says what is possible), those of read_budget_profile.
//
// What strangers ask for may name no file (kRefuse: kInvalidArgument, and none is opened).
enum class PolicyFiles : std::uint8_t { kRead, kRefuse };
Result<PolicySpec> parse_policy(std::string_view text, PolicyFiles files = PolicyFiles::kRead);

// "uniform", "pyramid", ...
std::string_view budget_name(BudgetRule rule);

}  // namespace cairn
