// SPDX-License-Identifier: Apache-2.0
// The scheduler against a model of an engine: memory that is counted block by block, a cache that keeps what was
// computed, a clock that moves with the rows of a pass.
#include "cairn/sched/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <set>

#include "cairn/block/block_key.h"

namespace cairn {
namespace {

constexpr std::size_t kBlockBytes = 1000;

std::size_t bytes_for(std::size_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens * kBlockBytes;
}

// Prompts of one document have equal keys for its blocks.
std::vector<Digest> keys_of(std::uint64_t document, std::size_t shared, std::uint64_t id, std::size_t tokens) {
  std::vector<Digest> keys;
  for (std::size_t b = 0; b < tokens / kBlockTokens; ++b) {
    Hasher hasher("test");
    hasher.u64(b < shared ? 1000000 + document : id).u64(b);
    keys.push_back(hasher.finish());
  }
  return keys;
}

struct Plan {
  std::uint64_t document = 0;
  std::size_t shared_blocks = 0, prompt = 1, max_new = 1, tenant = 0;
  double arrival_s = 0;
};

class Machine {
 public:
  explicit Machine(SchedulerOptions options) : options_(std::move(options)), scheduler_(options_) {}

  struct Request {
    SchedRequest what;
    std::size_t known = 0, held = 0;
    bool running = false;
    double first_start_s = -1, done_s = -1, last_token_s = -1, longest_gap_s = 0;
    std::size_t starts = 0, computed = 0;
  };

  void submit(RequestId id, const Plan& plan) {
    SchedRequest request{.id = id,
                         .tenant = plan.tenant,
                         .prompt_tokens = plan.prompt,
                         .max_new = plan.max_new,
                         .arrival_s = plan.arrival_s,
                         .keys = keys_of(plan.document, plan.shared_blocks, id, plan.prompt)};
    if (!scheduler_.could_fit(request)) return;
    Request& mine = requests_[id];
    mine.what = request;
    mine.known = plan.prompt;
    scheduler_.submit(std::move(request));
  }

  // One pass; false when there was nothing to do.
  bool step() {
    const BatchStep plan = scheduler_.plan(now_s_, [&](std::size_t, const std::vector<Digest>& keys) {
      ++looked_up_;
      std::size_t held = 0;
      while (held < keys.size() && cache_.contains(keys[held])) ++held;
      return held;
    });
    for (const RequestId id : plan.preempt) {
      EXPECT_TRUE(requests_.at(id).running);
      requests_.at(id).running = false;
      requests_.at(id).held = 0;
      ++preempted_;
    }
    for (const RequestId id : plan.start) start(id);
    std::size_t rows = 0;
    std::set<RequestId> seen;
    for (const BatchStep::Rows& part : plan.rows) {
      EXPECT_TRUE(seen.insert(part.id).second) << "two parts of one request";
      advance(part, rows);
      rows += part.count;
    }
    EXPECT_LE(rows, options_.pass_rows);
    now_s_ += 0.001 * static_cast<double>(rows + 1);
    for (const BatchStep::Rows& part : plan.rows) finish_rows(part.id);
    expect_budgets();
    return rows > 0 || !plan.start.empty() || !plan.preempt.empty();
  }

  Scheduler& scheduler() { return scheduler_; }
  std::map<RequestId, Request>& requests() { return requests_; }
  double now_s() const { return now_s_; }
  std::size_t preempted() const { return preempted_; }
  std::size_t computed() const { return computed_; }
  std::size_t looked_up() const { return looked_up_; }  // prefixes, of waiting requests

 private:
  void start(RequestId id) {
    Request& request = requests_.at(id);
    EXPECT_FALSE(request.running);
    request.running = true;
    ++request.starts;
    if (request.first_start_s < 0) request.first_start_s = now_s_;
    std::size_t blocks = 0;
    while (blocks < request.what.keys.size() && cache_.contains(request.what.keys[blocks])) ++blocks;
    request.held = std::min(blocks * kBlockTokens, request.known - 1);
    scheduler_.opened(id, request.held);
  }

  void advance(const BatchStep::Rows& part, std::size_t) {
    Request& request = requests_.at(part.id);
    EXPECT_TRUE(request.running);
    EXPECT_GE(part.count, 1u);
    EXPECT_LE(request.held + part.count, request.known);
    request.held += part.count;
    computed_ += part.count;
    for (std::size_t b = 0; b < std::min(request.what.keys.size(), request.held / kBlockTokens); ++b) {
      cache_.insert(request.what.keys[b]);
    }
  }

  void finish_rows(RequestId id) {
    Request& request = requests_.at(id);
    if (request.held == request.known) {
      if (request.last_token_s >= 0) {
        request.longest_gap_s = std::max(request.longest_gap_s, now_s_ - request.last_token_s);
      }
      request.last_token_s = now_s_;
      if (++request.known == request.what.prompt_tokens + request.what.max_new) {
        request.done_s = now_s_;
        request.running = false;
        return scheduler_.remove(id);
      }
    }
    scheduler_.advanced(id, request.held, request.known);
  }

  // What running sequences hold, shared blocks once.
  void expect_budgets() const {
    for (std::size_t tenant = 0; tenant < options_.tenants.size(); ++tenant) {
      std::set<Digest> shared;
      std::size_t bytes = 0, running = 0;
      for (const auto& [id, request] : requests_) {
        if (!request.running || request.what.tenant != tenant) continue;
        ++running;
        bytes += bytes_for(request.held);
        for (std::size_t b = 0; b < std::min(request.what.keys.size(), request.held / kBlockTokens); ++b) {
          if (!shared.insert(request.what.keys[b]).second) bytes -= kBlockBytes;
        }
      }
      EXPECT_LE(bytes, options_.tenants[tenant].kv_bytes);
      EXPECT_LE(running, options_.tenants[tenant].max_running);
    }
    EXPECT_LE(scheduler_.running(), options_.max_running);
  }

  SchedulerOptions options_;
  Scheduler scheduler_;
  std::map<RequestId, Request> requests_;
  std::set<Digest> cache_;
  double now_s_ = 0;
  std::size_t preempted_ = 0, computed_ = 0, looked_up_ = 0;
};

SchedulerOptions roomy() {
  return {.tenants = {{.kv_bytes = 1000 * kBlockBytes}}, .bytes_for = bytes_for, .block_bytes = [](std::size_t) {
            return kBlockBytes;
          }};
}

RC_GTEST_PROP(SchedulerModel, EverybodyEndsWithinTheBudgets, ()) {
  SchedulerOptions options = roomy();
  options.tenants.clear();
  const auto tenants = *rc::gen::inRange<std::size_t>(1, 4);
  for (std::size_t t = 0; t < tenants; ++t) {
    options.tenants.push_back({.kv_bytes = *rc::gen::inRange<std::size_t>(2, 40) * kBlockBytes,
                               .max_running = *rc::gen::inRange<std::size_t>(1, 8)});
  }
  options.max_running = *rc::gen::inRange<std::size_t>(1, 12);
  options.growth_tokens = *rc::gen::inRange<std::size_t>(0, 600);
  options.patience_s = *rc::gen::element(0.0, 0.1, 5.0);
  Machine machine(options);
  const auto count = *rc::gen::inRange<std::size_t>(1, 30);
  for (RequestId id = 1; id <= count; ++id) {
    const Plan plan{.document = *rc::gen::inRange<std::uint64_t>(0, 3),
                    .shared_blocks = *rc::gen::inRange<std::size_t>(0, 10),
                    .prompt = *rc::gen::inRange<std::size_t>(1, 1200),
                    .max_new = *rc::gen::inRange<std::size_t>(1, 400),
                    .tenant = *rc::gen::inRange<std::size_t>(0, tenants),
                    .arrival_s = machine.now_s()};
    machine.submit(id, plan);
    const auto steps = *rc::gen::inRange(0, 5);
    for (int s = 0; s < steps; ++s) (void)machine.step();
    if (*rc::gen::inRange(0, 10) == 0 && machine.requests().contains(id)) {  // the client goes away
      machine.scheduler().remove(id);
      machine.requests().erase(id);
    }
  }
  std::size_t idle = 0;
  for (int s = 0; s < 200000 && machine.scheduler().running() + machine.scheduler().waiting() > 0; ++s) {
    idle = machine.step() ? 0 : idle + 1;
    RC_ASSERT(idle < 2);
  }
  RC_ASSERT(machine.scheduler().running() + machine.scheduler().waiting() == 0);
  for (const auto& [id, request] : machine.requests()) RC_ASSERT(request.done_s >= 0);
  if (options.growth_tokens >= 400) RC_ASSERT(machine.preempted() == 0);  // admission counts on all there will be
}

TEST(Scheduler, ALongPromptDelaysTheOthersByOneChunk) {
  Machine machine(roomy());
  for (RequestId id = 1; id <= 4; ++id) machine.submit(id, {.document = id, .prompt = 64, .max_new = 200});
  for (int i = 0; i < 10; ++i) machine.step();
  machine.submit(9, {.document = 9, .prompt = 8192, .max_new = 10, .arrival_s = machine.now_s()});
  while (machine.requests().at(9).done_s < 0 && machine.step()) {
  }
  for (RequestId id = 1; id <= 4; ++id) {
    EXPECT_LE(machine.requests().at(id).longest_gap_s, 0.001 * (64 + 5 + 1) + 1e-9);
  }
}

TEST(Scheduler, ASharedPrefixIsComputedOnce) {
  Machine machine(roomy());
  for (RequestId id = 1; id <= 8; ++id) {
    machine.submit(id, {.document = 1, .shared_blocks = 16, .prompt = 16 * kBlockTokens + 10, .max_new = 5});
  }
  while (machine.step()) {
  }
  EXPECT_EQ(machine.computed(), 16 * kBlockTokens + 8 * (10 + 4));
}

TEST(Scheduler, LongerPrefixesGoFirstUntilSomebodyHasWaitedTooLong) {
  SchedulerOptions options = roomy();
  options.max_running = 1;
  options.patience_s = 3;
  Machine machine(options);
  machine.submit(1, {.document = 1, .shared_blocks = 4, .prompt = 300, .max_new = 1});
  while (machine.requests().at(1).done_s < 0) machine.step();
  const double start_s = machine.now_s();
  machine.submit(100, {.document = 2, .prompt = 300, .max_new = 1, .arrival_s = start_s});
  // A stream of requests that know their prefix would keep it waiting for ever.
  RequestId next = 200;
  while (machine.requests().at(100).first_start_s < 0) {
    ASSERT_LT(machine.now_s(), start_s + 4) << "it starves";
    if (machine.scheduler().waiting() < 3) {
      machine.submit(next++,
                     {.document = 1, .shared_blocks = 4, .prompt = 300, .max_new = 1, .arrival_s = machine.now_s()});
    }
    machine.step();
  }
  EXPECT_GT(machine.requests().at(100).first_start_s, start_s + 2.9);
  EXPECT_GT(next, 210u);
}

TEST(Scheduler, TheNewestMakesRoomAndComesBack) {
  SchedulerOptions options = roomy();
  options.tenants = {{.kv_bytes = 20 * kBlockBytes}};
  options.growth_tokens = 64;
  Machine machine(options);
  for (RequestId id = 1; id <= 3; ++id) {
    machine.submit(id, {.document = id, .prompt = 128, .max_new = 1000, .arrival_s = static_cast<double>(id)});
  }
  while (machine.step()) {
  }
  EXPECT_GT(machine.preempted(), 0u);
  EXPECT_EQ(machine.requests().at(1).starts, 1u) << "the oldest never makes room";
  EXPECT_LT(machine.requests().at(1).done_s, machine.requests().at(3).done_s);
  for (RequestId id = 1; id <= 3; ++id) EXPECT_GE(machine.requests().at(id).done_s, 0);
}

TEST(Scheduler, TenantsTakeTurns) {
  SchedulerOptions options = roomy();
  options.tenants.push_back(options.tenants.front());
  options.max_running = 4;
  Machine machine(options);
  for (RequestId id = 1; id <= 20; ++id) machine.submit(id, {.document = id, .prompt = 100, .max_new = 50});
  machine.step();
  machine.submit(50, {.document = 50, .prompt = 100, .max_new = 50, .tenant = 1});
  while (machine.requests().at(50).first_start_s < 0) ASSERT_TRUE(machine.step());
  double first_end_s = machine.now_s();
  for (RequestId id = 1; id <= 4; ++id) {
    if (machine.requests().at(id).done_s >= 0) first_end_s = std::min(first_end_s, machine.requests().at(id).done_s);
  }
  EXPECT_EQ(machine.requests().at(50).first_start_s, first_end_s) << "the first place that became free was its";
}

// Three tenants, two of which have `queued` requests; when one of the third starts, by the clock.
std::vector<double> starts_beside(std::size_t queued, const SchedulerOptions& options, std::size_t steps) {
  Machine machine(options);
  for (RequestId id = 1; id <= 2 * queued; ++id) {
    machine.submit(id, {.document = id, .prompt = 100, .max_new = 20 + id % 2 * 20, .tenant = id % 2});
  }
  for (std::size_t s = 0; s < steps; ++s) machine.step();
  std::vector<double> starts;
  for (RequestId id = 10001; id <= 10003; ++id) {
    machine.submit(id, {.document = id, .prompt = 70, .max_new = 5, .tenant = 2, .arrival_s = machine.now_s()});
    while (machine.requests().at(id).done_s < 0) {
      if (!machine.step()) return {};
    }
    starts.push_back(machine.requests().at(id).first_start_s);
  }
  return starts;
}

RC_GTEST_PROP(SchedulerModel, HowLongATenantWaitsDoesNotDependOnTheQueuesOfOthers, ()) {
  SchedulerOptions options = roomy();
  options.tenants.resize(3, options.tenants.front());
  options.max_running = *rc::gen::inRange<std::size_t>(1, 6);
  options.patience_s = *rc::gen::element(0.0, 0.1, 5.0);
  for (std::size_t t = 0; t < 2; ++t) {
    options.tenants[t].max_running = *rc::gen::element<std::size_t>(1, 3, SIZE_MAX);
    options.tenants[t].kv_bytes = *rc::gen::element<std::size_t>(3, 1000) * kBlockBytes;
  }
  const auto steps = *rc::gen::inRange<std::size_t>(0, 100);
  const std::vector<double> starts = starts_beside(50, options, steps);
  RC_ASSERT(starts.size() == 3);
  RC_ASSERT(starts_beside(400, options, steps) == starts);
}

TEST(Scheduler, ATenantAtItsLimitKeepsNoPlaceFree) {
  SchedulerOptions options = roomy();
  options.tenants.resize(2, options.tenants.front());
  options.tenants[0].max_running = 1;
  options.max_running = 4;
  Machine machine(options);
  for (RequestId id = 1; id <= 200; ++id) machine.submit(id, {.document = id, .prompt = 100, .max_new = 400});
  machine.step();
  machine.submit(500, {.document = 500, .prompt = 100, .max_new = 4, .tenant = 1, .arrival_s = machine.now_s()});
  machine.step();
  EXPECT_TRUE(machine.requests().at(500).running);
}

TEST(Scheduler, TenantsTakeTurnsAlsoWhenAllHaveWaitedTooLong) {
  SchedulerOptions options = roomy();
  options.tenants.resize(2, options.tenants.front());
  options.max_running = 1;
  options.patience_s = 0;
  Machine machine(options);
  for (RequestId id = 1; id <= 150; ++id) machine.submit(id, {.document = id, .prompt = 100, .max_new = 5});
  for (int i = 0; i < 20; ++i) machine.step();
  std::size_t before = 0;
  for (const auto& [id, request] : machine.requests()) before += request.starts;
  for (RequestId id = 501; id <= 503; ++id) {
    machine.submit(id, {.document = id, .prompt = 100, .max_new = 5, .tenant = 1, .arrival_s = machine.now_s()});
  }
  while (machine.requests().at(503).first_start_s < 0) ASSERT_TRUE(machine.step());
  std::size_t after = 0;
  for (const auto& [id, request] : machine.requests()) after += request.starts;
  EXPECT_LE(after - before, 6u) << "every second start is its";
}

TEST(Scheduler, AStepLooksAtFewOfManyWhoWait) {
  SchedulerOptions options = roomy();
  options.tenants.resize(4, options.tenants.front());
  for (std::size_t t = 0; t < 3; ++t) options.tenants[t].kv_bytes = 5 * kBlockBytes;  // places are free, bytes are not
  Machine machine(options);
  for (RequestId id = 1; id <= 600; ++id) {
    machine.submit(id, {.document = id, .prompt = 200, .max_new = 100, .tenant = id % 3});
  }
  for (int i = 0; i < 30; ++i) {
    const std::size_t before = machine.looked_up();
    machine.step();
    EXPECT_LE(machine.looked_up() - before, 128u);
  }
  EXPECT_EQ(machine.scheduler().running(), 3u);
  EXPECT_EQ(machine.scheduler().waiting(), 597u);
  EXPECT_EQ(machine.scheduler().waiting(0), 199u);
}

}  // namespace
}  // namespace cairn
