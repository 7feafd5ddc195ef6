// SPDX-License-Identifier: Apache-2.0
// A server that sends what no honest one does, byte by byte as told, some of it without an end.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "cairn/load/ask.h"

namespace cairn::load {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr milliseconds kTimeout(60000);

std::string event(const std::string& json) {
  return "data: " + json + "\n\n";
}

class LyingServerTest : public testing::Test {
 protected:
  LyingServerTest() : listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_, generic, size), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    EXPECT_EQ(::getsockname(listener_, generic, &size), 0);
    target_ = *parse_target("http://127.0.0.1:" + std::to_string(::ntohs(address.sin_port)));
  }
  ~LyingServerTest() override {
    ::shutdown(listener_, SHUT_RDWR);
    thread_ = {};
    ::close(listener_);
  }

  // Answers one request with `once`, then with `again` until the client has had enough.
  void tell(std::string once, std::string again = "") {
    thread_ = std::jthread([this, once = std::move(once), again = std::move(again)] {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      char asked[65536];
      (void)::recv(connection, asked, sizeof asked, 0);
      bool taken = send(connection, once);
      while (taken && !again.empty()) taken = send(connection, again);
      ::shutdown(connection, SHUT_WR);
      while (::recv(connection, asked, sizeof asked, 0) > 0) {
      }
      ::close(connection);
    });
  }
  void tell_stream(const std::string& events) {
    tell("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" + events);
  }
  bool send(int connection, std::string_view bytes) {
    for (; !bytes.empty();) {
      const ssize_t sent = ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      sent_ += static_cast<std::size_t>(sent);
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  HttpClient client() { return {target_, watch_}; }
  Record ask_once() {
    Record record;
    const AskOptions options{.timeout = kTimeout};
    ask(client(), ask_body({{"user", "x"}}, 4, "m", options), options, std::chrono::steady_clock::now(), record, {});
    return record;
  }

  int listener_;
  std::atomic<std::size_t> sent_{0};
  Target target_;
  DeadlineWatch watch_;
  std::jthread thread_;
};

TEST_F(LyingServerTest, AHeadWithoutEndIsCutOff) {
  const std::string start = "HTTP/1.1 200 OK\r\n";
  for (const std::string& again : {"X-A: " + std::string(1000, 'b') + "\r\n", std::string(65536, 'b'),
                                   std::string("HTTP/1.1 100 Continue\r\n\r\n")}) {
    sent_ = 0;
    tell(again.front() == 'b' ? start + "X: " : again.front() == 'X' ? start : "", again);
    const Record record = ask_once();
    EXPECT_EQ(record.error, "too long");
    EXPECT_EQ(record.detail, "more than 65536 bytes of head");
    EXPECT_LT(sent_, std::size_t{32} << 20) << "what lies in buffers of sockets is not read";
  }
}

TEST_F(LyingServerTest, AChunkThatDoesNotSayItsSizeIsCutOff) {
  tell("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", std::string(65536, '0'));
  EXPECT_EQ(ask_once().detail, "more than 65536 bytes of framing");
}

TEST_F(LyingServerTest, ABodyWithoutEndIsTooLongNotAnInterrupt) {
  const std::string head = "Connection: close\r\n\r\n";
  tell("HTTP/1.1 500 no\r\n" + head, std::string(65536, 'E'));
  const Record record = ask_once();
  EXPECT_EQ(record.error, "too long");
  EXPECT_EQ(record.detail, "the answer is longer than 67108864 bytes");
  tell("HTTP/1.1 200 OK\r\n" + head + "{\"tokens\":[", std::string(65536, '1'));
  const auto tokens = count_tokens(client(), "x", kTimeout);
  ASSERT_FALSE(tokens);
  EXPECT_EQ(tokens.error().code, ErrorCode::kIo);
  EXPECT_THAT(tokens.error().message, HasSubstr("the answer is longer than 67108864 bytes"));
}

TEST_F(LyingServerTest, EventsWithoutEndAreCutOff) {
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
  const auto text = [](std::size_t bytes) {
    return event(R"({"choices":[{"text":")" + std::string(bytes, 'a') + R"("}]})");
  };
  std::string many;
  for (int i = 0; i < 1000; ++i) many += text(1);
  tell(head, many);
  const Record small = ask_once();
  EXPECT_EQ(small.error, "too long");
  EXPECT_EQ(small.detail, "more than 1280 pieces for 4 tokens");
  EXPECT_EQ(small.piece_s.size(), 1280u);
  EXPECT_LT(sent_, std::size_t{32} << 20) << "what lies in buffers of sockets is not read";
  sent_ = 0;
  tell(head, text(200000));
  const Record large = ask_once();
  EXPECT_EQ(large.error, "too long");
  EXPECT_EQ(large.detail, "the answer is longer than 67108864 bytes");
  EXPECT_EQ(large.piece_s.size(), 335u);
  EXPECT_LT(sent_, std::size_t{96} << 20);
}

TEST_F(LyingServerTest, CountsThatCannotBeAreNotBelieved) {
  for (
      const char* usage :
      {R"({"prompt_tokens":5,"completion_tokens":5})", R"({"prompt_tokens":5,"completion_tokens":-1})",
       R"({"prompt_tokens":18446744073709551615,"completion_tokens":3})",
       R"({"prompt_tokens":-5,"completion_tokens":3})", R"({"prompt_tokens":1e30,"completion_tokens":3})",
       R"({"prompt_tokens":100000,"completion_tokens":3})",
       R"({"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":6}})",
       R"({"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":-9223372036854775808}})"}) {
    tell_stream(event(R"({"choices":[{"text":"a"}]})") + event(std::string(R"({"choices":[],"usage":)") + usage + "}") +
                event("[DONE]"));
    const Record record = ask_once();
    EXPECT_EQ(record.error, "impossible usage") << usage;
    EXPECT_NE(record.detail, "") << usage;
    EXPECT_EQ(record.usage.prompt.value_or(5), 5u) << usage;
    EXPECT_LE(record.usage.completion.value_or(0), 4u) << usage;
  }
  tell_stream(event(R"({"choices":[{"text":"a"}]})") +
              event(R"({"choices":[],"usage":{"prompt_tokens":500,"completion_tokens":4}})") + event("[DONE]"));
  EXPECT_EQ(ask_once().error, "") << "a template may add to what was sent";
}

}  // namespace
}  // namespace cairn::load
