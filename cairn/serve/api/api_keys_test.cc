// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/api_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn {
namespace {

using testing::HasSubstr;

std::string hash(std::string_view key) {
  return hash_api_key(key).hex();
}

TEST(ApiKeys, KeysBelongToTenants) {
  const auto keys =
      ApiKeys::parse("# who may ask\n\nalice " + hash("key-one") + "  running=2 waiting=9 kv=64MiB # laptop\n" +
                         "alice\t" + hash("key-two") + "\r\nbob " + hash("key-three"),
                     "keys");
  ASSERT_TRUE(keys.has_value()) << keys.error().message;
  EXPECT_EQ(keys->tenant_of("key-one"), "alice");
  EXPECT_EQ(keys->tenant_of("key-two"), "alice");
  EXPECT_EQ(keys->tenant_of("key-three"), "bob");
  for (const char* wrong : {"", "key-on", "key-one ", "KEY-ONE"}) EXPECT_EQ(keys->tenant_of(wrong), std::nullopt);
  EXPECT_EQ(keys->tenant_of(hash("key-one")), std::nullopt);  // the file alone opens nothing
  ASSERT_EQ(keys->tenants().size(), 2u);
  EXPECT_EQ(keys->tenants().at("alice"), (KeyLimits{2, 9, std::size_t{64} << 20}));
  EXPECT_EQ(keys->tenants().at("bob"), KeyLimits{});
}

TEST(ApiKeys, LimitsOfATenantAddUpButDoNotContradict) {
  const std::string a = "alice " + hash("a"), b = "\nalice " + hash("b");
  const auto keys = ApiKeys::parse(a + " running=2" + b + " kv=1MiB running=2", "keys");
  ASSERT_TRUE(keys.has_value()) << keys.error().message;
  EXPECT_EQ(keys->tenants().at("alice"), (KeyLimits{2, 0, std::size_t{1} << 20}));
  EXPECT_FALSE(ApiKeys::parse(a + " running=2" + b + " running=3", "keys"));
  EXPECT_FALSE(ApiKeys::parse(a + " running=2 running=3", "keys"));
}

TEST(ApiKeys, WrongLinesAreNamedAndNotQuoted) {
  const std::string good = "alice " + hash("k") + "\n";
  const std::string bad[] = {
      "alice",
      "alice sk-secret",
      "ali/ce " + hash("b"),
      std::string(65, 'a') + " " + hash("b"),
      "bob " + hash("b") + "0",
      "bob " + hash("b") + " running=0",
      "bob " + hash("b") + " running=x",
      "bob " + hash("b") + " running=99999999999999999999999",
      "bob " + hash("b") + " kv=-1",
      "bob " + hash("b") + " kv=much",
      "bob " + hash("b") + " walking=1",
      "bob " + hash("b") + " sk-secret",
      "bob " + hash("k"),
      "alice " + hash("b") + " running=1\nalice " + hash("c") + " running=2",
  };
  for (const std::string& line : bad) {
    const auto keys = ApiKeys::parse(good + line, "keys");
    ASSERT_FALSE(keys.has_value()) << line;
    EXPECT_EQ(keys.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(keys.error().message, HasSubstr(line.find('\n') == std::string::npos ? "keys:2: " : "keys:3: "));
    EXPECT_THAT(keys.error().message, testing::Not(HasSubstr("secret")));
  }
  EXPECT_FALSE(ApiKeys::parse("# nobody\n", "keys").has_value());
}

}  // namespace
}  // namespace cairn
