// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/redis/link.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace cairn::redis {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Kind = Reply::Kind;

// A connection whose other end is in the test's hand.
class RedisLinkTest : public ::testing::Test {
 protected:
  RedisLinkTest() { connect(); }
  ~RedisLinkTest() override { hang_up(); }
  void connect() {
    hang_up();
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ::fcntl(fds[0], F_SETFL, O_NONBLOCK);
    link_.emplace(fds[0], seconds(5));
    peer_ = fds[1];
  }
  void say(std::string_view bytes) { EXPECT_EQ(::send(peer_, bytes.data(), bytes.size(), 0), std::ssize(bytes)); }
  void hang_up() {
    if (peer_ >= 0) ::close(peer_);
    peer_ = -1;
  }
  std::string heard() {
    char buffer[65536];
    const ssize_t got = ::recv(peer_, buffer, sizeof buffer, MSG_DONTWAIT);
    return {buffer, static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }
  std::optional<Link> link_;
  int peer_ = -1;
};

TEST_F(RedisLinkTest, CommandsAsTheyAreWritten) {
  const std::string large(Link::kCopied + 1, 'v');
  link_->command({"SET", "k", large, "PX", "5"});
  link_->command({"GET", ""});
  ASSERT_TRUE(link_->flush(deadline_in(seconds(5))));
  EXPECT_EQ(heard(), "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$4097\r\n" + large +
                         "\r\n$2\r\nPX\r\n$1\r\n5\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
  EXPECT_EQ(link_->owed(), 2u);
}

TEST_F(RedisLinkTest, Replies) {
  for (int i = 0; i < 7; ++i) link_->command({"PING"});
  say("+OK\r\n-ERR no\r\n:-12\r\n$5\r\nab\r\nc\r\n$-1\r\n*-1\r\n*3\r\n:1\r\n*1\r\n$1\r\nx\r\n+y\r\n");
  const auto next = [&] { return link_->receive(deadline_in(seconds(5))).value(); };
  EXPECT_EQ(next().text, "OK");
  const Reply error = next();
  EXPECT_TRUE(error.is(Kind::kError));
  EXPECT_EQ(error.text, "ERR no");
  EXPECT_EQ(next().integer, -12);
  EXPECT_EQ(next().text, "ab\r\nc");
  EXPECT_TRUE(next().is(Kind::kNil));
  EXPECT_TRUE(next().is(Kind::kNil));
  const Reply array = next();
  ASSERT_EQ(array.items.size(), 3u);
  EXPECT_EQ(array.items[1].items[0].text, "x");
  EXPECT_EQ(array.items[2].text, "y");
  EXPECT_TRUE(link_->idle());
}

TEST_F(RedisLinkTest, PlacesAStringWhereItIsWanted) {
  std::string wanted(8, '.');
  for (int i = 0; i < 3; ++i) link_->command({"GET"});
  say("$8\r\n12345678\r\n$3\r\nabc\r\n$9\r\nlong long\r\n");
  const auto into = std::as_writable_bytes(std::span(wanted));
  const auto next = [&] { return link_->receive(deadline_in(seconds(5)), into).value(); };
  const Reply all = next();
  EXPECT_TRUE(all.placed);
  EXPECT_EQ(wanted, "12345678");
  const Reply part = next();
  EXPECT_TRUE(part.placed);
  EXPECT_EQ(part.bytes, 3u);
  EXPECT_EQ(wanted, "abc45678");
  const Reply more = next();  // is read and lost; the connection stays in step
  EXPECT_FALSE(more.placed);
  EXPECT_TRUE(more.dropped());
  EXPECT_EQ(more.bytes, 9u);
  EXPECT_EQ(wanted, "abc45678");
  EXPECT_TRUE(link_->idle());
}

TEST_F(RedisLinkTest, IdleOnlyWhenNothingIsOwedSaidOrOver) {
  EXPECT_TRUE(link_->idle());
  link_->command({"PING"});
  EXPECT_FALSE(link_->idle());
  say("+OK\r\n");
  ASSERT_TRUE(link_->receive(deadline_in(seconds(5))));
  EXPECT_TRUE(link_->idle());
  say("+unasked\r\n");
  EXPECT_FALSE(link_->idle());
}

TEST_F(RedisLinkTest, NotIdleAfterTheServerHasLeft) {
  hang_up();
  EXPECT_FALSE(link_->idle());
  link_->command({"PING"});
  EXPECT_FALSE(link_->receive(deadline_in(seconds(5))));  // and no signal ends the process
  EXPECT_EQ(link_->fault(), LinkFault::kClosed);
}

TEST_F(RedisLinkTest, TimeoutAndSilence) {
  link_->command({"PING"});
  EXPECT_FALSE(link_->receive(deadline_in(milliseconds(20))));
  EXPECT_EQ(link_->fault(), LinkFault::kTimeout);
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  Link impatient(fds[0], milliseconds(120));
  impatient.command({"PING"});
  EXPECT_FALSE(impatient.receive(deadline_in(seconds(20))));
  EXPECT_EQ(impatient.fault(), LinkFault::kSilent);
  ::close(fds[1]);
}

TEST_F(RedisLinkTest, NonsenseIsAFault) {
  for (const std::string& bytes : std::vector<std::string>{
           "\r\n", "HELLO\r\n", ":\r\n", ":1x\r\n", ":99999999999999999999\r\n", "$\r\n", "$-2\r\n", "$x\r\n",
           "$1\r\nabc\r\n", "$8388609\r\n", "$99999999999\r\n", "*-2\r\n", "*x\r\n", "*65537\r\n", "*2147483647\r\n",
           "*1\r\n*65536\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "+" + std::string(20'000, 'x'),
           "*2\r\n$5\r\nhello\r\n$8388604\r\n"}) {
    connect();
    link_->command({"PING"});
    ASSERT_TRUE(link_->flush(deadline_in(seconds(5))));
    heard();
    say(bytes);
    hang_up();  // whoever waits for more than that sees the end
    EXPECT_FALSE(link_->receive(deadline_in(seconds(5)))) << bytes.substr(0, 40);
    EXPECT_EQ(link_->fault(), LinkFault::kGarbage) << bytes.substr(0, 40);
    EXPECT_FALSE(link_->flush(deadline_in(seconds(1))));
    EXPECT_FALSE(link_->idle());
  }
}

}  // namespace
}  // namespace cairn::redis
