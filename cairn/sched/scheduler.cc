// SPDX-License-Identifier: Apache-2.0
#include "cairn/sched/scheduler.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/block/shape.h"

namespace cairn {
namespace {

// Waiting requests whose cached prefixes are looked up in one step, or one of each tenant where there are more tenants.
constexpr std::size_t kMaxSorted = 128;

// Whether a tenant has room for these bytes in memory and those beside it. What finds no room there stays in memory.
bool fit(const SchedulerOptions::Tenant& limits, std::size_t in_memory, std::size_t beside) {
  const std::size_t stays = beside - std::min(beside, limits.beside_bytes);
  return in_memory <= limits.kv_bytes && stays <= limits.kv_bytes - in_memory;
}

}  // namespace

std::size_t Scheduler::bytes_alone(const SchedRequest& request) const {
  const Demand demand = demand_of(request, 0, request.prompt_tokens + request.max_new);
  return no_bytes(request.tenant).with(demand.growth, demand.keys);
}

void Scheduler::submit(SchedRequest request) {
  CAIRN_CHECK(could_fit(request) && request.prompt_tokens > 0);
  const std::size_t known = request.prompt_tokens;
  Entries& waiting = waiting_[request.tenant];
  waiting.push_back({.request = std::move(request), .held = 0, .known = known, .preempted = false});
}

void Scheduler::remove(RequestId id) {
  const auto is_it = [id](const Entry& entry) { return entry.request.id == id; };
  const auto found = std::ranges::find_if(running_, is_it);
  if (found != running_.end()) {
    short_.erase(found->request.tenant);
    running_.erase(found);
    return;
  }
  for (Entries& waiting : waiting_) {
    if (waiting.remove_if(is_it) > 0) return;
  }
}

std::size_t Scheduler::running(std::size_t tenant) const {
  return std::ranges::count_if(running_, [=](const Entry& entry) { return entry.request.tenant == tenant; });
}

std::size_t Scheduler::waiting() const {
  std::size_t all = 0;
  for (const Entries& waiting : waiting_) all += waiting.size();
  return all;
}

void Scheduler::opened(RequestId id, std::size_t held) {
  for (Entry& entry : running_) {
    if (entry.request.id != id) continue;
    entry.held = held;
    entry.owes = false;
  }
}

void Scheduler::advanced(RequestId id, std::size_t held, std::size_t known, bool owes) {
  for (Entry& entry : running_) {
    if (entry.request.id != id) continue;
    entry.held = held;
    entry.known = known;
    entry.owes = owes;
  }
}

// Blocks of the prompt within these tokens, without the block of its last token, which is computed again for the
// logits.
std::size_t Scheduler::keyed_blocks(const SchedRequest& request, std::size_t tokens) const {
  return std::min({request.keys.size(), tokens / kBlockTokens, (request.prompt_tokens - 1) / kBlockTokens});
}

Scheduler::Demand Scheduler::demand_of(const SchedRequest& request, std::size_t from, std::size_t tokens) const {
  const GrowthBytes growth =
      request.growth ? request.growth(from, tokens) : GrowthBytes{.whole = options_.bytes_for(tokens)};
  // Once it is packed it shares no block of the prompt; what it has from a kept prefix counts as its own.
  return {growth, std::span(request.keys).first(growth.whole == 0 ? 0 : keyed_blocks(request, tokens))};
}

std::size_t Scheduler::pass_tokens(const Entry& entry, std::size_t most) const {
  const auto& limit = entry.request.pass_tokens;
  return limit ? limit(entry.held, most) : most;
}

std::size_t Scheduler::growth_end(const Entry& entry) const {
  return std::min(entry.known + options_.growth_tokens, entry.request.prompt_tokens + entry.request.max_new);
}

BatchStep Scheduler::plan(double now_s, const Cached& cached) {
  BatchStep plan;
  make_room(plan);
  share_rows(plan);
  start_some(plan, now_s, cached);
  return plan;
}

void Scheduler::preempt(Entries::iterator entry) {
  entry->held = 0;
  entry->owes = false;
  entry->preempted = true;
  // Among the preempted, the one that arrived first is resumed first.
  Entries& waiting = waiting_[entry->request.tenant];
  const auto place = std::ranges::find_if(waiting, [&](const Entry& other) {
    return !other.preempted || other.request.arrival_s > entry->request.arrival_s;
  });
  waiting.splice(place, running_, entry);
}

RequestId Scheduler::preempt_newest(std::size_t tenant) {
  for (auto entry = running_.end(); entry != running_.begin();) {
    --entry;
    if (entry->request.tenant != tenant) continue;
    const RequestId id = entry->request.id;
    preempt(entry);
    if (running(tenant) > 0) short_.insert(tenant);
    return id;
  }
  return 0;
}

// Preempts until the next pass fits into each tenant's memory.
void Scheduler::make_room(BatchStep& plan) {
  for (std::size_t tenant = 0; tenant < options_.tenants.size(); ++tenant) {
    while (running(tenant) > 1) {
      SharedBytes bytes = no_bytes(tenant);
      std::size_t beside = 0;
      for (const Entry& entry : running_) {
        if (entry.request.tenant != tenant) continue;
        const std::size_t rows = pass_tokens(entry, std::min(entry.wanted(), options_.pass_rows));
        const Demand demand = demand_of(entry.request, settled(entry), entry.held + rows);
        bytes.add(demand.growth, demand.keys);
        beside += demand.growth.beside;
      }
      const SchedulerOptions::Tenant& limits = options_.tenants[tenant];
      if (fit(limits, bytes.total(), beside)) break;
      plan.preempt.push_back(preempt_newest(tenant));
    }
  }
}

void Scheduler::share_rows(BatchStep& plan) const {
  std::size_t left = options_.pass_rows;
  for (const Entry& entry : running_) {
    if (entry.wanted() != 1 || left == 0) continue;
    plan.rows.push_back({entry.request.id, 1});
    --left;
  }
  if (!plan.rows.empty()) left = std::min(left, options_.prefill_rows);
  for (const Entry& entry : running_) {
    if (entry.wanted() <= 1 || left == 0) continue;
    const std::size_t count = pass_tokens(entry, chunk_rows(entry.held, entry.wanted(), left));
    plan.rows.push_back({entry.request.id, count});
    left -= count;
  }
}

Scheduler::KeySet Scheduler::being_computed() const {
  KeySet keys;
  for (const Entry& entry : running_) {
    for (std::size_t b = entry.held / kBlockTokens; b < entry.request.keys.size(); ++b) {
      keys.insert(entry.request.keys[b]);
    }
  }
  return keys;
}

void Scheduler::start_some(BatchStep& plan, double now_s, const Cached& cached) {
  if (running_.size() >= options_.max_running) return;
  std::vector<Turn> all = turns(now_s, cached);
  if (all.empty()) return;
  KeySet computing = being_computed();
  while (running_.size() < options_.max_running) {
    // Tenants are compared by what they have got. The length or the age of a tenant's queue gives it no right to the
    // places of others.
    const auto next = std::ranges::min_element(all, {}, [&](const Turn& turn) {
      return std::tuple(turn.candidates.empty(), turn.running, last_start_[turn.tenant]);
    });
    if (next->candidates.empty()) return;
    try_next(*next, computing, plan);
  }
}

std::vector<Scheduler::Turn> Scheduler::turns(double now_s, const Cached& cached) {
  std::vector<Turn> found;
  for (std::size_t tenant = 0; tenant < options_.tenants.size(); ++tenant) {
    if (waiting_[tenant].empty() || short_.contains(tenant)) continue;
    const std::size_t running = this->running(tenant);
    if (running < options_.tenants[tenant].max_running) {
      found.push_back({.tenant = tenant, .running = running, .bytes = no_bytes(tenant)});
    }
  }
  for (Turn& turn : found) {
    turn.candidates = candidates(turn.tenant, std::max<std::size_t>(1, kMaxSorted / found.size()), now_s, cached);
    for (const Entry& entry : running_) {
      if (entry.request.tenant != turn.tenant) continue;
      const Demand demand = demand_of(entry.request, settled(entry), growth_end(entry));
      turn.bytes.add(demand.growth, demand.keys);
      turn.beside += demand.growth.beside;
    }
  }
  return found;
}

// Preempted requests and those out of patience first, by arrival; then the longest cached prefix, then arrival.
std::vector<Scheduler::Candidate> Scheduler::candidates(std::size_t tenant, std::size_t most, double now_s,
                                                        const Cached& cached) {
  std::vector<Candidate> found;
  Entries& waiting = waiting_[tenant];
  for (auto entry = waiting.begin(); entry != waiting.end() && found.size() < most; ++entry) {
    found.push_back({entry, cached(tenant, entry->request.keys),
                     entry->preempted || now_s - entry->request.arrival_s > options_.patience_s});
  }
  std::ranges::stable_sort(found, [](const Candidate& a, const Candidate& b) {
    if (a.first != b.first) return a.first;
    if (!a.first && a.cached_blocks != b.cached_blocks) return a.cached_blocks > b.cached_blocks;
    return a.entry->request.arrival_s < b.entry->request.arrival_s;
  });
  std::ranges::reverse(found);
  return found;
}

void Scheduler::try_next(Turn& turn, KeySet& computing, BatchStep& plan) {
  const Candidate candidate = turn.candidates.back();
  turn.candidates.pop_back();
  const SchedRequest& request = candidate.entry->request;
  const SchedulerOptions::Tenant& tenant = options_.tenants[turn.tenant];
  if (candidate.cached_blocks < request.keys.size() && computing.contains(request.keys[candidate.cached_blocks])) {
    return;
  }
  const Demand demand = demand_of(request, 0, growth_end(*candidate.entry));
  if (turn.running > 0 &&
      !fit(tenant, turn.bytes.with(demand.growth, demand.keys), turn.beside + demand.growth.beside)) {
    if (candidate.first) turn.candidates.clear();  // no other request takes the room that it waits for
    return;
  }
  candidate.entry->held = 0;
  turn.bytes.add(demand.growth, demand.keys);
  turn.beside += demand.growth.beside;
  plan.start.push_back(request.id);
  for (std::size_t b = candidate.cached_blocks; b < request.keys.size(); ++b) computing.insert(request.keys[b]);
  running_.splice(running_.end(), waiting_[turn.tenant], candidate.entry);
  last_start_[turn.tenant] = ++starts_;
  if (++turn.running >= tenant.max_running) turn.candidates.clear();
}

}  // namespace cairn
