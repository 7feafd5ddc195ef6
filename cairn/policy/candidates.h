// SPDX-License-Identifier: Apache-2.0
// What one keep list of a layer chooses from: shared by budgets and plans, no part of the module's interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cairn/policy/retention.h"

namespace cairn::retention {

// Neighbouring candidates that stay or go together.
struct Unit {
  double score = 0;                    // the mean of theirs, or of their better half
  std::int32_t position = 0;           // of the oldest
  std::uint32_t first = 0, count = 0;  // among Candidates::slots
};

// A value. A token is protected, and so held, or a candidate.
struct Candidates {
  std::size_t tokens = 0;            // of the sequence: one more than its last position
  std::size_t occupied = 0;          // slots of the list that hold a token
  std::size_t prompt = 0;            // of `tokens`, those that stay since only decoded ones go
  std::size_t base = 0;              // what `keep` gives the list: from `held` to `occupied`
  std::size_t tail = 0;              // protected tokens from fixed_from on
  std::vector<std::uint32_t> stay;   // slots of the others that are protected, ascending
  std::vector<std::uint32_t> slots;  // of the candidates, ascending; what follows is parallel
  std::vector<std::int32_t> positions;
  std::vector<double> scores;
  double held_score = 0;   // sum over the protected
  double least_score = 0;  // of all, candidates or not; 0 where there are none

  std::size_t held() const { return stay.size() + tail; }
};

// How many lists a layer has: one for each KV head, or one in all.
std::size_t lists_of(const PolicySpec& policy, const LayerScores& layer);

// Of one list of a layer.
Candidates gather(const PolicySpec& policy, const LayerScores& layer, std::size_t list);

// Protects the newest candidates among the last `share` of a budget, as far as it reaches.
void hold_newest(Candidates& candidates, double share, std::size_t budget);

// Oldest first.
std::vector<Unit> units_of(const PolicySpec& policy, const Candidates& candidates);

// By score, equal ones by age.
bool comes_before(const Unit& a, const Unit& b);

}  // namespace cairn::retention
