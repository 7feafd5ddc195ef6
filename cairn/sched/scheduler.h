// SPDX-License-Identifier: Apache-2.0
// Which requests run, wait and are preempted, and how many rows each gets in the next pass (docs/serve.md). Decisions
// only: the clock is an argument.
//
// After SGLang's longest-prefix-match order and in-batch rule (arXiv 2312.07104) and Sarathi's chunked prefill beside
// decoding (arXiv 2403.02310).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cairn/base/hash.h"
#include "cairn/sched/shared_bytes.h"

namespace cairn {

using RequestId = std::uint64_t;

// What is done for one pass.
struct BatchStep {
  struct Rows {
    RequestId id = 0;
    std::size_t count = 0;  // tokens of the request that are computed, the next ones it has
  };
  std::vector<RequestId> preempt;  // let go of their sequences, before anything else
  std::vector<RequestId> start;    // open a sequence: new, or preempted before
  std::vector<Rows> rows;          // of those that were running before this step
};

struct SchedulerOptions {
  std::size_t max_running = 16;
  std::size_t pass_rows = 256;      // of a pass
  std::size_t prefill_rows = 64;    // of a pass that also decodes
  double patience_s = 5;            // after which a request goes before all of its tenant that arrived later
  std::size_t growth_tokens = 256;  // of an answer that admission counts on; what comes after may cost a preemption
  using KeySet = SharedBytes::KeySet;
  struct Tenant {
    std::size_t kv_bytes = 0;      // for requests; what `held` takes comes on top
    std::size_t beside_bytes = 0;  // of the place that requests may move blocks to
    std::size_t max_running = SIZE_MAX;
    KeySet held{};  // blocks that always stay in memory
  };
  std::vector<Tenant> tenants{};                          // SchedRequest::tenant is an index
  std::function<std::size_t(std::size_t)> bytes_for{};    // KV bytes of a sequence, by its tokens
  std::function<std::size_t(std::size_t)> block_bytes{};  // of one full block in it, by its number
};

struct SchedRequest {
  RequestId id = 0;
  std::size_t tenant = 0;
  std::size_t prompt_tokens = 0;  // at least one
  std::size_t max_new = 0;        // tokens of the answer, at most
  double arrival_s = 0;
  std::vector<Digest> keys{};  // of the prompt's whole blocks, as far as it may share them
  // Between two numbers of tokens, of a request whose policy lets tokens go; null: options.bytes_for, all of it whole.
  std::function<GrowthBytes(std::size_t from, std::size_t to)> growth{};
  // How many of the `wanted` tokens after `held` ones may share a pass; null: all.
  std::function<std::size_t(std::size_t held, std::size_t wanted)> pass_tokens{};
};

// Thread-compatible.
class Scheduler {
 public:
  // How many leading blocks of these a tenant's cache holds now.
  using Cached = std::function<std::size_t(std::size_t tenant, const std::vector<Digest>& keys)>;

  explicit Scheduler(SchedulerOptions options)
      : options_(std::move(options)), waiting_(options_.tenants.size()), last_start_(options_.tenants.size()) {}

  // KV bytes that the request takes when it runs alone, beyond what is held for the tenant anyway. Thread-safe.
  std::size_t bytes_alone(const SchedRequest& request) const;
  bool could_fit(const SchedRequest& request) const {
    return bytes_alone(request) <= options_.tenants[request.tenant].kv_bytes;
  }

  void submit(SchedRequest request);  // requires: could_fit
  // Ended, or given up, in any state. Unknown ids do nothing.
  void remove(RequestId id);

  BatchStep plan(double now_s, const Cached& cached);

  // After a start: how many tokens the sequence holds. After a pass: that, how many tokens the request has by now,
  // prompt and answer, and whether its policy still owes its step at that length. Requires: running; held < known.
  void opened(RequestId id, std::size_t held);
  void advanced(RequestId id, std::size_t held, std::size_t known, bool owes = false);
  // Memory was short after all: the newest running request of the tenant goes back to wait, and nothing of the tenant
  // starts before one of the others has ended. Returns it; 0 when none runs.
  RequestId preempt_newest(std::size_t tenant);

  std::size_t running() const { return running_.size(); }
  std::size_t waiting() const;
  std::size_t running(std::size_t tenant) const;
  std::size_t waiting(std::size_t tenant) const { return waiting_[tenant].size(); }

 private:
  struct Entry {
    SchedRequest request;
    std::size_t held = 0;    // tokens in its sequence
    std::size_t known = 0;   // tokens that it has
    bool owes = false;       // what its policy does at `held` is still to come
    bool preempted = false;  // has run before
    std::size_t wanted() const { return known - held; }
  };
  using Entries = std::list<Entry>;
  using KeySet = SchedulerOptions::KeySet;

  struct Candidate {
    Entries::iterator entry;
    std::size_t cached_blocks = 0;
    bool first = false;  // preempted, or out of patience
  };
  // A tenant in which something may start in this step.
  struct Turn {
    std::size_t tenant = 0, running = 0;
    SharedBytes bytes;                    // that the running ones will need
    std::size_t beside = 0;               // that they will move elsewhere
    std::vector<Candidate> candidates{};  // the next one last
  };

  std::size_t keyed_blocks(const SchedRequest& request, std::size_t tokens) const;
  // What a request takes on its way from some tokens to more, and the keys of its blocks among that.
  struct Demand {
    GrowthBytes growth;
    std::span<const Digest> keys;
  };
  Demand demand_of(const SchedRequest& request, std::size_t from, std::size_t tokens) const;
  static std::size_t settled(const Entry& entry) { return entry.held - (entry.owes ? 1 : 0); }
  std::size_t pass_tokens(const Entry& entry, std::size_t most) const;
  SharedBytes no_bytes(std::size_t tenant) const { return {options_.tenants[tenant].held, options_.block_bytes}; }
  std::size_t growth_end(const Entry& entry) const;
  void share_rows(BatchStep& plan) const;
  void make_room(BatchStep& plan);
  void start_some(BatchStep& plan, double now_s, const Cached& cached);
  std::vector<Turn> turns(double now_s, const Cached& cached);
  std::vector<Candidate> candidates(std::size_t tenant, std::size_t most, double now_s, const Cached& cached);
  void try_next(Turn& turn, KeySet& computing, BatchStep& plan);
  KeySet being_computed() const;
  void preempt(Entries::iterator entry);

  SchedulerOptions options_;
  Entries running_;                        // in the order in which they started
  std::unordered_set<std::size_t> short_;  // tenants in which nothing starts
  std::vector<Entries> waiting_;           // by tenant; preempted ones first, then in the order of arrival
  std::vector<std::uint64_t> last_start_;  // by tenant, a number of starts_
  std::uint64_t starts_ = 0;
};

}  // namespace cairn
