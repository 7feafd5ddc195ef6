// SPDX-License-Identifier: Apache-2.0
// Clients that misbehave, byte by byte.
#include "cairn/serve/http/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cairn/testing/api_server.h"
#include "cairn/testing/raw_client.h"

namespace cairn::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Deadline soon() {
  return deadline_in(seconds(20));
}

std::string post(std::string_view path, std::string_view body, std::string_view more = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         std::string(more) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

class HttpServerTest : public testing::Test {
 protected:
  // What the server says to these bytes until it closes.
  std::string talk(std::string_view bytes) {
    const RawClient client(server_.port());
    EXPECT_TRUE(client.send(bytes));
    return client.receive_all(soon());
  }

  ApiServer server_;
};

TEST_F(HttpServerTest, WhatIsNoHttpIsRefusedAndClosed) {
  server_.start();
  for (const std::string& bytes :
       {std::string("nonsense\r\n\r\n"), std::string("GET\r\n\r\n"), std::string("GET / HTTP/9.9\r\n\r\n"),
        "GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"}) {
    const std::string reply = talk(bytes);
    EXPECT_TRUE(reply.empty() || reply.starts_with("HTTP/1.1 4")) << reply;
  }
}

TEST_F(HttpServerTest, HeadsSayOnceWhatBecomesOfTheConnection) {
  server_.start();
  const std::string host = "HTTP/1.1\r\nHost: localhost\r\n";
  const auto count = [](const std::string& text, std::string_view what) {
    std::size_t found = 0;
    for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
    return found;
  };
  for (const std::string& bytes :
       {"GET /tokenize " + host + "\r\n", "BREW /health " + host + "\r\n",
        "GET /tokenize " + host + "Connection: close\r\n\r\n", "HEAD /health " + host + "Connection: close\r\n\r\n"}) {
    const std::string reply = talk(bytes);
    EXPECT_EQ(count(reply, "\r\nConnection: close\r\n"), 1u) << reply;
    EXPECT_EQ(count(reply, "Keep-Alive"), 0u) << reply;
    EXPECT_EQ(count(reply, "Accept-Ranges"), 0u) << reply;
  }
  EXPECT_THAT(talk("GET /tokenize " + host + "\r\n"), HasSubstr("\r\nAllow: POST\r\n"));
  EXPECT_THAT(talk(post("/health", "{}")), HasSubstr("\r\nAllow: GET, HEAD\r\n"));
}

TEST_F(HttpServerTest, HeadersTogetherHaveABound) {
  server_.start();
  std::string request = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
  for (int i = 0; i < 4000; ++i) request += "X-" + std::to_string(i) + ": some text\r\n";
  EXPECT_THAT(talk(request + "\r\n"),
              AllOf(StartsWith("HTTP/1.1 431"), HasSubstr("the headers have more than 65536 bytes")));
}

TEST_F(HttpServerTest, TargetsMayNameTheServer) {
  server_.start();
  const std::string rest = " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  EXPECT_THAT(talk("GET http://localhost/health" + rest), HasSubstr("200 OK"));
  EXPECT_THAT(talk("GET https://localhost:80/health?x=1" + rest), HasSubstr("200 OK"));
  EXPECT_THAT(talk("GET http://localhost/elsewhere" + rest), HasSubstr("unknown URL: /elsewhere"));
  EXPECT_THAT(talk("GET ftp://localhost/health" + rest), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(talk("GET HTTP://localhost/health" + rest), HasSubstr("200 OK"));
  EXPECT_THAT(talk("GET hTTps://localhost/%68ealth" + rest), HasSubstr("200 OK"));
  EXPECT_THAT(talk("GET http://localhost?at=/health" + rest), HasSubstr("Content-Type: text/html"));
  // Not absolute: decoding comes after the cut.
  EXPECT_THAT(talk("GET http%3A//localhost/health" + rest), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(talk("GET http://local%2Fhealth/" + rest), HasSubstr("Content-Type: text/html"));
}

TEST_F(HttpServerTest, TargetsHaveABound) {
  server_.start();
  // The library matches the whole target of a POST with a recursive regex.
  for (const std::string& target :
       {"http://" + std::string(8100, 'a') + "/detokenize", "HTTP://" + std::string(8100, 'a') + "/detokenize",
        "/detokenize?" + std::string(8100, 'a'), "/" + std::string(513, 'a')}) {
    EXPECT_THAT(talk(post(target, R"({"tokens":[3]})")),
                AllOf(StartsWith("HTTP/1.1 414"), HasSubstr("the target has more than 512 bytes")))
        << target.substr(0, 20);
  }
  EXPECT_THAT(
      talk(post("http://" + std::string(494, 'a') + "/detokenize", R"({"tokens":[3]})", "Connection: close\r\n")),
      HasSubstr(R"({"content":"t3"})"));
}

// Longer than all of the head may be: the library would close without a word.
TEST_F(HttpServerTest, ATargetWithoutEndIsAnswered) {
  server_.start();
  for (const std::size_t size : {10'000, 65'000, 66'000, 200'000}) {
    EXPECT_THAT(talk("GET /" + std::string(size, 'a') + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
                AllOf(StartsWith("HTTP/1.1 414"), HasSubstr("the target has more than 512 bytes")))
        << size;
  }
}

TEST_F(HttpServerTest, TheBodyIsBoundedHoweverItComes) {
  server_.http.max_body_bytes = 1000;
  server_.start();
  const std::string length = talk(post("/tokenize", std::string(1001, ' ')));
  EXPECT_THAT(length, StartsWith("HTTP/1.1 413"));
  EXPECT_THAT(length, HasSubstr("body_too_large"));
  // Announced alone: refused before a byte of it is sent.
  EXPECT_THAT(talk("POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                   "Content-Length: 99999999999999999999999\r\n\r\n"),
              StartsWith("HTTP/1.1 413"));
  std::string chunks =
      "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 20; ++i) chunks += "64\r\n" + std::string(100, ' ') + "\r\n";
  EXPECT_THAT(talk(chunks), StartsWith("HTTP/1.1 413"));
}

TEST_F(HttpServerTest, ChunkedBodiesWithinTheBoundAreTaken) {
  server_.start();
  EXPECT_THAT(
      talk("POST /detokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
           "Transfer-Encoding: chunked\r\n\r\n8\r\n{\"tokens\r\n7\r\n\":[3]} \r\n0\r\n\r\n"),
      HasSubstr(R"({"content":"t3"})"));
}

TEST_F(HttpServerTest, ChunksAreWrittenByTheRules) {
  server_.http.body_time = seconds(60);  // none of them is waited for
  server_.start();
  const std::string head =
      "POST /detokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  const std::string rest = "\r\n{\"tokens\":[3]} \r\n0\r\n\r\n";
  EXPECT_THAT(talk(head + "f;a=b\r\n{\"tokens\":[3]}\r\n0\r\nGET"), StartsWith("HTTP/1.1 400"));
  for (const char* size : {"0xf", "+f", "-f", " f", "f ", "f\t", "", "ffffffffffffffffffffffff", "f;a\nb"}) {
    EXPECT_THAT(talk(head + size + rest), AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("a chunk's size is not valid")))
        << size;
  }
  EXPECT_THAT(talk(head + "e" + rest), HasSubstr("a chunk does not end where its size says"));
  EXPECT_THAT(talk(head + "f\r\n{\"tokens\":[3]} \r\n0\r\nX: y\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 400"), HasSubstr("trailers are not taken")));
  // What is by the rules, and a second request right behind it.
  const std::string both =
      talk(head + "f;a=b" + rest + post("/detokenize", R"({"tokens":[4]})", "Connection: close\r\n"));
  EXPECT_THAT(both, AllOf(HasSubstr(R"("t3")"), HasSubstr(R"("t4")")));
}

TEST_F(HttpServerTest, HeadsThatMeanTwoThingsAreRefused) {
  server_.start();
  const std::string head = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
  EXPECT_THAT(talk(head + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(talk(head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(talk(head + "Content-Length: -2\r\n\r\n{}"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(talk(head + "\r\n"), StartsWith("HTTP/1.1 411"));
  EXPECT_THAT(talk(head + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), StartsWith("HTTP/1.1 415"));
  EXPECT_THAT(talk(head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), StartsWith("HTTP/1.1 501"));
  EXPECT_THAT(talk(head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
              StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(talk(head + "Host: other\r\nContent-Length: 2\r\n\r\n{}"), StartsWith("HTTP/1.1 400"));
  for (const char* odd : {"Content-Length : 2", "X: y\r\n Content-Length: 2", "no colon", ": no name", "X Y: z"}) {
    const std::string reply = talk("GET /health HTTP/1.1\r\nHost: localhost\r\n" + std::string(odd) + "\r\n\r\n");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 400")) << odd;
    EXPECT_EQ(reply.find("HTTP/1.1", 1), std::string::npos) << odd;
  }
  for (const std::string odd : {"X: a\rContent-Length: 5", "X: a\nContent-Length: 5", "X: a\r\r", "X: a\x01"}) {
    const std::string reply = talk("GET /health HTTP/1.1\r\nHost: localhost\r\n" + odd + "\r\n\r\nhello");
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 400")) << odd;
    EXPECT_EQ(reply.find("HTTP/1.1", 1), std::string::npos) << odd;
  }
  EXPECT_THAT(talk(std::string("GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", 49)),
              StartsWith("HTTP/1.1 400"));
  for (const char* line : {"GET  /health  HTTP/1.1", "GET /health  HTTP/1.1", " GET /health HTTP/1.1",
                           "GET /health HTTP/1.1 ", "GET\t/health HTTP/1.1", "GET /health\rx HTTP/1.1"}) {
    EXPECT_THAT(talk(std::string(line) + "\r\nHost: localhost\r\n\r\n"), StartsWith("HTTP/1.1 400")) << line;
  }
  // The body of a GET would be read as the next request.
  const std::string smuggled = talk(
      "GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 55\r\n\r\n"
      "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: x\r\n\r\n");
  EXPECT_THAT(smuggled, StartsWith("HTTP/1.1 400"));
  EXPECT_EQ(smuggled.find("HTTP/1.1", 1), std::string::npos);
}

TEST_F(HttpServerTest, AConnectionServesSeveralRequests) {
  server_.start();
  const RawClient client(server_.port());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send(post("/detokenize", R"({"tokens":[3]})")));
    EXPECT_THAT(client.receive_until(R"({"content":"t3"})", soon()), HasSubstr("200 OK"));
  }
  // Two at once: answered in order.
  ASSERT_TRUE(client.send(post("/detokenize", R"({"tokens":[4]})") +
                          post("/detokenize", R"({"tokens":[5]})", "Connection: close\r\n")));
  const std::string both = client.receive_all(soon());
  EXPECT_LT(both.find(R"("t4")"), both.find(R"("t5")"));
  EXPECT_NE(both.find(R"("t5")"), std::string::npos);
}

TEST_F(HttpServerTest, ASlowHeadRunsOutOfTime) {
  server_.http.head_time = milliseconds(300);
  server_.http.threads = 1;
  server_.start();
  const RawClient slow(server_.port());
  ASSERT_TRUE(slow.send("GET /health HTTP/1.1\r\nHost: lo"));
  // The only thread is free again for others, however much the first goes on to dribble.
  const RawClient other(server_.port());
  ASSERT_TRUE(other.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  const Deadline deadline = soon();
  std::string reply;
  while (reply.empty() && !passed(deadline)) {
    (void)slow.send("c");
    reply = other.receive_until("ok", deadline_in(milliseconds(50)));
  }
  EXPECT_THAT(reply, HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, ASlowBodyRunsOutOfTime) {
  server_.http.body_time = milliseconds(300);
  server_.start();
  const RawClient slow(server_.port());
  const std::string request = post("/tokenize", std::string(1000, ' '));
  ASSERT_TRUE(slow.send(std::string_view(request).substr(0, request.size() - 10)));
  EXPECT_THAT(slow.receive_all(soon()), StartsWith("HTTP/1.1 408"));
}

TEST_F(HttpServerTest, ASlowBodyDoesNotHoldUpTheEnd) {
  server_.http.body_time = seconds(600);
  server_.start();
  const RawClient slow(server_.port());
  const std::string request = post("/tokenize", std::string(1000, ' '));
  ASSERT_TRUE(slow.send(std::string_view(request).substr(0, request.size() - 10)));
  std::thread end([&] { server_.stop(); });
  EXPECT_THAT(slow.receive_all(soon()), testing::AnyOf(StartsWith("HTTP/1.1 408"), testing::IsEmpty()));
  end.join();
}

TEST_F(HttpServerTest, ConnectionsThatSayNothingGiveWay) {
  server_.http.threads = 2;
  server_.http.head_time = seconds(600);
  server_.start();
  const RawClient silent(server_.port()), mute(server_.port());
  const RawClient other(server_.port());
  ASSERT_TRUE(other.send("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  EXPECT_THAT(other.receive_all(soon()), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, AnIdleConnectionGivesWay) {
  server_.http.threads = 1;
  server_.http.keep_alive = seconds(600);
  server_.start();
  const RawClient idle(server_.port());
  ASSERT_TRUE(idle.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  ASSERT_THAT(idle.receive_until("ok", soon()), HasSubstr("200 OK"));
  EXPECT_THAT(talk("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), HasSubstr("200 OK"));
}

TEST_F(HttpServerTest, AFullQueueTurnsClientsAway) {
  server_.http.threads = 1;
  server_.http.max_waiting = 1;
  server_.backend.silent = true;
  server_.start();
  const RawClient busy(server_.port());
  ASSERT_TRUE(busy.send(post("/v1/completions", R"({"prompt":"t3"})")));
  ASSERT_TRUE(eventually([&] { return !server_.backend.requests().empty(); }));
  const RawClient waits(server_.port());
  std::string reply;
  ASSERT_TRUE(eventually([&] {  // which of the two is first in the queue is the system's choice
    const RawClient third(server_.port());
    reply = third.receive_until("overloaded", deadline_in(milliseconds(300)));
    return !reply.empty();
  }));
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(reply, HasSubstr("Retry-After"));
}

TEST_F(HttpServerTest, AClientThatTakesNothingIsLeft) {
  server_.http.write_time = milliseconds(200);
  server_.backend.endless = true;
  server_.backend.pieces = {std::string(100000, 'x')};
  server_.start();
  const RawClient deaf(server_.port());
  ASSERT_TRUE(deaf.send(post("/v1/completions", R"({"prompt":"t3","stream":true})")));
  EXPECT_TRUE(eventually([&] { return server_.backend.cancelled() == 1; }));
}

TEST_F(HttpServerTest, AVanishedClientIsNoticed) {
  server_.backend.silent = true;
  server_.start();
  for (const char* body : {R"({"prompt":"t3"})", R"({"prompt":"t3","stream":true})", R"({"prompt":"t3","n":3})"}) {
    const int before = server_.backend.cancelled();
    const std::size_t asked = server_.backend.requests().size();
    RawClient client(server_.port());
    ASSERT_TRUE(client.send(post("/v1/completions", body)));
    ASSERT_TRUE(eventually([&] { return server_.backend.requests().size() > asked; }));
    client.close();
    EXPECT_TRUE(eventually([&] { return server_.backend.cancelled() > before; })) << body;
  }
  server_.stop();
  EXPECT_THAT(server_.logged.str(), HasSubstr("client_gone=true"));
  EXPECT_THAT(server_.logged.str(), HasSubstr("status=499"));
}

TEST_F(HttpServerTest, OldClientsGetAStreamWithoutChunks) {
  server_.start();
  const std::string body = R"({"prompt":"t3","stream":true})";
  const std::string reply = talk(
      "POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_THAT(reply, Not(HasSubstr("chunked")));
  EXPECT_THAT(reply, testing::EndsWith("data: [DONE]\n\n"));
}

}  // namespace
}  // namespace cairn::http
