// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/target.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace cairn::load {
namespace {

TEST(Target, NamesAndPrefixes) {
  const Target plain = *parse_target("http://127.0.0.1:8080");
  EXPECT_EQ(plain.name, "127.0.0.1:8080");
  EXPECT_EQ(plain.origin, "http://127.0.0.1:8080");
  EXPECT_EQ(plain.path, "");
  const Target named = *parse_target("ours=https://host/models/a/v1/");
  EXPECT_EQ(named.name, "ours");
  EXPECT_EQ(named.origin, "https://host");
  EXPECT_EQ(named.path, "/models/a");
  EXPECT_EQ(parse_target("http://[::1]:80/v1")->origin, "http://[::1]:80");
  EXPECT_EQ(parse_target("http://[::1]:81/v1")->host, "::1");
  EXPECT_EQ(parse_target("http://[::1]:81/v1")->port, 81);
  EXPECT_EQ(plain.host, "127.0.0.1");
  EXPECT_EQ(plain.port, 8080);
  EXPECT_FALSE(plain.tls);
  EXPECT_EQ(named.host, "host");
  EXPECT_EQ(named.port, 443);
  EXPECT_TRUE(named.tls);
  EXPECT_EQ(parse_target("http://host/a=b")->path, "/a=b");
}

TEST(Target, WrongOnesAreRefusedByName) {
  for (const char* text :
       {"", "host:80", "ftp://host", "http://", "http:///v1", "http://host:", "http://host:0", "http://host:99999",
        "http://host:80x", "=http://host", "http://a:b@host", "http://ho st", "http://host?x", "http://host/v1?x",
        "http://host/#a", "http://:80", "http://[::1", "http://[::1]x"}) {
    const auto target = parse_target(text);
    ASSERT_FALSE(target) << text;
    EXPECT_EQ(target.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(target.error().message.find(text), std::string::npos);
  }
}

TEST(Target, SeveralHaveOneKeyAndDifferentNames) {
  const std::vector<std::string> two = {"a=http://host", "b=http://host"}, same = {"a=http://host", "a=http://other"};
  const auto targets = parse_targets(two, "secret", "ca.pem");
  ASSERT_TRUE(targets);
  ASSERT_EQ(targets->size(), 2u);
  EXPECT_EQ((*targets)[1].name, "b");
  for (const Target& target : *targets) {
    EXPECT_EQ(target.key, "secret");
    EXPECT_EQ(target.authorities, "ca.pem");
  }
  EXPECT_EQ(parse_targets(same, "", "").error().message, "two servers are named 'a'; use --url NAME=URL");
  EXPECT_EQ(parse_targets(two, "two\nlines", "").error().message, "a key is one line");
}

TEST(Target, AnyTextIsATargetOrAnError) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    const auto target = parse_target("http://" + text);
    if (target) RC_ASSERT(!target->name.empty() && target->origin.starts_with("http://"));
  }));
}

}  // namespace
}  // namespace cairn::load
