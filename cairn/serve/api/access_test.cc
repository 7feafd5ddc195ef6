// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cairn::api {
namespace {

using testing::HasSubstr;

std::string hash(std::string_view key) {
  return hash_api_key(key).hex();
}

TEST(Keys, KeysBelongToTenants) {
  const auto keys =
      Keys::parse("# who may ask\n\nalice " + hash("key-one") + "  running=2 waiting=9 kv=64MiB # laptop\n" +
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

TEST(Keys, LimitsOfATenantAddUpButDoNotContradict) {
  const std::string a = "alice " + hash("a"), b = "\nalice " + hash("b");
  const auto keys = Keys::parse(a + " running=2" + b + " kv=1MiB running=2", "keys");
  ASSERT_TRUE(keys.has_value()) << keys.error().message;
  EXPECT_EQ(keys->tenants().at("alice"), (KeyLimits{2, 0, std::size_t{1} << 20}));
  EXPECT_FALSE(Keys::parse(a + " running=2" + b + " running=3", "keys"));
  EXPECT_FALSE(Keys::parse(a + " running=2 running=3", "keys"));
}

TEST(Keys, WrongLinesAreNamedAndNotQuoted) {
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
    const auto keys = Keys::parse(good + line, "keys");
    ASSERT_FALSE(keys.has_value()) << line;
    EXPECT_EQ(keys.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(keys.error().message, HasSubstr(line.find('\n') == std::string::npos ? "keys:2: " : "keys:3: "));
    EXPECT_THAT(keys.error().message, testing::Not(HasSubstr("secret")));
  }
  EXPECT_FALSE(Keys::parse("# nobody\n", "keys").has_value());
}

http::Request request_of(const std::string& host, const std::string& origin = "") {
  http::Request request{.method = "GET", .path = "/", .body = {}, .peer = {}, .headers = {{"Host", host}}, .query = {}};
  if (!origin.empty()) request.headers.emplace("Origin", origin);
  return request;
}

TEST(Origin, AHostHeaderNamesThisMachine) {
  const OriginRules rules{.loopback = true, .hosts = {"box.local"}, .origins = {}};
  for (const char* host : {"localhost", "localhost:8080", "LocalHost", "127.0.0.1:1", "127.1.2.3", "[::1]",
                           "[::1]:8080", "box.local:80", "localhost."}) {
    EXPECT_TRUE(host_allowed(request_of(host), rules)) << host;
  }
  for (const char* host :
       {"", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "localhost:80:80",
        "localhost:", "localhost:x", "[::1", "[::2]", "0.0.0.0", "10.0.0.1", "x@localhost"}) {
    EXPECT_FALSE(host_allowed(request_of(host), rules)) << host;
  }
  http::Request twice = request_of("localhost");
  twice.headers.emplace("Host", "evil.example");
  EXPECT_FALSE(host_allowed(twice, rules));
  EXPECT_TRUE(host_allowed(request_of("any.example"), {.loopback = false, .hosts = {}, .origins = {}}));
}

TEST(Origin, PagesOfOthersNeedPermission) {
  const OriginRules none{.loopback = true, .hosts = {}, .origins = {}};
  const OriginRules one{.loopback = true, .hosts = {}, .origins = {"https://app.example"}};
  const OriginRules all{.loopback = true, .hosts = {}, .origins = {"*"}};
  EXPECT_TRUE(origin_allowed(request_of("localhost:1"), none));
  EXPECT_TRUE(origin_allowed(request_of("localhost:1", "http://localhost:1"), none));
  EXPECT_FALSE(origin_allowed(request_of("localhost:1", "http://localhost:2"), none));
  EXPECT_FALSE(origin_allowed(request_of("localhost:1", "null"), none));
  EXPECT_FALSE(origin_allowed(request_of("localhost:1", "https://app.example.evil"), one));
  EXPECT_TRUE(origin_allowed(request_of("localhost:1", "https://app.example"), one));
  EXPECT_TRUE(origin_allowed(request_of("localhost:1", "https://any.example"), all));

  http::Reply closed, open;
  add_cors_headers(request_of("localhost:1", "http://localhost:1"), none, closed);
  EXPECT_TRUE(closed.headers.empty());
  add_cors_headers(request_of("localhost:1", "https://app.example"), one, open);
  ASSERT_FALSE(open.headers.empty());
  EXPECT_EQ(open.headers[0],
            (std::pair<std::string, std::string>("Access-Control-Allow-Origin", "https://app.example")));
}

}  // namespace
}  // namespace cairn::api
