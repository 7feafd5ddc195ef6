// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/recent_queries.h"

#include <algorithm>
#include <ranges>
#include <utility>

namespace cairn::cache {

void RecentQueries::observe(std::uint32_t layer, const AttendRows& rows, std::uint32_t heads, std::uint32_t head_dim) {
  Layer& own = layers_[layer];
  const std::size_t width = std::size_t{heads} * head_dim;
  // Earlier ones came from the index, and their queries with them did not.
  if (own.kept.empty() && own.fresh.empty() && rows.positions[0] > 0) own.let_go = true;
  for (std::uint32_t r = 0; r < rows.rows; ++r) {
    own.fresh.push_back({rows.positions[r], {rows.q + r * width, rows.q + (r + 1) * width}});
    if (own.fresh.size() <= 2 * std::size_t{window_}) continue;
    own.fresh.pop_front();
    own.fresh_let_go = true;
  }
}

std::vector<const float*> RecentQueries::window(std::uint32_t layer) const {
  std::vector<const float*> found;
  const auto own = layers_.find(layer);
  if (own == layers_.end()) return found;
  for (const std::deque<Query>* queries : {&own->second.fresh, &own->second.kept}) {
    for (const Query& query : *queries | std::views::reverse) {
      if (found.size() < window_) found.push_back(query.q.data());
    }
  }
  std::ranges::reverse(found);
  return found;
}

std::size_t RecentQueries::bytes() const {
  std::size_t bytes = 0;
  for (const auto& [layer, own] : layers_) {
    for (const std::deque<Query>* queries : {&own.kept, &own.fresh}) {
      for (const Query& query : *queries) bytes += query.q.size() * sizeof(float);
    }
  }
  return bytes;
}

void RecentQueries::commit() {
  for (auto& [layer, own] : layers_) {
    own.let_go = own.let_go || own.fresh_let_go;
    for (Query& query : own.fresh) own.kept.push_back(std::move(query));
    own.fresh.clear();
    own.fresh_let_go = false;
    for (; own.kept.size() > 2 * std::size_t{window_}; own.let_go = true) own.kept.pop_front();
  }
}

void RecentQueries::roll_back() {
  for (auto& [layer, own] : layers_) {
    own.fresh.clear();
    own.fresh_let_go = false;
  }
}

bool RecentQueries::lacks_before(std::int32_t position) const {
  return std::ranges::any_of(layers_, [&](const auto& each) {
    const Layer& own = each.second;
    const auto left = std::ranges::count_if(own.kept, [&](const Query& query) { return query.position < position; });
    return own.let_go && left + 1 < static_cast<std::int64_t>(window_);
  });
}

void RecentQueries::forget_from(std::int32_t position) {
  for (auto& [layer, own] : layers_) {
    std::erase_if(own.kept, [=](const Query& query) { return query.position >= position; });
  }
}

}  // namespace cairn::cache
