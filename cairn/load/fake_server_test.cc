// SPDX-License-Identifier: Apache-2.0
// Rounds against a server that behaves, and misbehaves, as told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "cairn/base/clock.h"
#include "cairn/load/ask.h"
#include "cairn/load/round.h"

namespace cairn::load {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

std::string piece(const std::string& text) {
  return "data: {\"choices\":[{\"text\":\"" + text + "\",\"finish_reason\":null}]}\n\n";
}

const std::string kEnd =
    "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":4,"
    "\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\ndata: [DONE]\n\n";

// Within a time that a loaded machine does not need.
bool becomes(const std::function<bool()>& condition) {
  const Deadline deadline = deadline_in(std::chrono::seconds(20));
  while (!condition()) {
    if (passed(deadline)) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

class FakeServerTest : public testing::Test {
 protected:
  // One write of a stream, after a pause; without `whole` the connection is closed at the end.
  struct Script {
    std::vector<std::string> writes;
    milliseconds pause{0};
    bool whole = true;
    bool chunked = true;  // else the end of the connection ends the body
  };

  FakeServerTest() {
    server_.new_task_queue = [] { return new httplib::ThreadPool(64); };
    server_.Post(".*/completions", [this](const httplib::Request& request, httplib::Response& response) {
      const std::lock_guard lock(mutex_);
      bodies_.push_back(request.body);
      keys_.push_back(request.get_header_value("Authorization"));
      if (status_ != 200) {
        response.status = status_;
        response.set_content(R"({"error":{"message":"as told"}})", "application/json");
        return;
      }
      auto at = std::make_shared<std::size_t>(0);
      auto count = std::make_shared<Count>(running_, max_running_);
      const auto provider = [this, script = script_, at, count](std::size_t, httplib::DataSink& sink) {
        for (milliseconds slept{0}; slept < script.pause && !ending_; slept += milliseconds(5)) {
          std::this_thread::sleep_for(milliseconds(5));
        }
        if (*at < script.writes.size()) {
          const std::string& text = script.writes[(*at)++];
          if (!sink.write(text.data(), text.size())) return false;
        }
        if (*at < script.writes.size()) return true;
        if (script.whole) sink.done();
        return script.whole;
      };
      if (script_.chunked) {
        response.set_chunked_content_provider("text/event-stream", provider);
      } else {
        response.set_content_provider("text/event-stream", provider);
      }
    });
    server_.Get(".*/v1/models", [this](const httplib::Request&, httplib::Response& response) {
      if (!has_facts_) return void(response.status = 404);
      response.set_content(R"({"data":[{"id":"one"},{"id":"two"}]})", "application/json");
    });
    server_.Post("/tokenize", [this](const httplib::Request&, httplib::Response& response) {
      if (!has_facts_) return void(response.status = 404);
      response.set_content(R"({"tokens":[1,2,3]})", "application/json");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    target_ = *parse_target("fake=http://127.0.0.1:" + std::to_string(port_));
    thread_ = std::jthread([this] { server_.listen_after_bind(); });
    EXPECT_TRUE(becomes([this] { return server_.is_running(); }));
  }
  ~FakeServerTest() override {
    ending_ = true;
    server_.stop();
  }

  // Workers of the server read these.
  void tell(Script script, int status = 200) {
    const std::lock_guard lock(mutex_);
    script_ = std::move(script);
    status_ = status;
  }
  void fail_with(int status) { tell({}, status); }
  void slow_down(milliseconds pause) {
    const std::lock_guard lock(mutex_);
    script_.pause = pause;
  }
  std::vector<std::string> bodies() {
    const std::lock_guard lock(mutex_);
    return bodies_;
  }

  std::vector<std::string> keys() {
    const std::lock_guard lock(mutex_);
    return keys_;
  }

  Record ask_once(milliseconds timeout = milliseconds(20000)) {
    Record record;
    const AskOptions options{.timeout = timeout};
    ask(client(), ask_body({{"user", "x"}}, 4, "m", options), options, std::chrono::steady_clock::now(), record, {});
    return record;
  }
  HttpClient client() { return {target_, watch_}; }

  static ConversationSpec asks(std::size_t client, std::size_t turns = 1, double due_s = 0) {
    ConversationSpec conversation{.client = client, .due_s = due_s};
    for (std::size_t i = 0; i < turns; ++i) {
      conversation.turns.push_back({.text = [i] { return "turn " + std::to_string(i); }, .max_tokens = 4});
    }
    return conversation;
  }
  std::vector<Record> run(const RoundSpec& plan, RoundOptions options = {}) {
    auto records = run_round(client(), watch_, plan, options);
    EXPECT_TRUE(records) << records.error().message;
    return records ? *records : std::vector<Record>();
  }

  struct Count {
    Count(std::atomic<int>& running, std::atomic<int>& most) : running_(running) {
      const int now = ++running;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
    }
    ~Count() { --running_; }
    std::atomic<int>& running_;
  };

  std::mutex mutex_;
  Script script_{.writes = {piece("a"), piece("b"), piece("c"), kEnd}};
  int status_ = 200;
  std::vector<std::string> bodies_, keys_;
  std::atomic<bool> ending_{false}, has_facts_{false};
  std::atomic<int> running_{0}, max_running_{0};
  httplib::Server server_;
  int port_ = 0;
  Target target_;
  DeadlineWatch watch_;
  std::jthread thread_;
};

TEST_F(FakeServerTest, AWholeAnswerIsTimedAndCounted) {
  target_.key = "secret";
  slow_down(milliseconds(30));
  const Record record = ask_once();
  EXPECT_EQ(record.error, "") << record.detail;
  EXPECT_EQ(record.piece_s.size(), 3u);
  EXPECT_EQ(record.usage.completion, 4u);
  EXPECT_EQ(record.usage.cached, 5u);
  EXPECT_GE(record.piece_s[1] - record.piece_s[0], 0.02);
  EXPECT_GE(*record.first_token_s(), 0.02);
  EXPECT_EQ(keys(), std::vector<std::string>{"Bearer secret"});
  EXPECT_THAT(bodies()[0], HasSubstr(R"("stream_options":{"include_usage":true})"));
}

TEST_F(FakeServerTest, AnEventInManyPiecesIsOne) {
  const std::string all = piece("a") + piece("b") + piece("c") + kEnd;
  Script script;
  for (std::size_t at = 0; at < all.size(); at += 7) script.writes.push_back(all.substr(at, 7));
  tell(script);
  const Record record = ask_once();
  EXPECT_EQ(record.error, "");
  EXPECT_EQ(record.piece_s.size(), 3u);
}

TEST_F(FakeServerTest, EveryMisbehaviourHasAName) {
  tell({.writes = {piece("a")}, .pause = milliseconds(0), .whole = false});
  EXPECT_EQ(ask_once().error, "closed early");
  tell({.writes = {piece("a")}});
  EXPECT_EQ(ask_once().error, "closed early");
  tell({.writes = {piece("a"), "data: <html>garbage\n\n", kEnd}});
  EXPECT_EQ(ask_once().error, "bad stream");
  tell({.writes = {piece("a"), "data: {\"error\":{\"message\":\"out of luck\"}}\n\ndata: [DONE]\n\n"}});
  const Record failed = ask_once();
  EXPECT_EQ(failed.error, "error in stream");
  EXPECT_EQ(failed.detail, "out of luck");
  tell({.writes = {"data: {\"error\":{\"message\":\"\\u001b[2J\\u0007oops\"}}\n\n"}});
  EXPECT_EQ(ask_once().detail.find_first_of("\x1b\x07"), std::string::npos);
  fail_with(500);
  const Record broken = ask_once();
  EXPECT_EQ(broken.error, "status 500");
  EXPECT_EQ(broken.detail, "as told");
  target_ = *parse_target("http://127.0.0.1:1");
  EXPECT_EQ(ask_once().error, "refused");
}

TEST_F(FakeServerTest, EndlessAnswersEndInTime) {
  tell({.writes = std::vector<std::string>(10000, ": still here\n\n"), .pause = milliseconds(10)});
  EXPECT_EQ(ask_once(milliseconds(200)).error, "timeout");
  tell({.writes = {piece("a")}, .pause = milliseconds(60000)});
  const Record silent = ask_once(milliseconds(200));
  EXPECT_EQ(silent.error, "timeout");
  EXPECT_LT(silent.done_s, 10);
  tell({.writes = std::vector<std::string>(10000, ": still here\n\n"), .pause = milliseconds(10), .chunked = false});
  EXPECT_EQ(ask_once(milliseconds(200)).error, "timeout");
}

TEST_F(FakeServerTest, AllClientsAskAtOnce) {
  slow_down(milliseconds(50));
  RoundSpec plan;
  for (std::size_t i = 0; i < 5; ++i) plan.conversations.push_back(asks(i));
  plan.warm_up.push_back(asks(0).turns[0]);
  const RoundSummary summary = summarize_round(run(plan), {.first_token_s = 10, .token_s = {}});
  EXPECT_EQ(summary.succeeded, 5u);
  EXPECT_EQ(summary.goodput, 1);
  EXPECT_EQ(summary.output_tokens, 20u);
  EXPECT_GE(max_running_, 5);
  EXPECT_EQ(bodies().size(), 6u);
}

TEST_F(FakeServerTest, AnOpenLoopDoesNotWaitForAnswers) {
  slow_down(milliseconds(100));
  RoundSpec plan;
  for (std::size_t i = 0; i < 8; ++i) plan.conversations.push_back(asks(i, 1, 0.02 * static_cast<double>(i)));
  EXPECT_EQ(summarize_round(run(plan), {}).late, 0u);
  EXPECT_GE(max_running_, 4);
  ASSERT_TRUE(becomes([this] { return running_ == 0; }));
  max_running_ = 0;
  const RoundSummary bounded = summarize_round(run(plan, {.ask = {}, .connections = 2, .tick = {}}), {});
  EXPECT_EQ(bounded.succeeded, 8u);
  EXPECT_LE(max_running_, 3);  // the server may still be closing one
  EXPECT_GT(bounded.late, 0u);
  EXPECT_GT(*bounded.first_token_s.max, 0.3);
}

TEST_F(FakeServerTest, TurnsCarryWhatWasSaid) {
  const std::vector<Record> records = run({.conversations = {asks(0, 3)}});
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[2].turn, 2u);
  EXPECT_GE(records[1].sent_s, records[0].done_s);
  EXPECT_THAT(bodies()[2], HasSubstr("turn 0abcturn 1abcturn 2"));
}

TEST_F(FakeServerTest, AfterAFailureTheOtherTurnsAreNotSent) {
  fail_with(503);
  const std::vector<Record> records = run({.conversations = {asks(0, 3)}});
  EXPECT_EQ(records[0].error, "status 503");
  EXPECT_EQ(records[2].error, "not sent");
  EXPECT_EQ(bodies().size(), 1u);
}

TEST_F(FakeServerTest, TheLongPromptWaitsForTheStreams) {
  slow_down(milliseconds(50));
  RoundSpec plan{.conversations = {asks(0), asks(1), asks(2)}, .lead_pieces = 2};
  plan.conversations[2].long_prompt = true;
  const std::vector<Record> records = run(plan);
  EXPECT_GE(records[2].sent_s, std::max(records[0].piece_s[1], records[1].piece_s[1]));
  EXPECT_LT(*records[2].first_token_s(), 1);
}

TEST_F(FakeServerTest, TheLongPromptIsSentAlsoWhenStreamsFail) {
  fail_with(500);
  RoundSpec plan{.conversations = {asks(0), asks(1)}, .lead_pieces = 2};
  plan.conversations[1].long_prompt = true;
  EXPECT_EQ(run(plan)[1].error, "status 500");
}

TEST_F(FakeServerTest, ServersTakeTurnsAndAreAskedTheSame) {
  const std::vector<Target> targets = {*parse_target("a=" + target_.origin + "/a"),
                                       *parse_target("b=" + target_.origin + "/b")};
  const Workload workload = *Workload::make({.clients = 1, .document_tokens = 20}, 1, {}, nullptr);
  const MeasureOptions options{.rounds = 2, .salt = "s", .run = {}, .slo = {}, .progress = {}};
  const auto servers = measure(targets, watch_, workload, options);
  ASSERT_TRUE(servers) << servers.error().message;
  EXPECT_EQ((*servers)[1].rounds.size(), 2u);
  ASSERT_EQ(bodies().size(), 4u);
  EXPECT_EQ(bodies()[0], bodies()[1]);
  EXPECT_EQ(bodies()[2], bodies()[3]);
  EXPECT_NE(bodies()[1], bodies()[2]);
}

TEST_F(FakeServerTest, AnInterruptEndsTheRound) {
  slow_down(milliseconds(60000));
  const RoundOptions options{.ask = {}, .connections = 4, .tick = [](std::size_t, std::size_t) { return false; }};
  const RoundSpec plan{.conversations = {asks(0), asks(1, 1, 3600)}};
  const auto records = run_round(client(), watch_, plan, options);
  ASSERT_FALSE(records);
  EXPECT_EQ(records.error().code, ErrorCode::kCancelled);
}

TEST_F(FakeServerTest, AFailingWarmUpIsAnError) {
  fail_with(429);
  const auto records = run_round(client(), watch_, {.warm_up = asks(0).turns}, {});
  ASSERT_FALSE(records);
  EXPECT_THAT(records.error().message, HasSubstr("status 429 (as told)"));
}

TEST_F(FakeServerTest, FactsAreAskedFor) {
  const milliseconds timeout(20000);
  EXPECT_EQ(first_model(client(), timeout).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(*count_tokens(client(), "x", timeout), std::nullopt);
  has_facts_ = true;
  EXPECT_EQ(*first_model(client(), timeout), "one");
  EXPECT_EQ(*count_tokens(client(), "x", timeout), 3u);
  target_ = *parse_target("http://127.0.0.1:1");
  EXPECT_THAT(first_model(client(), timeout).error().message, HasSubstr("http://127.0.0.1:1: no connection"));
}

TEST_F(FakeServerTest, AModelIsGivenOrTheFirstOfTheList) {
  const milliseconds timeout(20000);
  std::vector<Target> targets = {target_, target_};
  EXPECT_EQ(choose_models(targets, watch_, "", timeout).error().code, ErrorCode::kInvalidArgument);
  EXPECT_TRUE(choose_models(targets, watch_, "given", timeout)) << "a server may have no list";
  EXPECT_EQ(targets[1].model, "given");
  has_facts_ = true;
  ASSERT_TRUE(choose_models(targets, watch_, "", timeout));
  EXPECT_EQ(targets[0].model, "one");
  targets[1] = *parse_target("http://127.0.0.1:1");
  EXPECT_EQ(choose_models(targets, watch_, "given", timeout).error().code, ErrorCode::kIo);
}

TEST_F(FakeServerTest, LengthsAreCountedWhereTheServerCounts) {
  const milliseconds timeout(20000);
  const HttpClient counting = client();
  auto lengths = token_lengths(counting, 1, timeout);
  ASSERT_TRUE(lengths);
  EXPECT_EQ(lengths->count, nullptr);
  EXPECT_EQ(lengths->per_word, 1);
  has_facts_ = true;
  lengths = token_lengths(counting, 1, timeout);
  ASSERT_TRUE(lengths);
  EXPECT_EQ(lengths->per_word, 3 / 500.0);
  EXPECT_EQ(*lengths->count("any text"), 3u);
  has_facts_ = false;
  EXPECT_THAT(lengths->count("any text").error().message, HasSubstr("answered before and fails now"));
}

}  // namespace
}  // namespace cairn::load
