// SPDX-License-Identifier: Apache-2.0
// What a retention policy thinks of tokens: a number for each, greater for those that should stay. A scorer is one file
// (or a function in the file of its like) and one row of the table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/rope.h"
#include "cairn/block/shape.h"
#include "cairn/policy/policy.h"

namespace cairn {

// Which queries of the prompt a scorer wants the attention of. Probes cost a second product of theirs with all keys.
enum class Probes : std::uint8_t {
  kNone,
  kLast,   // the last PolicySpec::window
  kTenth,  // the last twentieth, and as many of the earlier ones, chosen by their position's hash (ZipCache)
  kAll,
  kReplay,  // those of a model that is told to repeat the prompt, and does: computed for this alone
};

// How the softmax weights that probes give a token become one number of a KV head.
enum class MassRule : std::uint8_t {
  kSum,       // over probes and the query heads of the KV head
  kHeadMean,  // mean over all query heads of the layer, the greatest over the probes; the same for every KV head
  kGreatest,  // over probes and the query heads of the KV head
};

struct ScorerNeeds {
  bool keys = false;
  bool values = false;
  bool queries = false;  // QueryGaussians, of every query from PolicySpec::sinks on
  Probes probes = Probes::kNone;
  MassRule mass = MassRule::kSum;
};

// The queries of a sequence before their rotation, softmax scale folded in: one Gaussian for each query head. Of a
// layer that shares its keys with others it has the query heads of all of them. A value.
struct QueryGaussians {
  RopeSpec rope{};                 // of the keys
  std::uint32_t per_kv_head = 0;   // query heads of a KV head
  std::vector<double> mean;        // [kv_heads, per_kv_head, head_dim]; zeros where no query counts
  std::vector<double> covariance;  // [kv_heads, per_kv_head, head_dim, head_dim]
};

// What is known of the tokens of one layer. Non-owning, valid during the call. Slots lie in the order of the layer's
// pages; under a KV head that gave up some before, a slot may be empty.
struct LayerEvidence {
  std::uint32_t layer = 0, layers = 0;  // its number among those that have keys, and how many there are
  PageShape shape{};
  std::size_t slots = 0;
  const std::int32_t* positions = nullptr;         // [kv_heads, slots]; kNoToken: empty
  const float* keys = nullptr;                     // [kv_heads, slots, head_dim], rotated, as they are stored; if asked
  const float* values = nullptr;                   // [kv_heads, slots, value_dim]; if asked
  const float* mass = nullptr;                     // [kv_heads, slots], see MassRule; if asked
  const std::uint32_t* seen_by = nullptr;          // [kv_heads, slots]: how many probes could see it; as mass
  std::uint32_t probes = 0;                        // how many there were
  const QueryGaussians* queries = nullptr;         // if asked
  std::span<const std::uint8_t> punctuation = {};  // by position: whether the token is nothing else; if asked
  std::uint64_t seed = 0;                          // a hash of the sequence's tokens
};

inline constexpr std::int32_t kNoToken = -1;

// Immutable, lives for ever.
struct Scorer {
  std::string_view name;
  ScorerNeeds needs;
  std::string_view paper;
  // scores is [kv_heads, slots]. Empty slots may get anything; never a NaN. The same evidence gives the same bits.
  void (*score)(const LayerEvidence& evidence, const PolicySpec& policy, std::span<float> scores);
};

std::span<const Scorer> scorer_table();

// kInvalidArgument, with the list, when there is none.
Result<const Scorer*> find_scorer(std::string_view name);

// The rows of each file of scorers.
std::span<const Scorer> place_scorers();  // by position alone: recency, random
std::span<const Scorer> key_scorers();    // by keys and values: knorm, keydiff, lagkv
std::span<const Scorer> query_scorers();  // by what queries are like: expected
std::span<const Scorer> mass_scorers();   // by attention: of a window, of all queries, the greatest, ...

}  // namespace cairn
