// SPDX-License-Identifier: Apache-2.0
#include "cairn/sched/scheduler.h"

#include <algorithm>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/block/chunk.h"

namespace cairn {
namespace {

constexpr std::size_t kMostSorted = 128;  // waiting requests whose cached prefixes are looked up in one step

}  // namespace

std::size_t Scheduler::bytes_alone(const SchedRequest& request) const {
  KeySet counted = options_.tenants[request.tenant].held;
  return bytes_at(request, request.prompt_tokens + request.most_new, counted);
}

void Scheduler::submit(SchedRequest request) {
  CAIRN_CHECK(could_fit(request) && request.prompt_tokens > 0);
  const std::size_t known = request.prompt_tokens;
  waiting_.push_back({.request = std::move(request), .held = 0, .known = known, .parked = false});
}

void Scheduler::remove(RequestId id) {
  const auto is_it = [id](const Entry& entry) { return entry.request.id == id; };
  const auto found = std::ranges::find_if(running_, is_it);
  if (found != running_.end()) {
    short_.erase(found->request.tenant);
    running_.erase(found);
  }
  waiting_.remove_if(is_it);
}

std::size_t Scheduler::running(std::size_t tenant) const {
  return std::ranges::count_if(running_, [=](const Entry& entry) { return entry.request.tenant == tenant; });
}

std::size_t Scheduler::waiting(std::size_t tenant) const {
  return std::ranges::count_if(waiting_, [=](const Entry& entry) { return entry.request.tenant == tenant; });
}

void Scheduler::opened(RequestId id, std::size_t held) {
  for (Entry& entry : running_) {
    if (entry.request.id == id) entry.held = held;
  }
}

void Scheduler::advanced(RequestId id, std::size_t held, std::size_t known) {
  for (Entry& entry : running_) {
    if (entry.request.id != id) continue;
    entry.held = held;
    entry.known = known;
  }
}

// Blocks of the prompt that others have been counted with are not counted again, except the one with the prompt's last
// token: it is computed anew for the logits.
std::size_t Scheduler::bytes_at(const SchedRequest& request, std::size_t tokens, KeySet& counted) const {
  const std::size_t blocks =
      std::min({request.keys.size(), tokens / kBlockTokens, (request.prompt_tokens - 1) / kBlockTokens});
  std::size_t shared = 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    if (!counted.insert(request.keys[b]).second) shared += options_.block_bytes(b);
  }
  const std::size_t bytes = options_.bytes_for(tokens);
  return bytes - std::min(bytes, shared);
}

std::size_t Scheduler::growth_end(const Entry& entry) const {
  return std::min(entry.known + options_.growth_tokens, entry.request.prompt_tokens + entry.request.most_new);
}

std::size_t Scheduler::projected(std::size_t tenant, KeySet& counted) const {
  std::size_t bytes = 0;
  for (const Entry& entry : running_) {
    if (entry.request.tenant == tenant) bytes += bytes_at(entry.request, growth_end(entry), counted);
  }
  return bytes;
}

StepPlan Scheduler::plan(double now_s, const Cached& cached) {
  StepPlan plan;
  make_room(plan);
  share_rows(plan);
  start_some(plan, now_s, cached);
  return plan;
}

void Scheduler::park(Entries::iterator entry) {
  entry->held = 0;
  entry->parked = true;
  // Among the parked, the one that arrived first is resumed first.
  const auto place = std::ranges::find_if(waiting_, [&](const Entry& other) {
    return !other.parked || other.request.arrival_s > entry->request.arrival_s;
  });
  waiting_.splice(place, running_, entry);
}

RequestId Scheduler::park_newest(std::size_t tenant) {
  for (auto entry = running_.end(); entry != running_.begin();) {
    --entry;
    if (entry->request.tenant != tenant) continue;
    const RequestId id = entry->request.id;
    park(entry);
    if (running(tenant) > 0) short_.insert(tenant);
    return id;
  }
  return 0;
}

// What the next pass needs is there before it begins.
void Scheduler::make_room(StepPlan& plan) {
  for (std::size_t tenant = 0; tenant < options_.tenants.size(); ++tenant) {
    while (running(tenant) > 1) {
      KeySet counted = options_.tenants[tenant].held;
      std::size_t bytes = 0;
      for (const Entry& entry : running_) {
        if (entry.request.tenant != tenant) continue;
        bytes += bytes_at(entry.request, std::min(entry.known, entry.held + options_.pass_rows), counted);
      }
      if (bytes <= options_.tenants[tenant].kv_bytes) break;
      plan.park.push_back(park_newest(tenant));
    }
  }
}

void Scheduler::share_rows(StepPlan& plan) const {
  std::size_t left = options_.pass_rows;
  for (const Entry& entry : running_) {
    if (entry.wanted() != 1 || left == 0) continue;
    plan.rows.push_back({entry.request.id, 1});
    --left;
  }
  if (!plan.rows.empty()) left = std::min(left, options_.prefill_rows);
  for (const Entry& entry : running_) {
    if (entry.wanted() <= 1 || left == 0) continue;
    const std::size_t count = chunk_rows(entry.held, entry.wanted(), left);
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

void Scheduler::start_some(StepPlan& plan, double now_s, const Cached& cached) {
  if (waiting_.empty() || running_.size() >= options_.most_running) return;
  struct Candidate {
    Entries::iterator entry;
    std::size_t cached_blocks = 0;
    bool first = false;  // parked, or out of patience
  };
  std::vector<Candidate> candidates;
  for (auto entry = waiting_.begin(); entry != waiting_.end() && candidates.size() < kMostSorted; ++entry) {
    candidates.push_back({entry, cached(entry->request.tenant, entry->request.keys),
                          entry->parked || now_s - entry->request.arrival_s > options_.patience_s});
  }
  KeySet computing = being_computed();
  std::vector<bool> blocked(options_.tenants.size(), false);  // someone who goes first waits for room there
  while (!candidates.empty() && running_.size() < options_.most_running) {
    // Those who go first by arrival; then the tenant with the fewest, then the longest prefix, then arrival.
    const auto best = std::ranges::min_element(candidates, [&](const Candidate& a, const Candidate& b) {
      if (a.first != b.first) return a.first;
      if (!a.first) {
        const std::size_t of_a = running(a.entry->request.tenant), of_b = running(b.entry->request.tenant);
        if (of_a != of_b) return of_a < of_b;
        if (a.cached_blocks != b.cached_blocks) return a.cached_blocks > b.cached_blocks;
      }
      return a.entry->request.arrival_s < b.entry->request.arrival_s;
    });
    const Candidate candidate = *best;
    candidates.erase(best);
    const SchedRequest& request = candidate.entry->request;
    const SchedulerOptions::Tenant& tenant = options_.tenants[request.tenant];
    if (blocked[request.tenant] || short_.contains(request.tenant) || running(request.tenant) >= tenant.most_running)
      continue;
    if (candidate.cached_blocks < request.keys.size() && computing.contains(request.keys[candidate.cached_blocks])) {
      continue;
    }
    KeySet counted = tenant.held;
    const std::size_t others = projected(request.tenant, counted);
    if (running(request.tenant) > 0 &&
        others + bytes_at(request, growth_end(*candidate.entry), counted) > tenant.kv_bytes) {
      blocked[request.tenant] = candidate.first;
      continue;
    }
    plan.start.push_back(request.id);
    for (std::size_t b = candidate.cached_blocks; b < request.keys.size(); ++b) computing.insert(request.keys[b]);
    candidate.entry->held = 0;
    running_.splice(running_.end(), waiting_, candidate.entry);
  }
}

}  // namespace cairn
