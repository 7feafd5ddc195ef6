// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/probe_queries.h"

#include <algorithm>
#include <utility>

#include "cairn/attention/signals.h"
#include "cairn/base/random.h"
#include "cairn/cache/layer_table.h"

namespace cairn::cache {
namespace {

// One in twenty of all queries, chosen by position so that a second run chooses the same ones.
bool is_chosen(std::int32_t position) {
  return SeededRandom(0, "probe", static_cast<std::uint64_t>(position)).below(20) == 0;
}

}  // namespace

bool ProbeQueries::counts_at_once(std::int32_t position) const {
  return counts_all() || (which_ == Probes::kTenth && is_chosen(position));
}

void ProbeQueries::observe(std::uint32_t layer, const AttendRows& rows, const AttendLayer& how, ThreadPool& pool) {
  if (which_ == Probes::kNone) return;
  std::vector<PageView> pages(rows.pages.begin(), rows.pages.end());
  pages.insert(pages.end(), rows.more_pages.begin(), rows.more_pages.end());
  const std::size_t width = std::size_t{how.heads} * how.shape.head_dim, state = std::size_t{how.heads} * 2;
  const auto row_at = [&](std::uint32_t r, std::uint32_t count) {
    AttendRows part = rows;
    part.q += r * width;
    part.positions += r;
    part.softmax += r * state;
    part.rows = count;
    return part;
  };
  if (counts_all()) return count(rows, how, pages, pool);
  for (std::uint32_t r = 0; r < rows.rows; ++r) {
    if (counts_at_once(rows.positions[r])) {
      count(row_at(r, 1), how, pages, pool);
      continue;
    }
    Waiting& waiting = waiting_[layer];
    waiting.how = how;
    waiting.how.sinks = {};  // they are in the softmax state, and not ours to keep
    // Earlier ones came from the index, and their queries with them did not.
    const bool first = waiting.kept.empty() && waiting.fresh.empty() && counted_.empty();
    if (first && rows.positions[r] > 0) waiting.let_go = true;
    waiting.fresh.push_back({rows.positions[r],
                             {rows.q + r * width, rows.q + (r + 1) * width},
                             {rows.softmax + r * state, rows.softmax + (r + 1) * state}});
    if (waiting.fresh.size() <= max_kept()) continue;
    waiting.fresh.pop_front();
    waiting.fresh_let_go = true;
  }
}

void ProbeQueries::commit() {
  for (auto& [layer, waiting] : waiting_) {
    waiting.let_go = waiting.let_go || waiting.fresh_let_go;
    for (Query& query : waiting.fresh) waiting.kept.push_back(std::move(query));
    waiting.fresh.clear();
    waiting.fresh_let_go = false;
    for (; waiting.kept.size() > max_kept(); waiting.let_go = true) waiting.kept.pop_front();
  }
}

std::size_t ProbeQueries::last_of(std::size_t tokens) const {
  return which_ == Probes::kTenth ? std::min<std::size_t>(std::max<std::size_t>(tokens / 20, 1), window_) : window_;
}

void ProbeQueries::count_last(std::span<const PageView> pages, ThreadPool& pool) {
  for (auto& [layer, waiting] : std::exchange(waiting_, {})) {
    if (waiting.kept.empty()) continue;
    const std::size_t last = last_of(static_cast<std::size_t>(waiting.kept.back().position) + 1);
    while (waiting.kept.size() > last) waiting.kept.pop_front();
    std::vector<float> q, softmax;
    std::vector<std::int32_t> positions;
    for (const Query& query : waiting.kept) {
      q.insert(q.end(), query.q.begin(), query.q.end());
      softmax.insert(softmax.end(), query.softmax.begin(), query.softmax.end());
      positions.push_back(query.position);
    }
    count({.q = q.data(),
           .positions = positions.data(),
           .rows = static_cast<std::uint32_t>(positions.size()),
           .pages = pages,
           .more_pages = {},
           .out = nullptr,
           .softmax = softmax.data()},
          waiting.how, pages, pool);
  }
}

void ProbeQueries::count(const AttendRows& rows, const AttendLayer& how, std::span<const PageView> pages,
                         ThreadPool& pool) {
  mass_.resize(std::max(mass_.size(), pages.size()),
               std::vector<float>(std::size_t{how.shape.kv_heads} * kBlockTokens));
  pool.run(pages.size(), [&](std::size_t p, unsigned) { count_page(rows, how, pages[p], mass_[p].data()); });
  counted_.insert(counted_.end(), rows.positions, rows.positions + rows.rows);
}

void ProbeQueries::count_page(const AttendRows& rows, const AttendLayer& how, const PageView& page, float* mass) const {
  const std::uint32_t kv_heads = how.shape.kv_heads, group = how.heads / kv_heads;
  std::vector<float> weights(std::size_t{rows.rows} * group * kBlockTokens);
  std::vector<float> means(rule_ == MassRule::kHeadMean ? std::size_t{rows.rows} * kBlockTokens : 0);
  for (std::uint32_t h = 0; h < kv_heads; ++h) {
    attention_weights(rows, page, how, h, weights.data());
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::size_t t = i % kBlockTokens;
      float& of_token = mass[h * kBlockTokens + t];
      if (rule_ == MassRule::kSum) {
        of_token += weights[i];
      } else if (rule_ == MassRule::kGreatest) {
        of_token = std::max(of_token, weights[i]);
      } else {
        means[i / kBlockTokens / group * kBlockTokens + t] += weights[i] / static_cast<float>(how.heads);
      }
    }
  }
  for (std::size_t i = 0; i < means.size(); ++i) {
    for (std::uint32_t h = 0; h < kv_heads; ++h) {
      float& greatest = mass[h * kBlockTokens + i % kBlockTokens];
      greatest = std::max(greatest, means[i]);
    }
  }
}

void ProbeQueries::absorb(const ProbeQueries& other) {
  mass_.resize(std::max(mass_.size(), other.mass_.size()));
  for (std::size_t p = 0; p < other.mass_.size(); ++p) {
    mass_[p].resize(other.mass_[p].size());
    for (std::size_t i = 0; i < mass_[p].size(); ++i) mass_[p][i] = std::max(mass_[p][i], other.mass_[p][i]);
  }
}

bool ProbeQueries::counted_from(std::int32_t position) const {
  return std::ranges::any_of(counted_, [=](std::int32_t counted) { return counted >= position; });
}

bool ProbeQueries::lacks_before(std::int32_t position) const {
  return std::ranges::any_of(waiting_, [&](const auto& each) {
    const auto is_left = [=](const Query& query) { return query.position < position; };
    const auto left = static_cast<std::size_t>(std::ranges::count_if(each.second.kept, is_left));
    return each.second.let_go && left < last_of(static_cast<std::size_t>(std::max(position, 0)));
  });
}

void ProbeQueries::forget_from(std::int32_t position) {
  for (auto& [layer, waiting] : waiting_) {
    for (std::deque<Query>* queries : {&waiting.kept, &waiting.fresh}) {
      std::erase_if(*queries, [=](const Query& query) { return query.position >= position; });
    }
    if (waiting.fresh.empty()) waiting.fresh_let_go = false;
  }
}

void ProbeQueries::read(std::uint32_t kv_heads, std::span<const PageView> pages, std::vector<float>& mass,
                        std::vector<std::uint32_t>& seen_by) const {
  const std::size_t slots = pages.size() * kBlockTokens;
  mass.assign(kv_heads * slots, 0.0f);
  seen_by.assign(kv_heads * slots, 0);
  std::vector<std::int32_t> sorted = counted_;
  std::ranges::sort(sorted);
  for (std::uint32_t h = 0; h < kv_heads; ++h) {
    for (std::size_t p = 0; p < pages.size(); ++p) {
      const std::size_t at = h * slots + p * kBlockTokens;
      if (p < mass_.size()) std::copy_n(mass_[p].data() + h * kBlockTokens, kBlockTokens, mass.data() + at);
      const std::int32_t* positions = pages[p].positions + std::size_t{h} * pages[p].head_stride;
      for (std::uint32_t t = 0; t < pages[p].count; ++t) {
        const auto first = std::ranges::lower_bound(sorted, positions[t]);
        seen_by[at + t] = static_cast<std::uint32_t>(sorted.end() - first);
      }
    }
  }
}

void ProbeQueries::pack(std::span<const std::vector<std::uint32_t>> heads, std::uint32_t kv_heads, std::size_t first,
                        std::size_t end, std::size_t packed) {
  if (mass_.empty()) return;
  const std::vector<float> nothing(std::size_t{kv_heads} * kBlockTokens);
  mass_.resize(std::max(mass_.size(), end), nothing);
  std::vector<std::vector<float>> moved(packed, nothing);
  for (std::uint32_t h = 0; h < kv_heads; ++h) {
    const std::vector<std::uint32_t>& slots = heads[heads.size() == 1 ? 0 : h];
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (slots[i] == kEmptySlot) continue;
      moved[i / kBlockTokens][h * kBlockTokens + i % kBlockTokens] =
          mass_[first + slots[i] / kBlockTokens][h * kBlockTokens + slots[i] % kBlockTokens];
    }
  }
  const auto from = mass_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto at = mass_.erase(from, mass_.begin() + static_cast<std::ptrdiff_t>(end));
  mass_.insert(at, moved.begin(), moved.end());
}

}  // namespace cairn::cache
