// SPDX-License-Identifier: Apache-2.0
// Which way each number may move, over random models, devices, workloads and levers.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "cairn/capacity/serving_plan.h"

namespace cairn::capacity {
namespace {

struct Case {
  ServedModel model;
  Hardware hardware;
  Workload workload;
  Levers levers;

  ServingEstimate plan() const {
    const auto made = plan_serving(model, hardware, workload, levers);
    RC_ASSERT(made.has_value());
    return *made;
  }
};

template <class T>
T any(T low, T high) {
  return *rc::gen::inRange<T>(low, high);
}

double any_of_decades(int low, int high) {
  return std::pow(10.0, any(low * 100, high * 100) / 100.0);
}

double any_share() {
  return any(1, 101) / 100.0;
}

Case any_case() {
  Case c;
  const auto kv_heads = any<std::uint32_t>(1, 9);
  const double params = any_of_decades(8, 12);
  c.model = {"any", params, 2 * params, any<std::uint32_t>(1, 120), kv_heads * any<std::uint32_t>(1, 9), kv_heads, 64};
  c.hardware = {"any", any_of_decades(9, 13), any_of_decades(11, 16), any_of_decades(10, 13), any_of_decades(8, 11)};
  c.workload = {static_cast<std::uint64_t>(any_of_decades(0, 7)), static_cast<std::uint64_t>(any_of_decades(0, 4)),
                any<std::uint64_t>(1, 1000), any<std::uint64_t>(1, 20)};
  c.levers.kv_heads = any<std::uint32_t>(0, c.model.kv_heads + 1);
  c.levers.kv_layers = any<std::uint32_t>(0, c.model.layers + 1);
  c.levers.bits_per_value = any(1, 65) / 2.0;
  c.levers.keep_ratio = any_share();
  c.levers.read_fraction = any_share();
  c.levers.tensor_parallel = any<std::uint32_t>(1, 17);
  return c;
}

// Roundings aside.
bool no_more(double a, double b) {
  return a <= b * (1 + 1e-9);
}

void expect_no_better(const ServingEstimate& worse, const ServingEstimate& better) {
  RC_ASSERT(worse.concurrency <= better.concurrency);
  RC_ASSERT(no_more(worse.sessions_per_hour, better.sessions_per_hour));
}

TEST(ServingProperties, EveryNumberIsFinite) {
  ASSERT_TRUE(rc::check([] {
    const ServingEstimate plan = any_case().plan();
    for (const double value : {plan.kv_bytes_per_session, plan.prefill.seconds, plan.decode.seconds, plan.swap.seconds,
                               plan.session_s, plan.sessions_per_hour, plan.sessions_per_hour_per_device}) {
      RC_ASSERT(std::isfinite(value) && value >= 0);
    }
    RC_ASSERT((plan.concurrency == 0) == (plan.sessions_per_hour == 0));
    RC_ASSERT(plan.batch <= plan.concurrency);
  }));
}

TEST(ServingProperties, MoreBytesPerTokenAreNeverBetter) {
  ASSERT_TRUE(rc::check([] {
    Case less = any_case();
    Case more = less;
    switch (any(0, 3)) {
      case 0: more.levers.bits_per_value += any(1, 32) / 2.0; break;
      case 1: less.levers.keep_ratio *= any_share(); break;
      default: more.workload.context += any<std::uint64_t>(1, 1'000'000); break;
    }
    const ServingEstimate small = less.plan(), large = more.plan();
    expect_no_better(large, small);
    RC_ASSERT(small.swap.seconds <= large.swap.seconds);
    RC_ASSERT(small.prefill.ops <= large.prefill.ops);
  }));
}

TEST(ServingProperties, MoreOfAResourceIsNeverWorse) {
  ASSERT_TRUE(rc::check([] {
    const Case c = any_case();
    const ServingEstimate plan = c.plan();
    double best = 0;
    for (const Resource resource : kResources) {
      Case richer = c;
      richer.hardware = doubled(c.hardware, resource);
      const ServingEstimate doubled_plan = richer.plan();
      expect_no_better(plan, doubled_plan);
      const double gain = plan.sessions_per_hour_if_doubled[static_cast<std::size_t>(resource)];
      RC_ASSERT(no_more(gain, doubled_plan.sessions_per_hour) && no_more(doubled_plan.sessions_per_hour, gain));
      best = std::max(best, gain);
    }
    if (plan.concurrency > 0) {
      RC_ASSERT(plan.sessions_per_hour_if_doubled[static_cast<std::size_t>(plan.binds)] == best);
      RC_ASSERT(best > plan.sessions_per_hour);
    }
  }));
}

TEST(ServingProperties, TensorParallelIsIdeal) {
  ASSERT_TRUE(rc::check([] {
    Case few = any_case();
    Case many = few;
    many.levers.tensor_parallel += any<std::uint32_t>(1, 9);
    expect_no_better(few.plan(), many.plan());
  }));
}

TEST(ServingProperties, ReadingLessChangesDecodingOnly) {
  ASSERT_TRUE(rc::check([] {
    Case all = any_case();
    Case some = all;
    some.levers.read_fraction *= any_share();
    const ServingEstimate a = all.plan(), b = some.plan();
    RC_ASSERT(a.kv_bytes_per_session == b.kv_bytes_per_session && a.concurrency == b.concurrency);
    RC_ASSERT(a.prefill.seconds == b.prefill.seconds && a.swap.seconds == b.swap.seconds);
    RC_ASSERT(b.decode.seconds <= a.decode.seconds);
  }));
}

TEST(ServingProperties, CompressionLeavesThePrefillsArithmetic) {
  ASSERT_TRUE(rc::check([] {
    const Case c = any_case();
    Case plain = c;
    plain.levers = {.tensor_parallel = c.levers.tensor_parallel};
    RC_ASSERT(c.plan().prefill.ops == plain.plan().prefill.ops);
  }));
}

}  // namespace
}  // namespace cairn::capacity
