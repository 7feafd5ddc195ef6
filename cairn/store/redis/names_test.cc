// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/names.h"

#include <gtest/gtest.h>

namespace cairn::redis {
namespace {

TEST(Url, Forms) {
  const auto plain = parse_url("redis://cache");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->address, (Address{.host = "cache", .port = 6379, .socket = {}}));
  EXPECT_FALSE(plain->ttl_s);
  const auto full = parse_url("redis://bob:p%40ss:w@10.0.0.1:7000/3?ttl=60");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->address.text(), "redis://10.0.0.1:7000");
  EXPECT_EQ(full->login.user, "bob");
  EXPECT_EQ(full->login.password, "p@ss:w");
  EXPECT_EQ(full->login.database, 3u);
  EXPECT_EQ(full->ttl_s, 60);
  const auto password = parse_url("redis://:secret@h/?cluster=1&ttl=0");
  ASSERT_TRUE(password);
  EXPECT_EQ(password->login.user, "");
  EXPECT_EQ(password->login.password, "secret");
  EXPECT_TRUE(password->cluster);
  EXPECT_EQ(password->ttl_s, 0);
  const auto v6 = parse_url("redis://[::1]:7001");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->address.host, "::1");
  EXPECT_EQ(v6->address.text(), "redis://[::1]:7001");
  EXPECT_EQ(parse_url("redis://[::1]")->address.port, 6379);
  const auto path = parse_url("unix:///run/redis.sock?db=2");
  ASSERT_TRUE(path);
  EXPECT_EQ(path->address.text(), "unix:///run/redis.sock");
  EXPECT_EQ(path->login.database, 2u);
}

TEST(Url, RefusesWithoutShowingThePassword) {
  for (const char* const url :
       {"", "cache:6379", "http://:secret@h", "redis://", "redis://:secret@", "redis://:secret@h:0",
        "redis://:secret@h:x", "redis://:secret@h:99999", "redis://:secret@h/x", "redis://:secret@h?ttl=-1",
        "redis://:secret@h?ttl=1e3", "redis://:secret@h?cluster=2", "redis://:secret@h?colour=red",
        "redis://:secret%@h", "redis://:secret%4@h", "redis://:secret%zz@h", "redis://:secret@h/3?cluster=1",
        "unix://relative", "unix:///a?cluster=1"}) {
    const auto parsed = parse_url(url);
    ASSERT_FALSE(parsed) << url;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument) << url;
    EXPECT_EQ(parsed.error().message.find("secret"), std::string::npos) << parsed.error().message;
    EXPECT_EQ(parsed.error().message.find('\n'), std::string::npos);
  }
  const auto tls = parse_url("rediss://:secret@h");
  ASSERT_FALSE(tls);
  EXPECT_EQ(tls.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(tls.error().message.find("TLS"), std::string::npos);
}

TEST(RedisKeys, SlotsAreThoseOfTheClusterSpecification) {
  EXPECT_EQ(slot_of("123456789"), 0x31c3 % 16384);  // the specification's check value
  EXPECT_EQ(slot_of("foo"), 12182);
  EXPECT_EQ(slot_of("{user1000}.following"), slot_of("user1000"));
  EXPECT_EQ(slot_of("foo{}{bar}"), slot_of("foo{}{bar}"));
  EXPECT_NE(slot_of("foo{}{bar}"), slot_of("bar"));
  EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
  EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
}

TEST(RedisKeys, NamesAndBack) {
  Digest key;
  key.bytes.fill(0xab);
  EXPECT_EQ(block_of_header_key(header_key(key)), key);
  EXPECT_EQ(recipe_of_key(recipe_key(key)), key);
  EXPECT_EQ(slice_key(key, 0x1f, 12), "kv1:{" + key.hex() + "}:000000000000001f:12");
  for (const std::string& name : {header_key(key), slice_key(key, 1, 2), pin_key(key)}) {
    EXPECT_EQ(slot_of(name), slot_of(key.hex()));
  }
  for (const char* const name : {"", "kv1:{", "kv1:{}:h", "kv1:{xyz}:h", "kv1:recipe:", "}:h"}) {
    EXPECT_FALSE(block_of_header_key(name)) << name;
    EXPECT_FALSE(recipe_of_key(name)) << name;
  }
}

TEST(RedisKeys, CommitIsReadBackAndNothingElseIs) {
  const Commit commit{.record_bytes = 3 << 20, .tag = 77, .slice_bytes = 1 << 20, .slices = 3};
  const auto bytes = commit.bytes();
  const auto read = Commit::read(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->record_bytes, commit.record_bytes);
  EXPECT_EQ(read->tag, commit.tag);
  EXPECT_EQ(read->slices, commit.slices);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(Commit::read(damaged)) << i;
  }
  EXPECT_FALSE(Commit::read(std::span(bytes).first(39)));
  for (const Commit& absurd : {Commit{std::uint64_t{1} << 40, 0, 1 << 20, 1}, Commit{4096, 0, 0, 0},
                               Commit{1 << 20, 0, 1, 1 << 20}, Commit{4096, 0, 4096, 9}}) {
    EXPECT_FALSE(Commit::read(absurd.bytes()));
  }
}

}  // namespace
}  // namespace cairn::redis
