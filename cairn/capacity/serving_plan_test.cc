// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/serving_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace cairn::capacity {
namespace {

constexpr double kGib = 1024.0 * 1024 * 1024;

// A model and a device of round numbers: 10 MB of weights; a token's KV is 2 * 2 * 2 * 4 * 2 = 64 bytes.
const ServedModel kSmall{"small", 5e6, 10e6, 2, 4, 2, 4};
const Hardware kDevice{"device", 11e6, 1e9, 1e8, 1e6};

ServingEstimate plan_of(const Workload& workload, const Levers& levers = {}, const Hardware& device = kDevice) {
  const Result<ServingEstimate> plan = plan_serving(kSmall, device, workload, levers);
  EXPECT_TRUE(plan.has_value()) << plan.error().message;
  return *plan;
}

// Half of the layers see 512 positions.
TEST(ServingPlan, LayersWithAWindowKeepWhatItCovers) {
  ServedModel model = *find_model("llama-3.1-8b");
  const double all = model.kept(8192);
  EXPECT_EQ(all, 8192);
  EXPECT_EQ(model.pairs(1000), 500'000);
  model.window_layers = model.layers / 2;
  model.window = 512;
  EXPECT_EQ(model.kept(8192), (8192 + 512) / 2);
  EXPECT_EQ(model.kept(100), 100);
  model.window_kept = 640;
  EXPECT_EQ(model.kept(8192), (8192 + 640) / 2);
  EXPECT_EQ(model.kept(600), 600);
  EXPECT_EQ(model.seen(8192), (8192 + 512) / 2);
  EXPECT_EQ(model.pairs(512), 512 * 512 / 2);
  // Query by query: 512 of each beyond the first 512.
  EXPECT_DOUBLE_EQ(model.pairs(1512), (1512.0 * 1512 / 2 + 512.0 * 512 / 2 + 1000.0 * 512) / 2);
}

// What a session keeps counts for its place, what a query sees for reading, and all pages of all blocks go out.
TEST(ServingEstimate, CountsWhatLayersWithAWindowHold) {
  ServedModel model = *find_model("llama-3.1-8b");
  const Workload workload{.context = 32'768, .answer_tokens = 1};
  const auto whole = plan_serving(model, *find_hardware("h100"), workload);
  model.window_layers = model.layers / 2;
  model.window = 512;
  model.window_kept = 640;
  const auto plan = plan_serving(model, *find_hardware("h100"), workload);
  ASSERT_TRUE(whole && plan);
  const double per_layer_token = whole->kv_bytes_per_session / 32 / 32'768;
  EXPECT_DOUBLE_EQ(plan->kv_bytes_per_session, per_layer_token * 16 * (32'768 + 640));
  EXPECT_DOUBLE_EQ(plan->decode.bytes, model.weight_bytes + per_layer_token * 16 * (32'768 + 512));
  EXPECT_DOUBLE_EQ(plan->swap.bytes, whole->kv_bytes_per_session + plan->kv_bytes_per_session);
  EXPECT_DOUBLE_EQ(whole->swap.bytes, 2 * whole->kv_bytes_per_session);
}

// The running example of arXiv 2405.08944: Yi-34B of 50,000 tokens on an A100, an answer of 250 tokens.
TEST(ServingEstimate, ReproducesThePaper) {
  const auto plan = plan_serving(*find_model("yi-34b"), *find_hardware("a100-80g"), {.context = 50'000});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->weight_bytes, 68e9);
  EXPECT_EQ(plan->kv_bytes_per_session, 12.288e9);
  EXPECT_NEAR(plan->kv_bytes_per_session / kGib, 11.4, 0.05 * 11.4);
  EXPECT_EQ(plan->concurrency, 1u);
  EXPECT_NEAR(plan->prefill.seconds, 14.1, 0.05 * 14.1);
  EXPECT_NEAR(plan->decode.seconds, 9.8, 0.05 * 9.8);
  EXPECT_NEAR(plan->swap.seconds, 1.1, 0.05 * 1.1);
  EXPECT_EQ(plan->prefill.binds, Resource::kFlops);
  EXPECT_EQ(plan->decode.binds, Resource::kBandwidth);
}

TEST(ServingEstimate, ReproducesThePaperAt4K) {
  const auto plan = plan_serving(*find_model("yi-34b"), *find_hardware("a100-80g"), {.context = 4'000});
  ASSERT_TRUE(plan);
  EXPECT_NEAR(plan->kv_bytes_per_session / kGib, 0.91, 0.05 * 0.91);
  EXPECT_NEAR(plan->prefill.seconds, 0.89, 0.05 * 0.89);
  EXPECT_NEAR(plan->decode.seconds, 8.5, 0.05 * 8.5);
  EXPECT_NEAR(plan->swap.seconds, 0.09, 0.05 * 0.09);
}

TEST(ServingEstimate, BothProductsOfAttentionCostTwiceThePapersOne) {
  ServedModel model = *find_model("yi-34b");
  const Hardware device = *find_hardware("a100-80g");
  const double once = plan_serving(model, device, {.context = 50'000})->prefill.ops;
  model.attention_ops = 4;
  const double both = plan_serving(model, device, {.context = 50'000})->prefill.ops;
  EXPECT_EQ(both - once, 50'000.0 * 50'000 * 60 * 56 * 128);
}

TEST(ServingEstimate, ByHand) {
  const ServingEstimate plan = plan_of({.context = 5000, .users = 2, .answer_tokens = 10, .rounds = 3});
  EXPECT_EQ(plan.kv_bytes_per_session, 320e3);
  EXPECT_EQ(plan.concurrency, 3u);  // 1 MB of room
  EXPECT_EQ(plan.batch, 2u);
  EXPECT_FALSE(plan.switches);
  EXPECT_DOUBLE_EQ(plan.prefill.ops, 5000 * 10e6 + 5000.0 * 5000 / 2 * 2 * 2 * 16);
  EXPECT_DOUBLE_EQ(plan.prefill.seconds, 50.8);
  EXPECT_DOUBLE_EQ(plan.decode.bytes, 10 * (10e6 + 2 * 320e3));
  EXPECT_DOUBLE_EQ(plan.decode.seconds, 1.064);
  EXPECT_DOUBLE_EQ(plan.swap.seconds, 0.64);
  EXPECT_DOUBLE_EQ(plan.session_s, 50.8 + 3 * 1.064 / 2);
  EXPECT_DOUBLE_EQ(plan.sessions_per_hour, 3600 / plan.session_s);
  EXPECT_EQ(plan.binds, Resource::kFlops);
}

TEST(ServingEstimate, SwitchesOnlyWithMoreUsersThanPlaces) {
  EXPECT_FALSE(plan_of({.context = 5000, .users = 3}).switches);
  const ServingEstimate plan = plan_of({.context = 5000, .users = 4, .rounds = 2});
  EXPECT_TRUE(plan.switches);
  EXPECT_EQ(plan.batch, 3u);
  EXPECT_DOUBLE_EQ(plan.session_s, plan.prefill.seconds + 2 * (plan.decode.seconds / 3 + plan.swap.seconds));
}

TEST(ServingEstimate, WeightsAreReadOnceForAllWhoDecode) {
  const double alone = plan_of({.context = 5000, .users = 1, .answer_tokens = 10}).decode.bytes;
  const double three = plan_of({.context = 5000, .users = 3, .answer_tokens = 10}).decode.bytes;
  EXPECT_DOUBLE_EQ(three - alone, 10 * 2 * 320e3);
}

TEST(ServingEstimate, LargeBatchesAreBoundByArithmetic) {
  Hardware device = kDevice;
  device.memory_bytes = 1e12;
  EXPECT_EQ(plan_of({.context = 10, .users = 1}, {}, device).decode.binds, Resource::kBandwidth);
  const ServingEstimate many = plan_of({.context = 10, .users = 1000}, {}, device);
  EXPECT_EQ(many.decode.binds, Resource::kFlops);
  EXPECT_EQ(many.batch, 1000u);
}

TEST(ServingEstimate, TensorParallelMultipliesAllButTheLink) {
  const ServingEstimate one = plan_of({.context = 5000});
  const ServingEstimate four = plan_of({.context = 5000}, {.tensor_parallel = 4});
  EXPECT_EQ(four.memory_bytes, 4 * one.memory_bytes);
  EXPECT_EQ(four.concurrency, 106u);  // 34 MB of room
  EXPECT_DOUBLE_EQ(four.prefill.seconds, one.prefill.seconds / 4);
  EXPECT_DOUBLE_EQ(four.decode.seconds, one.decode.seconds / 4);
  EXPECT_DOUBLE_EQ(four.swap.seconds, one.swap.seconds);
  EXPECT_DOUBLE_EQ(four.sessions_per_hour_per_device, four.sessions_per_hour / 4);
}

TEST(ServingEstimate, EachLeverActsWhereItShould) {
  const Workload workload{.context = 5000, .users = 2, .answer_tokens = 10};
  const ServingEstimate plain = plan_of(workload);
  for (const Levers& halved :
       {Levers{.kv_heads = 1}, Levers{.kv_layers = 1}, Levers{.bits_per_value = 8}, Levers{.keep_ratio = 0.5}}) {
    const ServingEstimate plan = plan_of(workload, halved);
    EXPECT_EQ(plan.kv_bytes_per_session, 160e3);
    EXPECT_EQ(plan.concurrency, 6u);
    EXPECT_EQ(plan.prefill.ops, plain.prefill.ops);
    EXPECT_EQ(plan.prefill.seconds, plain.prefill.seconds);
    EXPECT_DOUBLE_EQ(plain.decode.bytes - plan.decode.bytes, 10 * 2 * 160e3);
    EXPECT_DOUBLE_EQ(plan.swap.seconds, plain.swap.seconds / 2);
  }
  const ServingEstimate read = plan_of(workload, {.read_fraction = 0.5});
  EXPECT_EQ(read.kv_bytes_per_session, plain.kv_bytes_per_session);
  EXPECT_EQ(read.concurrency, plain.concurrency);
  EXPECT_EQ(read.prefill.seconds, plain.prefill.seconds);
  EXPECT_EQ(read.swap.seconds, plain.swap.seconds);
  EXPECT_DOUBLE_EQ(plain.decode.bytes - read.decode.bytes, 10 * 2 * 160e3);
  EXPECT_DOUBLE_EQ(plan_of(workload, {.swap_bytes_per_s = 4e6}).swap.seconds, plain.swap.seconds / 4);
}

TEST(ServingEstimate, AttentionMayHaveItsOwnRate) {
  Hardware device = kDevice;
  device.attention_flops = kDevice.flops / 10;
  EXPECT_DOUBLE_EQ(plan_of({.context = 5000}, {}, device).prefill.seconds, 50 + 8);
}

TEST(ServingEstimate, NothingFits) {
  const ServingEstimate plan = plan_of({.context = 50'000});
  EXPECT_EQ(plan.concurrency, 0u);
  EXPECT_EQ(plan.sessions_per_hour, 0);
  EXPECT_EQ(plan.session_s, 0);
  EXPECT_FALSE(plan.switches);
  EXPECT_EQ(plan.binds, Resource::kMemorySize);
  Hardware device = kDevice;
  device.memory_bytes = 1e6;  // less than the weights
  EXPECT_EQ(plan_of({.context = 1}, {}, device).concurrency, 0u);
}

TEST(ServingEstimate, RefusesWhatMakesNoSense) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const auto refused = [](const Workload& workload, const Levers& levers, const Hardware& device) {
    const auto plan = plan_serving(kSmall, device, workload, levers);
    return !plan && plan.error().code == ErrorCode::kInvalidArgument && !plan.error().message.empty();
  };
  EXPECT_TRUE(refused({.context = 0}, {}, kDevice));
  EXPECT_TRUE(refused({.context = std::uint64_t{1} << 60}, {}, kDevice));
  EXPECT_TRUE(refused({.context = 1, .users = 0}, {}, kDevice));
  EXPECT_TRUE(refused({.context = 1, .answer_tokens = 0}, {}, kDevice));
  EXPECT_TRUE(refused({.context = 1, .rounds = 0}, {}, kDevice));
  EXPECT_TRUE(refused({.context = 1}, {.kv_heads = 5}, kDevice));
  EXPECT_TRUE(refused({.context = 1}, {.kv_layers = 3}, kDevice));
  EXPECT_TRUE(refused({.context = 1}, {.tensor_parallel = 0}, kDevice));
  for (const double bad : {nan, inf, -1.0, 0.0, 1e30}) {
    EXPECT_TRUE(refused({.context = 1}, {.bits_per_value = bad}, kDevice));
    EXPECT_TRUE(refused({.context = 1}, {.keep_ratio = bad}, kDevice));
    EXPECT_TRUE(refused({.context = 1}, {.read_fraction = bad}, kDevice));
    EXPECT_TRUE(bad == 0 || refused({.context = 1}, {.swap_bytes_per_s = bad}, kDevice));
    EXPECT_TRUE(refused({.context = 1}, {}, {"bad", bad, 1e9, 1e8, 1e6}));
    EXPECT_TRUE(refused({.context = 1}, {}, {"bad", 1e6, bad, 1e8, 1e6}));
    EXPECT_TRUE(refused({.context = 1}, {}, {"bad", 1e6, 1e9, bad, 1e6}));
    EXPECT_TRUE(refused({.context = 1}, {}, {"bad", 1e6, 1e9, 1e8, bad}));
  }
}

TEST(Presets, UnknownNamesListTheKnown) {
  EXPECT_THAT(find_hardware("abacus").error().message, testing::HasSubstr("a100-80g, h100, h200"));
  EXPECT_THAT(find_model("gpt-9").error().message, testing::HasSubstr("yi-34b, llama-3.1-8b"));
}

// The times that the model predicts for a device give that device back.
TEST(FitRates, FindsTheDeviceBehindTwoPrefills) {
  const ServedModel model = *find_model("llama-3.1-8b");
  const double flops = 2e12, attention_flops = 5e11, tokens = 128, depth = 1024;
  const auto seconds = [&](double behind) {
    const double pairs = tokens * behind + tokens * tokens / 2;
    return tokens * 2 * model.params / flops +
           pairs * model.attention_ops * model.layers * model.attention_width() / attention_flops;
  };
  const PrefillTimes times{.tokens = tokens, .depth = depth, .at_start_s = seconds(0), .at_depth_s = seconds(depth)};
  Hardware hardware;
  fit_rates(model, times, hardware);
  EXPECT_NEAR(hardware.flops / flops, 1, 1e-9);
  EXPECT_NEAR(hardware.attention_flops / attention_flops, 1, 1e-9);

  // A deep prefill that looks faster than the other gives no negative rate.
  fit_rates(model, {.tokens = tokens, .depth = depth, .at_start_s = 2, .at_depth_s = 1.9}, hardware);
  EXPECT_GT(hardware.flops, 0);
  EXPECT_NEAR(hardware.attention_flops / hardware.flops, 1, 1e-9);
}

TEST(LeverRows, AloneAndTogether) {
  EXPECT_EQ(lever_rows({}).size(), 1u);
  EXPECT_EQ(lever_rows({.keep_ratio = 0.5}).size(), 2u);
  const Levers both{.bits_per_value = 4.5, .keep_ratio = 0.25};
  const auto rows = lever_rows(both);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].levers, Levers{});
  EXPECT_EQ(rows[1].name, "4.5 bits per value");
  EXPECT_EQ(rows[1].levers, (Levers{.bits_per_value = 4.5}));
  EXPECT_EQ(rows[2].levers, (Levers{.keep_ratio = 0.25}));
  EXPECT_EQ(rows[3].name, "all together");
  EXPECT_EQ(rows[3].levers, both);
}

}  // namespace
}  // namespace cairn::capacity
