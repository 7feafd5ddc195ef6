// SPDX-License-Identifier: Apache-2.0
// Read selection: which boxes of kBoxTokens tokens a query reads at one layer. Nothing goes: the next query may read
// others. Boxes are judged by what is known of their keys together, by their keys one by one, or by their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/policy/policy.h"

namespace cairn {

// Tokens of a cluster: the first of MPCache's two levels.
inline constexpr std::uint32_t kClusterTokens = 32;

// What a reader goes by.
enum class ReadBy : std::uint8_t {
  kPlace,   // reads the newest
  kRandom,  // a hash: the control
  kBounds,  // the greatest and the least keys of each box, by channel
  kMeans,   // the mean key of each box
  kSketch,  // every key, in two bits a channel, by the attention that a box would get
  kKeys,    // every key, by the attention that a box would get: the upper bound of all readers, no saving
};

// Immutable, lives for ever.
struct Reader {
  std::string_view name;
  std::string_view paper;
  ReadBy by = ReadBy::kPlace;
  // kBounds: folded is [2 * head_dim], what meets the greatest keys, then what meets the least. q is [head_dim].
  void (*fold)(const float* q, std::uint32_t head_dim, float* folded) = nullptr;
  // kBounds: a KV head takes the greatest score of its query heads, not the sum of their softmax. A bound lies so far
  // above what attention would say that the exponential would be zero for most boxes.
  bool greatest = false;
  // kBounds: boxes of kClusterTokens compete first, and only those within the best of them go on (leave_best_clusters).
  bool clusters = false;
  // The query stands for the last PolicySpec::window of them: it is their probe (probe_query(), query_forms.h).
  bool window = false;
  // kKeys: by a quarter of the channels alone, those of greatest magnitude in the query (leave_top_channels()).
  bool channels = false;
  // kMeans: the fewest boxes that hold PolicySpec::mass of the scores go on (leave_mass()), and get the attention of
  // their keys as a score.
  bool refines = false;

  bool boxes() const { return by == ReadBy::kBounds || by == ReadBy::kMeans; }
  // Whether it knows how much attention what is not read would get: by keys, or by the query itself and mean keys. A
  // bound says nothing of that, and of sketches only the greatest score of a box is known.
  bool weighs() const { return by == ReadBy::kKeys || (by == ReadBy::kMeans && !window); }
  bool scores() const { return boxes() || by == ReadBy::kSketch || by == ReadBy::kKeys; }
};

std::span<const Reader> reader_table();

// kUnsupported, with the list, when there is none.
Result<const Reader*> find_reader(std::string_view name);

// What is known of the boxes that one KV head could read: those of whole blocks, oldest first.
struct ReadChoice {
  std::span<const float> scores;  // by box; -infinity for what cannot be read. Ignored by readers without
  std::size_t boxes = 0;
  std::size_t open_boxes = 0;  // read in any case, after these: they count against the budget
  std::uint64_t seed = 0;      // for the random control: of the sequence, the layer and the position
};

// Whether a query that could read these boxes reads fewer. If not, attention has the bits of no policy.
bool selects(const PolicySpec& policy, std::size_t boxes, std::size_t open_boxes);

// The numbers of the boxes to read, ascending: the best `keep` of all, the sink box and at least one other included;
// equal scores go to the older one. What has -infinity or NaN is not read, save the sink box. Where PolicySpec::mass is
// below 1, only the best of these until they hold this share of all scores, which are amounts then. Allocates nothing
// where `chosen` has room for all boxes. Requires: selects().
void choose_boxes(const PolicySpec& policy, const ReadChoice& choice, std::vector<std::uint32_t>& chosen);

// The first of two levels, by `share` of the clusters' scores (rounded up; the first cluster and one other are always
// among them; equal scores go to the older): boxes of the others get -infinity. Requires: boxes.size() is a multiple of
// clusters.size(), and there is a cluster.
void leave_best_clusters(double share, std::span<const float> clusters, std::span<float> boxes);

// The first of two levels, by amounts: the greatest stay until they hold `mass` of all, one at least; equal ones by
// their number. The others become -infinity, and so does NaN.
void leave_mass(double mass, std::span<float> boxes);

}  // namespace cairn
