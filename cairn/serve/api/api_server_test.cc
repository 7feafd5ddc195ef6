// SPDX-License-Identifier: Apache-2.0
// The API from outside, through an ordinary client.
#include "cairn/testing/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <thread>

#include "cairn/testing/test_folder.h"
#include "cairn/testing/tls_files.h"

namespace cairn::api {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

// The JSON of each event; [DONE] is checked to be the last.
std::vector<OrderedJson> events_of(const std::string& stream) {
  std::vector<OrderedJson> events;
  EXPECT_THAT(stream, EndsWith("data: [DONE]\n\n"));
  for (std::size_t at = 0; at < stream.size();) {
    const std::size_t end = stream.find("\n\n", at);
    EXPECT_EQ(stream.substr(at, 6), "data: ");
    const std::string data = stream.substr(at + 6, end - at - 6);
    if (data != "[DONE]") events.push_back(OrderedJson::parse(data));
    at = end + 2;
  }
  return events;
}

class ApiServerTest : public testing::Test {
 protected:
  httplib::Client client() const {
    httplib::Client client("127.0.0.1", server_.port());
    client.set_read_timeout(30);
    return client;
  }
  struct Got {
    int status = 0;
    OrderedJson json;
    httplib::Headers headers;
  };
  static Got got(const httplib::Result& result) {
    if (!result) return {};
    return {result->status, OrderedJson::parse(result->body, nullptr, false), result->headers};
  }
  Got post(const std::string& path, const std::string& body, const httplib::Headers& headers = {}) const {
    return got(client().Post(path, headers, body, "application/json"));
  }
  Got get(const std::string& path, const httplib::Headers& headers = {}) const {
    return got(client().Get(path, headers));
  }
  std::string stream(const std::string& path, const std::string& body) const {
    const auto result = client().Post(path, body, "application/json");
    EXPECT_EQ(result->get_header_value("Content-Type"), "text/event-stream");
    return result->body;
  }

  ApiServer server_;
};

const std::string kChat = R"({"messages":[{"role":"user","content":"t3 t4"}])";

TEST_F(ApiServerTest, AChatIsAnsweredAsAWhole) {
  server_.start();
  const Got reply = post("/v1/chat/completions", kChat + R"(,"model":"tiny","seed":7})", {{"X-Request-Id", "mine-1"}});
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.json["object"], "chat.completion");
  EXPECT_EQ(reply.json["choices"][0]["message"]["content"], "one two three");
  EXPECT_EQ(reply.json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(reply.json["usage"]["completion_tokens"], 3);
  EXPECT_GT(reply.json["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
  EXPECT_EQ(reply.headers.find("X-Request-Id")->second, "mine-1");

  const std::string id = reply.json["id"];
  EXPECT_EQ(id.substr(0, 9), "chatcmpl-");
  const Got record = get("/api/requests/" + id);
  EXPECT_EQ(record.json["request_id"], "mine-1");
  EXPECT_EQ(record.json["usage"], [&] {
    OrderedJson usage = reply.json["usage"];
    usage["preempted"] = 0;
    return usage;
  }());
  EXPECT_THAT(record.json["explanation"].get<std::string>(), HasSubstr("prompt tokens were taken from the cache"));
  EXPECT_EQ(get("/api/requests/chatcmpl-other").status, 404);
  EXPECT_EQ(server_.backend.requests()[0].sampler.seed, 7u);
}

TEST_F(ApiServerTest, AChatIsStreamed) {
  server_.start();
  const auto events =
      events_of(stream("/v1/chat/completions", kChat + R"(,"stream":true,"stream_options":{"include_usage":true}})"));
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  std::string text;
  for (std::size_t i = 1; i < 4; ++i) text += events[i]["choices"][0]["delta"]["content"].get<std::string>();
  EXPECT_EQ(text, "one two three");
  EXPECT_EQ(events[4]["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(events[4]["usage"].is_null());
  EXPECT_EQ(events[5]["usage"]["completion_tokens"], 3);
  EXPECT_EQ(get("/api/requests/" + events[0]["id"].get<std::string>()).json["usage"]["completion_tokens"], 3);
}

TEST_F(ApiServerTest, ChoicesOfAStreamInterleaveByIndex) {
  server_.backend.delay = std::chrono::milliseconds(2);
  server_.start();
  const auto events =
      events_of(stream("/v1/completions", R"({"prompt":["t3","t4"],"n":2,"stream":true,"echo":true,"seed":1})"));
  std::map<int, std::string> texts;
  std::map<int, std::string> reasons;
  for (const OrderedJson& event : events) {
    const OrderedJson& choice = event["choices"][0];
    texts[choice["index"]] += choice["text"].get<std::string>();
    if (!choice["finish_reason"].is_null()) reasons[choice["index"]] = choice["finish_reason"];
  }
  EXPECT_EQ(texts,
            (std::map<int, std::string>{
                {0, "t3one two three"}, {1, "t3one two three"}, {2, "t4one two three"}, {3, "t4one two three"}}));
  EXPECT_EQ(reasons.size(), 4u);
  std::vector<std::uint64_t> seeds;
  for (const GenerateRequest& request : server_.backend.requests()) seeds.push_back(request.sampler.seed);
  EXPECT_THAT(seeds, ElementsAre(1, 2, 1, 2));
}

TEST_F(ApiServerTest, ChoicesGetTheKeysOfTheFirst) {
  server_.start();
  EXPECT_EQ(post("/v1/completions", R"({"prompt":["t3","t4"],"n":3})").json["choices"].size(), 6u);
  EXPECT_EQ(server_.backend.hashed(), 2);
  const std::vector<GenerateRequest> requests = server_.backend.requests();
  ASSERT_EQ(requests.size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(requests[i].keys, requests[i / 3 * 3].keys);
  EXPECT_NE(requests[0].keys, requests[3].keys);
}

TEST_F(ApiServerTest, UsageCountsAPromptOnce) {
  server_.start();
  const Got one = post("/v1/completions", R"({"prompt":[3,4,5,6]})");
  const Got three = post("/v1/completions", R"({"prompt":[3,4,5,6],"n":3})");
  EXPECT_EQ(one.json["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(three.json["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(three.json["usage"]["completion_tokens"], 9);
  EXPECT_EQ(three.json["choices"].size(), 3u);
}

TEST_F(ApiServerTest, LogprobsComeInBothForms) {
  server_.start();
  const Got chat = post("/v1/chat/completions", kChat + R"(,"logprobs":true,"top_logprobs":2})");
  EXPECT_EQ(chat.json["choices"][0]["logprobs"]["content"].size(), 3u);
  EXPECT_EQ(chat.json["choices"][0]["logprobs"]["content"][0]["top_logprobs"].size(), 2u);
  const Got plain = post("/v1/completions", R"({"prompt":"t3","logprobs":2})");
  EXPECT_EQ(plain.json["choices"][0]["logprobs"]["text_offset"], (OrderedJson{0, 3, 7}));
  const auto events = events_of(stream("/v1/completions", R"({"prompt":"t3","logprobs":0,"stream":true})"));
  EXPECT_EQ(events[2]["choices"][0]["logprobs"]["text_offset"], (OrderedJson{7}));
}

TEST_F(ApiServerTest, ErrorsOfTheBackendHaveTheirStatus) {
  const std::pair<Error, int> cases[] = {{{ErrorCode::kInvalidArgument, "no tokens"}, 400},
                                         {{ErrorCode::kTooLong, "too long"}, 400},
                                         {{ErrorCode::kOutOfBudget, "too large"}, 400},
                                         {{ErrorCode::kBusy, "many wait"}, 429},
                                         {{ErrorCode::kInternal, "a bug"}, 500}};
  server_.start();
  for (const auto& [error, status] : cases) {
    server_.backend.refusal = error;
    const Got reply = post("/v1/chat/completions", kChat + R"(,"stream":true})");
    EXPECT_EQ(reply.status, status);
    EXPECT_EQ(reply.json["error"]["message"], error.message);
    EXPECT_EQ(reply.headers.contains("Retry-After"), status == 429);
  }
  EXPECT_EQ(post("/v1/completions", R"({"prompt":[3],"n":2})").json["error"]["type"], "server_error");
}

// Which of the policies that are allowed a cache can follow the backend finds out.
TEST_F(ApiServerTest, APolicyThatCannotBeFollowedIsNamed) {
  server_.start();
  server_.backend.refusal = Error{ErrorCode::kUnsupported, "policy 'quest': codec 'zip' goes by attention"};
  const Got reply = post("/v1/completions", R"({"prompt":"t3"})");
  EXPECT_EQ(reply.status, 400);
  EXPECT_EQ(reply.json["error"]["type"], "invalid_request_error");
  EXPECT_EQ(reply.json["error"]["param"], "cairn.policy");
  EXPECT_THAT(reply.json["error"]["message"].get<std::string>(), HasSubstr("codec 'zip'"));
}

TEST_F(ApiServerTest, MoreAnswersThanMayWaitAreRefusedForGood) {
  server_.backend.max_waiting = 3;
  server_.start();
  EXPECT_EQ(post("/v1/chat/completions", kChat + R"(,"n":3})").status, 200);
  const Got refused = post("/v1/completions", R"({"prompt":["t3","t4"],"n":2})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.json["error"]["message"].get<std::string>(), HasSubstr("at most 3"));
}

TEST_F(ApiServerTest, AnAnswerThatBreaksSaysSo) {
  server_.backend.reason = FinishReason::kError;
  server_.backend.error = "the logits are not numbers";
  server_.start();
  const Got whole = post("/v1/completions", R"({"prompt":"t3"})");
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.json["error"]["message"], "the logits are not numbers");
  const auto events = events_of(stream("/v1/completions", R"({"prompt":"t3","stream":true})"));
  EXPECT_EQ(events.back()["error"]["message"], "the logits are not numbers");
}

TEST_F(ApiServerTest, AnAnswerThatFindsNoRoomIsNoBugOfTheServer) {
  server_.backend.reason = FinishReason::kError;
  server_.backend.error = "the KV cache is full";
  server_.backend.error_code = ErrorCode::kOutOfBudget;
  server_.start();
  const Got whole = post("/v1/completions", R"({"prompt":"t3"})");
  EXPECT_EQ(whole.status, 400);
  EXPECT_EQ(whole.json["error"]["code"], "kv_budget_exceeded");
  EXPECT_EQ(whole.json["error"]["message"], "the KV cache is full");
  const auto events = events_of(stream("/v1/completions", R"({"prompt":"t3","stream":true})"));
  EXPECT_EQ(events.back()["error"]["code"], "kv_budget_exceeded");
}

TEST_F(ApiServerTest, AnAnswerHasOnlySoMuchTime) {
  server_.backend.silent = true;
  server_.options.request_time = std::chrono::milliseconds(100);
  server_.start();
  EXPECT_EQ(post("/v1/completions", R"({"prompt":"t3"})").status, 504);
  EXPECT_EQ(events_of(stream("/v1/completions", R"({"prompt":"t3","stream":true})")).back()["error"]["code"],
            "timeout");
  EXPECT_TRUE(eventually([&] { return server_.backend.cancelled() == 2; }));
}

TEST_F(ApiServerTest, WrongRequestsAreToldInOpenAIsWords) {
  server_.start();
  const Got bad = post("/v1/chat/completions", kChat + R"(,"tools":[{}]})");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.json["error"]["type"], "invalid_request_error");
  EXPECT_EQ(bad.json["error"]["param"], "tools");
  EXPECT_EQ(post("/v1/chat/completions", kChat + R"(,"model":"gpt"})").json["error"]["code"], "model_not_found");
  EXPECT_EQ(post("/v1/nothing", "{}").status, 404);
  EXPECT_EQ(get("/v1/nothing").json["error"]["code"], "unknown_url");
  EXPECT_EQ(get("/v1/chat/completions").status, 405);
  EXPECT_EQ(post("/health", "{}").status, 405);
  EXPECT_EQ(post("/v1/embeddings", "{}").status, 501);
  EXPECT_EQ(got(client().Post("/v1/completions", R"({"prompt":"a"})", "text/plain")).status, 415);
  EXPECT_EQ(got(client().Delete("/v1/models")).status, 405);
  EXPECT_TRUE(server_.backend.requests().empty());
}

TEST_F(ApiServerTest, SmallEndpointsAnswer) {
  server_.start();
  EXPECT_EQ(get("/v1/models").json["data"][0]["id"], "tiny");
  EXPECT_EQ(get("/v1/models/tiny").json["object"], "model");
  EXPECT_EQ(get("/v1/models/other").status, 404);
  EXPECT_EQ(post("/detokenize", R"({"tokens":[3,4]})").json["content"], "t3t4");
  EXPECT_EQ(post("/detokenize", R"({"tokens":[99]})").json["error"]["param"], "tokens");
  const OrderedJson tokens = post("/tokenize", R"({"content":"</s>"})").json["tokens"];
  EXPECT_EQ(tokens, (OrderedJson{2}));
  EXPECT_NE(post("/tokenize", R"({"content":"</s>","parse_special":false})").json["tokens"], tokens);
  EXPECT_EQ(post("/tokenize", R"({"content":"</s>","add_special":true})").json["tokens"][0], 1);
  EXPECT_EQ(post("/tokenize", R"({"content":"</s>","with_pieces":true})").json["tokens"][0]["piece"], "</s>");
  EXPECT_EQ(get("/health").status, 200);
  EXPECT_EQ(get("/ready").status, 200);
  EXPECT_THAT(client().Get("/")->body, HasSubstr("<title>"));
  EXPECT_EQ(client().Head("/health")->status, 200);
  EXPECT_EQ(get("/../etc/passwd").status, 404);
  EXPECT_THAT(client().Get("/metrics")->body, HasSubstr("cairn:num_requests_running"));
  const Got state = get("/api/state");
  EXPECT_EQ(state.json["model"]["id"], "tiny");
  EXPECT_EQ(state.json["tenant"]["kv_budget"], 1000);
  EXPECT_EQ(get("/api/blocks").json["blocks"][0]["text"], "t3t4");
}

TEST_F(ApiServerTest, WhileDrainingProbesAreAnswered) {
  server_.start();
  server_.backend.drain({});
  EXPECT_EQ(get("/ready").status, 503);
  EXPECT_EQ(get("/health").status, 200);
  const Got refused = post("/v1/completions", R"({"prompt":"t3"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_TRUE(refused.headers.contains("Retry-After"));
}

TEST_F(ApiServerTest, AKeyOpensWhatBelongsToItsTenant) {
  server_.options.keys =
      *Keys::parse("alice " + hash_api_key("key-of-alice").hex() + "\nbob " + hash_api_key("key-of-bob").hex(), "keys");
  server_.start();
  const httplib::Headers alice = {{"Authorization", "Bearer key-of-alice"}},
                         bob = {{"Authorization", "bearer key-of-bob"}};
  for (const auto& path : {"/v1/models", "/metrics", "/api/state", "/api/blocks", "/api/requests/x"}) {
    EXPECT_EQ(get(path).status, 401) << path;
    EXPECT_EQ(get(path, {{"Authorization", "Bearer wrong"}}).json["error"]["code"], "invalid_api_key") << path;
    EXPECT_EQ(get(path, {{"Authorization", "Basic key-of-alice"}}).status, 401) << path;
  }
  EXPECT_EQ(post("/v1/completions", R"({"prompt":"t3"})").status, 401);
  for (const auto& path : {"/health", "/ready", "/"}) EXPECT_EQ(client().Get(path)->status, 200) << path;

  const Got answer = post("/v1/completions", R"({"prompt":"t3","user":"bob","tenant":"bob"})", alice);
  ASSERT_EQ(answer.status, 200);
  EXPECT_EQ(server_.backend.requests()[0].tenant, "alice");
  const std::string path = "/api/requests/" + answer.json["id"].get<std::string>();
  EXPECT_EQ(get(path, alice).status, 200);
  EXPECT_EQ(get(path, bob).status, 404);
  EXPECT_EQ(get("/api/blocks?tenant=alice", alice).status, 200);
  EXPECT_EQ(get("/api/blocks?tenant=alice", bob).status, 403);
  EXPECT_EQ(get("/api/state", bob).json["tenant"]["name"], "bob");
  EXPECT_TRUE(get("/api/state", bob).json["requests"].empty());
  const std::string metrics = client().Get("/metrics", bob)->body;
  EXPECT_THAT(metrics, HasSubstr("bob"));
  EXPECT_THAT(metrics, Not(HasSubstr("alice")));
}

TEST_F(ApiServerTest, MetricsMayBeOpen) {
  server_.options.keys = *Keys::parse("alice " + hash_api_key("key-of-alice").hex(), "keys");
  server_.options.metrics_open = true;
  server_.start();
  EXPECT_THAT(client().Get("/metrics")->body, HasSubstr("alice"));
  EXPECT_EQ(get("/api/state").status, 401);
}

TEST_F(ApiServerTest, PagesOfOthersAreKeptOut) {
  server_.options.origins.origins = {"https://app.example"};
  server_.start();
  EXPECT_EQ(get("/v1/models", {{"Host", "evil.example"}}).json["error"]["code"], "host_not_allowed");
  EXPECT_EQ(get("/v1/models", {{"Origin", "https://evil.example"}}).json["error"]["code"], "origin_not_allowed");
  const Got allowed = get("/v1/models", {{"Origin", "https://app.example"}});
  EXPECT_EQ(allowed.status, 200);
  EXPECT_EQ(allowed.headers.find("Access-Control-Allow-Origin")->second, "https://app.example");
  const auto preflight = client().Options("/v1/chat/completions", {{"Origin", "https://app.example"}});
  EXPECT_EQ(preflight->status, 204);
  EXPECT_THAT(preflight->get_header_value("Access-Control-Allow-Headers"), HasSubstr("Authorization"));
  EXPECT_EQ(client().Options("/v1/chat/completions", {{"Origin", "https://evil.example"}})->status, 405);
}

TEST_F(ApiServerTest, ManyClientsAtOnceGetTheirAnswers) {
  server_.http.threads = 16;
  server_.backend.delay = std::chrono::milliseconds(1);
  server_.start();
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> clients;
    for (int i = 0; i < 32; ++i) {
      clients.emplace_back([&, i] {
        if (i % 2 == 0) {
          const Got reply = post("/v1/chat/completions", kChat + "}");
          right += reply.status == 200 && reply.json["choices"][0]["message"]["content"] == "one two three";
        } else {
          right += events_of(stream("/v1/chat/completions", kChat + R"(,"stream":true})")).size() == 5;
        }
      });
    }
  }
  EXPECT_EQ(right, 32);
  server_.stop();
  const std::string log = server_.logged.str();
  EXPECT_EQ(std::ranges::count(log, '\n'), 32);
}

TEST_F(ApiServerTest, TlsWorks) {
  const TestFolder folder;
  const std::string certificate = folder.path() + "/cert.pem", key = folder.path() + "/key.pem";
  write_tls_files(certificate, key);
  server_.http.tls_certificate = certificate;
  server_.http.tls_key = key;
  server_.start();
  httplib::SSLClient client("127.0.0.1", server_.port());
  client.enable_server_certificate_verification(false);
  client.set_read_timeout(30);
  client.set_keep_alive(true);
  for (int i = 0; i < 2; ++i) {
    const auto whole = client.Post("/v1/chat/completions", kChat + "}", "application/json");
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->status, 200);
    const auto streamed = client.Post("/v1/chat/completions", kChat + R"(,"stream":true})", "application/json");
    ASSERT_TRUE(streamed);
    EXPECT_EQ(events_of(streamed->body).size(), 5u);
  }
  httplib::Client plain("127.0.0.1", server_.port());
  EXPECT_FALSE(plain.Get("/health"));

  http::ServerOptions broken = server_.http;
  broken.tls_key = certificate;
  struct Nobody final : http::Handler {
    std::optional<http::Reply> screen(const http::Request&) override { return std::nullopt; }
    http::Reply handle(const http::Request&) override { return {}; }
    http::Reply refuse(const http::Request&, int, const std::string&) override { return {}; }
  } nobody;
  const auto failed = http::Server::start(broken, nobody);
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("cert.pem"));
}

}  // namespace
}  // namespace cairn::api
