// SPDX-License-Identifier: Apache-2.0
// Bodies that are large, or ask for large answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "cairn/serve/api/endpoints.h"
#include "cairn/testing/api_server.h"
#include "cairn/testing/tokenizer_data.h"
#include "cairn/text/begin_token.h"

namespace cairn::api {
namespace {

using ::testing::HasSubstr;

class TextEndpointsTest : public ::testing::Test {
 protected:
  struct Got {
    http::Reply reply;
    RequestRecord record;
    OrderedJson error() const { return OrderedJson::parse(reply.body)["error"]; }
  };
  Got ask(http::Reply (*endpoint)(Context&, Call&), std::string body) {
    http::Request request;
    request.method = "POST";
    request.body = std::move(body);
    request.client_gone = [this] { return gone_; };
    Call call{.http = request, .began = std::chrono::steady_clock::now(), .record = {}};
    http::Reply reply = endpoint(context_, call);
    return {std::move(reply), call.record};
  }
  static std::string content(std::size_t bytes, const std::string& more = "") {
    return R"({"content":")" + std::string(bytes, 'a') + "\"" + more + "}";
  }
  std::string prompt(std::size_t bytes) const { return R"({"prompt":")" + std::string(bytes, 'a') + "\"}"; }

  ApiServer server_;  // never started: its options and backend alone
  const std::unique_ptr<const Tokenizer> tokenizer_ = testing::must_make(testing::spm_data());
  std::ostringstream logged_;
  AccessLog log_{AccessLog::Form::kLogfmt, &logged_};
  bool gone_ = false;
  Context context_{.backend = server_.backend,
                   .options =
                       [this] {
                         Options options = server_.options;
                         options.model.tokenizer = tokenizer_.get();
                         options.turn_time = std::chrono::milliseconds(30);
                         return options;
                       }(),
                   .log = log_};
};

TEST_F(TextEndpointsTest, TokensAreWrittenAsTheyWere) {
  const std::string text = "t3 \"t4\"\\\n</s>\xC3\xA9";
  const std::vector<TokenId> ids = tokenizer_->encode(text, {.add_bos = false, .parse_special = true});
  const std::string body = OrderedJson{{"content", text}}.dump();
  EXPECT_EQ(ask(tokenize, body).reply.body, (OrderedJson{{"tokens", ids}}.dump()));
  EXPECT_EQ(ask(tokenize, R"({"content":""})").reply.body, R"({"tokens":[]})");
  const std::string with_pieces = body.substr(0, body.size() - 1) + R"(,"with_pieces":true})";
  const OrderedJson tokens = OrderedJson::parse(ask(tokenize, with_pieces).reply.body)["tokens"];
  ASSERT_EQ(tokens.size(), ids.size());
  std::string pieces;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_EQ(tokens[i]["id"], ids[i]);
    const OrderedJson& piece = tokens[i]["piece"];
    if (piece.is_string()) {
      pieces += piece.get<std::string>();
    } else {
      for (const OrderedJson& byte : piece) pieces += static_cast<char>(byte.get<int>());
    }
  }
  EXPECT_EQ(pieces, " t3 \"t4\"\\\n</s> \xC3\xA9");  // with the space that raw text begins with
}

TEST_F(TextEndpointsTest, BlocksThatCouldNotMoveAreOneLineForEachReason) {
  RequestRecord record;
  for (const char* why : {"'/d': No space left on device", "", "'/d': No space left on device",
                          "'/d': 9 bytes are full", "'/d': No space left on device"}) {
    record.usage.policy.why_not_offloaded = why;
    context_.note(record);
  }
  std::vector<std::string> events;
  std::istringstream lines(logged_.str());
  for (std::string line; std::getline(lines, line);) {
    if (line.find("msg=request") == std::string::npos) events.push_back(line);
  }
  EXPECT_EQ(events.size(), 2u) << logged_.str();
}

TEST_F(TextEndpointsTest, ABeginTokenThatIsThereTwiceIsOneAndANote) {
  const Got once = ask(tokenize, R"({"content":"<s>t3","add_special":true})");
  EXPECT_EQ(once.reply.body, ask(tokenize, R"({"content":"t3","add_special":true})").reply.body);
  EXPECT_EQ(once.record.note, kPromptDoublesBos);
  log_.request(once.record);
  EXPECT_THAT(logged_.str(), HasSubstr("note=\"the prompt begins with the begin token"));
  for (const char* body : {R"({"content":"<s>t3"})", R"({"content":"<s>t3","add_special":true,"parse_special":false})",
                           R"({"content":"t3<s>","add_special":true})"}) {
    EXPECT_EQ(ask(tokenize, body).record.note, "") << body;
  }
}

TEST_F(TextEndpointsTest, TextsHaveABound) {
  EXPECT_EQ(ask(tokenize, content(kMaxTokenized)).reply.status, 200);
  const Got long_text = ask(tokenize, content(kMaxTokenized + 1));
  EXPECT_EQ(long_text.reply.status, 400);
  EXPECT_EQ(long_text.error()["param"], "content");
  EXPECT_EQ(ask(tokenize, content(kMaxInPieces, R"(,"with_pieces":true)")).reply.status, 200);
  const Got in_pieces = ask(tokenize, content(kMaxInPieces + 1, R"(,"with_pieces":true)"));
  EXPECT_EQ(in_pieces.reply.status, 400);
  EXPECT_THAT(in_pieces.error()["message"].get<std::string>(), HasSubstr("'content' has more than 1 MiB"));
  std::string ids = R"({"tokens":[1)";
  for (std::size_t bytes = 0; bytes <= kMaxTokenized; bytes += 5) ids += ",0";  // <unk>
  EXPECT_EQ(ask(detokenize, ids + "]}").error()["param"], "tokens");
}

TEST_F(TextEndpointsTest, LargeBodiesWaitForTheirTurn) {
  const auto stays = [] { return false; };
  const auto first = context_.turns.take("", stays, Deadline{});
  std::optional second = context_.turns.take("", stays, Deadline{});
  ASSERT_TRUE(first.has_value() && second->has_value());
  const std::pair<http::Reply (*)(Context&, Call&), std::string> large[] = {
      {tokenize, content(kLargeText)},
      {detokenize, R"({"tokens":[3],"more":")" + std::string(kLargeText, 'a') + "\"}"},
      {completions, prompt(kLargeText)},
      {chat_completions, R"({"messages":[{"role":"user","content":")" + std::string(kLargeText, 'a') + "\"}]}"}};
  for (const auto& [endpoint, body] : large) {
    const Got late = ask(endpoint, body);
    EXPECT_EQ(late.reply.status, 503);
    EXPECT_EQ(late.error()["code"], "overloaded");
    EXPECT_THAT(late.reply.headers, ::testing::Contains(::testing::Pair("Retry-After", "1")));
    gone_ = true;
    const Got left = ask(endpoint, body);
    EXPECT_EQ(left.reply.status, 499);
    EXPECT_TRUE(left.record.client_gone);
    gone_ = false;
  }
  EXPECT_EQ(ask(tokenize, content(100)).reply.status, 200);
  second.reset();
  EXPECT_EQ(ask(tokenize, content(kLargeText)).reply.status, 200);
  EXPECT_EQ(ask(tokenize, content(kLargeText)).reply.status, 200);  // and the turn was given back
}

TEST_F(TextEndpointsTest, APromptThatCannotFitIsNotEncoded) {
  const std::size_t most = server_.backend.context() * tokenizer_->longest_token_bytes();
  EXPECT_EQ(ask(completions, prompt(most)).reply.status, 200);  // for the backend to judge
  for (const std::string& body : {prompt(most + 1), R"({"prompt":["t3",")" + std::string(most + 1, 'a') + "\"]}"}) {
    const Got refused = ask(completions, body);
    EXPECT_EQ(refused.reply.status, 400);
    EXPECT_EQ(refused.error()["code"], "context_length_exceeded");
    EXPECT_THAT(refused.error()["message"].get<std::string>(), HasSubstr("at least 257"));
  }
  const std::string half(most / 2 + 1, 'a');
  const Got chat = ask(chat_completions, R"({"messages":[{"role":"user","content":")" + half +
                                             R"("},{"role":"user","content":")" + half + "\"}]}");
  EXPECT_EQ(chat.error()["code"], "context_length_exceeded");
}

}  // namespace
}  // namespace cairn::api
