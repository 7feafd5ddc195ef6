// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/ask.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cairn/load/stream.h"

namespace cairn::load {
namespace {

// That a server may put around what was sent: a template, a system message of its own.
constexpr std::size_t kMaxAdded = 65536;

// What there can be at most: tokens, and pieces of text.
struct AnswerLimits {
  std::size_t prompt, completion, pieces;
};

// A token stands for a byte of the prompt or more. An honest server sends about a piece for each; a stream of pieces
// alone would go on until the time is over.
AnswerLimits limits_of(const Question& question) {
  return {.prompt = question.body.size() + kMaxAdded,
          .completion = question.max_tokens,
          .pieces = 64 * std::min(question.max_tokens, kMaxBody) + 1024};
}

// What cannot be, in words; else empty.
std::string impossible(const Usage& usage, const AnswerLimits& most) {
  const auto more = [](std::size_t count, const char* of, std::size_t limit) {
    return std::to_string(count) + " tokens of " + of + " of at most " + std::to_string(limit);
  };
  if (usage.completion > most.completion) return more(*usage.completion, "an answer", most.completion);
  if (usage.prompt > most.prompt) return more(*usage.prompt, "a prompt", most.prompt);
  if (usage.prompt && usage.cached > usage.prompt) return more(*usage.cached, "a cached prompt", *usage.prompt);
  return "";
}

// The stream of one answer, event by event.
class AnswerReader {
 public:
  AnswerReader(const AnswerLimits& limits, Record& record, const std::function<void()>& on_piece)
      : limits_(limits), record_(record), on_piece_(on_piece) {}

  // False: what follows is not worth reading.
  bool read(std::string_view bytes, double now_s) {
    const bool fits = parser_.feed(bytes, [&](std::string_view data) {
      if (!done_ && record_.error.empty()) take(parse_stream_event(data), data, now_s);
    });
    if (!fits) set_error("bad stream", "an event is too long");
    return record_.error.empty() && !done_;
  }

  bool whole() const { return done_ || (record_.finished_s && record_.usage.completion); }
  std::string take_text() { return std::move(text_); }

  void set_error(const char* kind, std::string detail) {
    record_.error = kind;
    record_.detail = std::move(detail);
  }

 private:
  void take(StreamEvent event, std::string_view data, double now_s) {
    if (!event.readable) return set_error("bad stream", "not JSON: " + error_message(data));
    if (!event.error.empty()) return set_error("error in stream", event.error);
    done_ = event.done;
    if (event.finished && !record_.finished_s) record_.finished_s = now_s;
    if (!event.counted) return set_error("impossible usage", "a count that is no number of tokens");
    Usage usage = record_.usage;
    if (event.usage.prompt) usage.prompt = event.usage.prompt;
    if (event.usage.completion) usage.completion = event.usage.completion;
    if (event.usage.cached) usage.cached = event.usage.cached;
    if (std::string what = impossible(usage, limits_); !what.empty()) {
      return set_error("impossible usage", std::move(what));
    }
    record_.usage = usage;
    if (event.text.empty()) return;
    if (text_.size() + event.text.size() > kMaxBody) return set_error("too long", answer_too_long());
    if (record_.piece_s.size() >= limits_.pieces) {
      return set_error("too long", "more than " + std::to_string(limits_.pieces) + " pieces for " +
                                       std::to_string(limits_.completion) + " tokens");
    }
    text_ += event.text;
    record_.piece_s.push_back(now_s);
    if (on_piece_) on_piece_();
  }

  SseParser parser_;
  AnswerLimits limits_;
  Record& record_;
  const std::function<void()>& on_piece_;
  std::string text_;
  bool done_ = false;
};

void judge(const HttpAnswer& answer, AnswerReader& reader, Record& record) {
  if (!record.error.empty() || reader.whole()) return;
  switch (answer.outcome) {
    case HttpOutcome::kRefused: return reader.set_error("refused", answer.reason);
    case HttpOutcome::kTimeout: return reader.set_error("timeout", answer.reason);
    case HttpOutcome::kTooLong: return reader.set_error("too long", answer.reason);
    case HttpOutcome::kStopped: return reader.set_error("stopped", answer.reason);
    case HttpOutcome::kAnswered:
      if (answer.status == 200) break;
      record.error = "status " + std::to_string(answer.status);
      record.detail = error_message(answer.body);
      return;
    case HttpOutcome::kClosed: break;
  }
  reader.set_error("closed early", "the stream ended before the answer did");
}

using Json = nlohmann::json;

std::string where(const HttpClient& client) {
  return client.target().origin + client.target().path;
}

std::unexpected<Error> unreachable(const HttpClient& client, const HttpAnswer& answer) {
  if (answer.outcome == HttpOutcome::kStopped) return fail(ErrorCode::kCancelled, "interrupted");
  if (answer.outcome == HttpOutcome::kTooLong) return fail(ErrorCode::kIo, where(client) + ": " + answer.reason);
  return fail(ErrorCode::kIo, where(client) + ": " + answer.reason + "; is the server running?");
}

}  // namespace

std::string ask(const HttpClient& client, Question question, const AskOptions& options,
                std::chrono::steady_clock::time_point round_start, Record& record,
                const std::function<void()>& on_piece) {
  const auto now_s = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - round_start).count();
  };
  AnswerReader reader(limits_of(question), record, on_piece);
  record.sent_s = now_s();
  const HttpAnswer answer =
      client.stream(options.chat ? "/v1/chat/completions" : "/v1/completions", std::move(question.body),
                    options.timeout, [&](std::string_view bytes) { return reader.read(bytes, now_s()); });
  record.done_s = now_s();
  judge(answer, reader, record);
  return reader.take_text();
}

Question ask_body(const std::vector<Message>& messages, std::size_t max_tokens, const std::string& model,
                  const AskOptions& options) {
  nlohmann::ordered_json body = {{"model", model},
                                 {"max_tokens", max_tokens},
                                 {"temperature", 0},
                                 {"stream", true},
                                 {"stream_options", {{"include_usage", true}}}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  if (options.chat) {
    auto& list = body["messages"] = nlohmann::ordered_json::array();
    for (const Message& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  } else {
    std::string prompt;
    for (const Message& message : messages) prompt += message.content;
    body["prompt"] = std::move(prompt);
  }
  return {body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace), max_tokens};
}

Result<std::string> first_model(const HttpClient& client, std::chrono::milliseconds timeout) {
  const HttpAnswer answer = client.get("/v1/models", timeout);
  if (answer.outcome != HttpOutcome::kAnswered) return unreachable(client, answer);
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::kInvalidArgument, where(client) + "/v1/models: " + what);
  };
  if (answer.status == 401 || answer.status == 403) {
    return wrong("status " + std::to_string(answer.status) + "; give --api-key or --api-key-file");
  }
  if (answer.status != 200) {
    return wrong("status " + std::to_string(answer.status) + " (" + error_message(answer.body) + "); give --model");
  }
  const Json json = Json::parse(answer.body, nullptr, false);
  const Json id = json.is_object() ? json.value(Json::json_pointer("/data/0/id"), Json()) : Json();
  if (!id.is_string()) return wrong("no list of models; give --model");
  return id.get<std::string>();
}

Result<std::optional<std::size_t>> count_tokens(const HttpClient& client, const std::string& text,
                                                std::chrono::milliseconds timeout) {
  const Json body = {{"content", text}};
  const HttpAnswer answer =
      client.post("/tokenize", body.dump(-1, ' ', false, Json::error_handler_t::replace), timeout);
  if (answer.outcome != HttpOutcome::kAnswered) return unreachable(client, answer);
  if (answer.status != 200) return std::nullopt;
  const Json json = Json::parse(answer.body, nullptr, false);
  if (!json.is_object() || !json.contains("tokens") || !json.at("tokens").is_array()) return std::nullopt;
  return json.at("tokens").size();
}

Status choose_models(std::span<Target> targets, DeadlineWatch& watch, const std::string& given,
                     std::chrono::milliseconds timeout) {
  for (Target& target : targets) {
    auto first = first_model(HttpClient(target, watch), timeout);
    if (!first && (given.empty() || first.error().code != ErrorCode::kInvalidArgument)) {
      return std::unexpected(std::move(first).error());
    }
    target.model = given.empty() ? *std::move(first) : given;
  }
  return {};
}

Result<TokenLengths> token_lengths(const HttpClient& client, std::uint64_t seed, std::chrono::milliseconds timeout) {
  constexpr std::size_t kSampleWords = 500;
  const std::string sample = made_words({seed, "cairn.load.sample"}, kSampleWords);
  CAIRN_TRY(const auto tokens, count_tokens(client, sample, timeout));
  if (!tokens || *tokens == 0) return TokenLengths{};
  return TokenLengths{.count = [&client, timeout](const std::string& text) -> Result<std::size_t> {
                        CAIRN_TRY(const auto counted, count_tokens(client, text, timeout));
                        if (counted) return *counted;
                        return fail(ErrorCode::kIo, client.target().name + ": /tokenize answered before and fails now");
                      },
                      .per_word = static_cast<double>(*tokens) / kSampleWords};
}

}  // namespace cairn::load
