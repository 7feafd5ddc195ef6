// SPDX-License-Identifier: Apache-2.0
// Redis tiers that tests open, or that do not open, and how long they take.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "cairn/store/redis/redis_tier.h"

namespace cairn::testing {

inline std::unique_ptr<redis::RedisTier> open_redis(const std::string& url, redis::RedisTierOptions options = {}) {
  options.url = url;
  auto tier = redis::RedisTier::open(std::move(options));
  EXPECT_TRUE(tier) << tier.error().message;
  return tier ? *std::move(tier) : nullptr;
}

// Why it does not open: one line without a password.
inline Error open_error(const std::string& url, redis::RedisTierOptions options = {}) {
  options.url = url;
  options.connect_timeout = std::chrono::milliseconds(300);
  const auto tier = redis::RedisTier::open(std::move(options));
  EXPECT_FALSE(tier);
  if (tier) return {};
  EXPECT_EQ(tier.error().message.find('\n'), std::string::npos);
  EXPECT_EQ(tier.error().message.find("secret"), std::string::npos) << tier.error().message;
  return tier.error();
}

// How long it takes, in milliseconds.
template <class F>
std::int64_t timed(F&& f) {
  const auto begun = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
}

}  // namespace cairn::testing
