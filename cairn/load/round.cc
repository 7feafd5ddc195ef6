// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/round.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <condition_variable>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>

namespace cairn::load {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kTick = std::chrono::milliseconds(50);

// Streams that have got what the long prompt waits for.
class Lead {
 public:
  explicit Lead(std::size_t streams) : missing_(streams) {}

  void arrived() {
    const std::lock_guard lock(mutex_);
    if (--missing_ == 0) all_.notify_all();
  }
  void wait(Deadline deadline, const DeadlineWatch& watch) {
    std::unique_lock lock(mutex_);
    while (missing_ > 0 && !passed(deadline) && !watch.stopped()) all_.wait_for(lock, kTick);
  }

 private:
  std::mutex mutex_;
  std::condition_variable all_;
  std::size_t missing_;  // guarded by mutex_
};

std::size_t streams_of(const RoundSpec& plan) {
  return static_cast<std::size_t>(std::ranges::count(plan.conversations, false, &ConversationSpec::long_prompt));
}

template <class Work>
bool start_thread(std::vector<std::jthread>& threads, const Work& work) {
  try {
    threads.emplace_back(work);
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

class Round {
 public:
  Round(const HttpClient& client, DeadlineWatch& watch, const RoundSpec& plan, const RoundOptions& options)
      : client_(client), watch_(watch), plan_(plan), options_(options), lead_(streams_of(plan)) {
    records_.resize(plan.requests());
    for (std::size_t c = 0, first = 0; c < plan.conversations.size(); first += plan.conversations[c++].turns.size()) {
      first_record_.push_back(first);
    }
  }

  Result<std::vector<Record>> run() {
    const std::size_t workers = std::min(options_.connections, plan_.conversations.size());
    working_ = workers;
    std::barrier ready(static_cast<std::ptrdiff_t>(workers), [this]() noexcept { start_ = Clock::now(); });
    std::vector<std::jthread> threads;
    const auto work = [&] {
      prepare_next_then(ready);
      working_.fetch_sub(1);
    };
    bool enough = true;
    for (std::size_t w = 0; w < workers; ++w) {
      enough = enough && start_thread(threads, work);
      if (enough) continue;
      watch_.stop_all();
      working_.fetch_sub(1);
      ready.arrive_and_drop();  // else the others would wait for it
    }
    while (working_.load() > 0) {
      std::this_thread::sleep_for(kTick / 5);
      if (options_.tick && !options_.tick(done_.load(), records_.size())) watch_.stop_all();
    }
    threads.clear();
    if (!enough) return fail(ErrorCode::kIo, "the system starts no " + std::to_string(workers) + " threads");
    if (watch_.stopped()) return fail(ErrorCode::kCancelled, "interrupted");
    return std::move(records_);
  }

 private:
  // The first request of each worker is made before the clock starts.
  template <class Barrier>
  void prepare_next_then(Barrier& ready) {
    std::size_t c = next_.fetch_add(1);
    Question question = c < plan_.conversations.size() ? begin(plan_.conversations[c]) : Question();
    ready.arrive_and_wait();
    while (c < plan_.conversations.size() && !watch_.stopped()) {
      converse(plan_.conversations[c], std::span(records_).subspan(first_record_[c]), std::move(question));
      c = next_.fetch_add(1);
      if (c < plan_.conversations.size()) question = begin(plan_.conversations[c]);
    }
  }

  std::vector<Message> opening(const ConversationSpec& conversation) const {
    std::vector<Message> said;
    if (!conversation.system.empty()) said.push_back({"system", conversation.system});
    said.push_back({"user", conversation.turns.front().text()});
    return said;
  }

  Question begin(const ConversationSpec& conversation) const {
    return ask_body(opening(conversation), conversation.turns.front().max_tokens, client_.target().model, options_.ask);
  }

  // Returns when the conversation is due, in seconds of the round.
  double await(const ConversationSpec& conversation) {
    if (conversation.long_prompt) {
      lead_.wait(deadline_in(options_.ask.timeout), watch_);
      return since_start();
    }
    const auto due =
        start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(conversation.due_s));
    while (Clock::now() < due && !watch_.stopped()) std::this_thread::sleep_until(std::min(due, Clock::now() + kTick));
    return conversation.due_s;
  }

  void converse(const ConversationSpec& conversation, std::span<Record> records, Question question) {
    double due_s = await(conversation);
    std::vector<Message> said;
    if (conversation.turns.size() > 1) said = opening(conversation);
    std::size_t pieces = 0;
    bool told = conversation.long_prompt, going = true;
    const auto on_piece = [&] {
      if (++pieces >= plan_.lead_pieces && !std::exchange(told, true)) lead_.arrived();
    };
    for (std::size_t turn = 0; turn < conversation.turns.size(); ++turn, done_.fetch_add(1)) {
      Record& record = records[turn];
      record.client = conversation.client;
      record.turn = turn;
      record.long_prompt = conversation.long_prompt;
      record.due_s = record.sent_s = record.done_s = due_s;
      if (!going || watch_.stopped()) {
        record.error = "not sent";
        continue;
      }
      if (turn > 0) {
        said.push_back({"user", conversation.turns[turn].text()});
        question = ask_body(said, conversation.turns[turn].max_tokens, client_.target().model, options_.ask);
        record.due_s = since_start();
      }
      std::string answer = ask(client_, std::move(question), options_.ask, start_, record, on_piece);
      if (!said.empty()) said.push_back({"assistant", std::move(answer)});
      due_s = record.done_s;
      going = record.ok();
    }
    if (!told) lead_.arrived();
  }

  double since_start() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

  const HttpClient& client_;
  DeadlineWatch& watch_;
  const RoundSpec& plan_;
  const RoundOptions& options_;
  Clock::time_point start_;
  std::vector<Record> records_;  // each written by one worker
  std::vector<std::size_t> first_record_;
  std::atomic<std::size_t> next_{0}, done_{0}, working_{0};
  Lead lead_;
};

Status warm_up(const HttpClient& client, const DeadlineWatch& watch, const TurnSpec& turn,
               const RoundOptions& options) {
  Record record;
  Question question = ask_body({{"user", turn.text()}}, turn.max_tokens, client.target().model, options.ask);
  ask(client, std::move(question), options.ask, Clock::now(), record, {});
  if (watch.stopped()) return fail(ErrorCode::kCancelled, "interrupted");
  if (record.ok()) return {};
  return fail(ErrorCode::kIo, client.target().name + ": the request that warms up failed: " + record.error +
                                  (record.detail.empty() ? "" : " (" + record.detail + ")"));
}

}  // namespace

Result<std::vector<Record>> run_round(const HttpClient& client, DeadlineWatch& watch, const RoundSpec& plan,
                                      const RoundOptions& options) {
  for (const TurnSpec& turn : plan.warm_up) CAIRN_TRY_VOID(warm_up(client, watch, turn, options));
  return Round(client, watch, plan, options).run();
}

Result<std::vector<MeasuredServer>> measure(std::span<const Target> targets, DeadlineWatch& watch,
                                            const Workload& workload, const MeasureOptions& options) {
  std::vector<MeasuredServer> servers;
  for (const Target& target : targets) servers.push_back({.name = target.name, .model = target.model});
  const double runs = static_cast<double>(options.rounds * targets.size());
  double finished = 0;
  RoundOptions run = options.run;
  run.tick = [&](std::size_t done, std::size_t total) {
    const double part = total == 0 ? 0 : static_cast<double>(done) / static_cast<double>(total);
    return !options.progress || options.progress((finished + part) / runs);
  };
  for (std::size_t round = 0; round < options.rounds; ++round) {
    const RoundSpec plan = workload.round(made_words({0, "cairn.load.salt" + options.salt, round}, 6));
    for (std::size_t turn = 0; turn < targets.size(); ++turn, finished += 1) {
      const std::size_t s = round % 2 == 0 ? turn : targets.size() - 1 - turn;
      const HttpClient client(targets[s], watch);
      CAIRN_TRY(auto records, run_round(client, watch, plan, run));
      servers[s].rounds.push_back(summarize_round(records, options.slo));
      servers[s].records.push_back(std::move(records));
    }
  }
  return servers;
}

}  // namespace cairn::load
