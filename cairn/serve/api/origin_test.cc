// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/origin.h"

#include <gtest/gtest.h>

namespace cairn {
namespace {

HttpRequest request_of(const std::string& host, const std::string& origin = "") {
  HttpRequest request{.method = "GET", .path = "/", .body = {}, .peer = {}, .headers = {{"Host", host}}, .query = {}};
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
  HttpRequest twice = request_of("localhost");
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

  HttpReply closed, open;
  add_cors_headers(request_of("localhost:1", "http://localhost:1"), none, closed);
  EXPECT_TRUE(closed.headers.empty());
  add_cors_headers(request_of("localhost:1", "https://app.example"), one, open);
  ASSERT_FALSE(open.headers.empty());
  EXPECT_EQ(open.headers[0],
            (std::pair<std::string, std::string>("Access-Control-Allow-Origin", "https://app.example")));
}

}  // namespace
}  // namespace cairn
