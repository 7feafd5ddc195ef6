// SPDX-License-Identifier: Apache-2.0
// /v1/chat/completions and /v1/completions: submit, wait, answer.
#include <algorithm>
#include <charconv>

#include "cairn/base/clock.h"
#include "cairn/serve/api/answer_json.h"
#include "cairn/serve/api/endpoints.h"
#include "cairn/text/begin_token.h"

namespace cairn::api {
namespace {

constexpr std::chrono::milliseconds kGlance{200};     // how late a vanished client is noticed
constexpr std::chrono::milliseconds kTurn{10};        // of one generation among several
constexpr std::chrono::milliseconds kFarewell{1000};  // for cancelled ones to end
constexpr std::chrono::seconds kSilence{15};

void cancel_all(const std::vector<std::shared_ptr<Generation>>& generations) {
  for (const auto& generation : generations) generation->cancel();
  const Deadline deadline = deadline_in(kFarewell);
  GeneratedPiece dropped;
  for (const auto& generation : generations) {
    while (generation->next(dropped, deadline) == Generation::Event::kPiece) {
    }
  }
}

enum class RunEnd : std::uint8_t { kFinished, kClientGone, kTimeout };

struct RunCallbacks {
  std::function<bool()> alive;                                 // asked a few times a second
  std::function<bool(std::size_t, GeneratedPiece&)> on_piece;  // false: the client is gone
  std::function<bool(std::size_t)> on_finish;                  // result() may be asked
  std::function<bool()> on_silence = [] { return true; };      // nothing came for a while
};

// Waits for the pieces of all generations. Returns when all have finished, when the client has left, or when the time
// is over; in the last two cases the open ones are cancelled and get a moment to report their usage.
RunEnd run_generations(const std::vector<std::shared_ptr<Generation>>& generations, Deadline deadline,
                       const RunCallbacks& callbacks) {
  std::vector<std::size_t> open(generations.size());
  for (std::size_t i = 0; i < open.size(); ++i) open[i] = i;
  Deadline look = deadline_in(kGlance), silence = deadline_in(kSilence);
  RunEnd end = RunEnd::kFinished;
  // Takes what one has; false when the client is gone.
  const auto take = [&](std::size_t index, Deadline until, bool& moved) {
    GeneratedPiece piece;
    switch (generations[index]->next(piece, until)) {
      case Generation::Event::kTimeout: return true;
      case Generation::Event::kFinished:
        moved = true;
        std::erase(open, index);
        return callbacks.on_finish(index);
      case Generation::Event::kPiece: moved = true; return callbacks.on_piece(index, piece);
    }
    return false;
  };
  while (!open.empty() && end == RunEnd::kFinished) {
    bool moved = false, here = true;
    if (open.size() > 1) {
      for (const std::size_t index : std::vector(open)) here = here && take(index, Deadline{}, moved);
    }
    if (here && !moved && !open.empty()) {
      here = take(open.front(), std::min(deadline, deadline_in(open.size() == 1 ? kGlance : kTurn)), moved);
    }
    if (moved) silence = deadline_in(kSilence);
    if (here && passed(silence)) {
      silence = deadline_in(kSilence);
      here = callbacks.on_silence();
    }
    if (here && passed(look)) {
      look = deadline_in(kGlance);
      here = callbacks.alive();
    }
    if (!here)
      end = RunEnd::kClientGone;
    else if (!open.empty() && passed(deadline))
      end = RunEnd::kTimeout;
  }
  if (!open.empty()) cancel_all(generations);
  return end;
}

// Whether result() may be asked; never waits.
bool has_finished(Generation& generation) {
  GeneratedPiece dropped;
  Generation::Event event = Generation::Event::kPiece;
  while (event == Generation::Event::kPiece) event = generation.next(dropped, Deadline{});
  return event == Generation::Event::kFinished;
}

struct Exchange {
  Context& context;
  AnswerHead head;
  CompletionRequest request;
  RequestRecord record;
  std::chrono::steady_clock::time_point began;
  std::vector<std::shared_ptr<Generation>> generations;
  Deadline deadline;
  bool noted = true;  // false while a stream owes its record

  // A client may be gone before its stream begins.
  ~Exchange() {
    for (const auto& generation : generations) generation->cancel();
    if (noted) return;
    record.status = kClientGoneStatus;
    record.client_gone = true;
    record.total_s = seconds_since(began);
    context.note(record);
  }
};

Status submit_all(Exchange& exchange) {
  const std::size_t answers = exchange.request.prompts.size() * exchange.request.choices;
  const std::size_t most = exchange.context.backend.max_at_once(exchange.record.tenant);
  if (answers > most) {
    return fail(ErrorCode::kInvalidArgument, "prompts times 'n' are " + std::to_string(answers) + " answers; at most " +
                                                 std::to_string(most) + " may wait here");
  }
  std::uint64_t seed = 0;
  const std::string random = random_id(8);
  std::from_chars(random.data(), random.data() + random.size(), seed, 16);
  for (GenerateRequest& one : generate_requests(exchange.request, exchange.head.id, exchange.record.tenant, seed)) {
    const std::size_t number = exchange.generations.size(), choice = number % exchange.request.choices;
    if (choice > 0) one.keys = exchange.generations[number - choice]->request().keys;  // the same prompt
    auto generation = exchange.context.backend.submit(std::move(one));
    if (!generation) {
      for (const auto& earlier : exchange.generations) earlier->cancel();
      return std::unexpected(std::move(generation).error());
    }
    exchange.generations.push_back(*std::move(generation));
  }
  exchange.request.prompts.clear();  // the generations have their own
  return {};
}

// What the record says of the answers; the first error of a choice that has ended in one.
std::optional<ApiError> sum_up(Exchange& exchange, RunEnd end) {
  std::optional<ApiError> error;
  RequestRecord& record = exchange.record;
  for (std::size_t index = 0; index < exchange.generations.size(); ++index) {
    if (!has_finished(*exchange.generations[index])) continue;
    const GenerationResult& result = exchange.generations[index]->result();
    record.usage.completion_tokens += result.usage.completion_tokens;
    record.usage.preempted += result.usage.preempted;
    if (index % exchange.request.choices == 0) {
      record.usage.prompt_tokens += result.usage.prompt_tokens;
      record.usage.cached_tokens += result.usage.cached_tokens;
      record.usage.stored_tokens += result.usage.stored_tokens;
    }
    if (index == 0) {
      record.usage.policy = result.usage.policy;
      record.timing = result.timing;
      record.reason = finish_name(result.reason);
    }
    if (error || end != RunEnd::kFinished) continue;
    if (result.reason == FinishReason::kError) {
      // Of those that come up while an answer is computed, this one alone may be mended by asking for less.
      const bool no_room = result.error_code == ErrorCode::kOutOfBudget;
      error = api_error({no_room ? result.error_code : ErrorCode::kInternal, result.error});
    } else if (result.reason == FinishReason::kCancelled) {
      error = api_error({ErrorCode::kCancelled, "the server is stopping"});
    }
  }
  record.client_gone = end == RunEnd::kClientGone;
  if (end == RunEnd::kTimeout) {
    error = ApiError{.status = 504, .message = "the answer took longer than the server allows", .code = "timeout"};
  }
  if (error) record.error = error->message;
  record.total_s = seconds_since(exchange.began);
  return error;
}

void keep_piece(AnswerChoice& choice, GeneratedPiece& piece) {
  choice.text += piece.text;
  if (piece.logprob) choice.tokens.push_back(std::move(piece));
}

http::Reply whole_answer(Exchange& exchange, const std::function<bool()>& client_gone) {
  std::vector<AnswerChoice> choices(exchange.generations.size());
  if (!exchange.request.echo.empty()) {
    for (std::size_t i = 0; i < choices.size(); ++i)
      choices[i].text = exchange.request.echo[i / exchange.request.choices];
  }
  const RunEnd end = run_generations(
      exchange.generations, exchange.deadline,
      {.alive = [&] { return !client_gone(); },
       .on_piece = [&](std::size_t index, GeneratedPiece& piece) { return keep_piece(choices[index], piece), true; },
       .on_finish =
           [&](std::size_t index) {
             choices[index].reason = exchange.generations[index]->result().reason;
             return true;
           }});
  const std::optional<ApiError> error = sum_up(exchange, end);
  if (end == RunEnd::kClientGone) return {.status = kClientGoneStatus};
  if (error) return error_reply(*error);
  return {.body = answer_json(exchange.head, choices, exchange.record.usage)};
}

// Writes the stream; the record is noted at its end.
void stream_answer(Exchange& exchange, http::Sink& sink) {
  const AnswerHead& head = exchange.head;
  std::vector<std::size_t> written(exchange.generations.size(), 0);  // characters
  const auto begin = [&] {
    for (std::size_t index = 0; index < written.size(); ++index) {
      const bool echo = !exchange.request.echo.empty();
      if (!head.chat && !echo) continue;
      const std::string text = echo ? exchange.request.echo[index / exchange.request.choices] : "";
      written[index] = utf8_length(text);
      if (!sink.write(sse_event(first_chunk(head, index, text)))) return false;
    }
    return true;
  };
  begin();
  const RunEnd end = run_generations(exchange.generations, exchange.deadline,
                                     {.alive = [&] { return sink.alive(); },
                                      .on_piece =
                                          [&](std::size_t index, GeneratedPiece& piece) {
                                            if (piece.text.empty() && !piece.logprob) return true;
                                            const bool taken =
                                                sink.write(sse_event(piece_chunk(head, index, piece, written[index])));
                                            written[index] += utf8_length(piece.text);
                                            return taken;
                                          },
                                      .on_finish =
                                          [&](std::size_t index) {
                                            const FinishReason reason = exchange.generations[index]->result().reason;
                                            if (reason == FinishReason::kError || reason == FinishReason::kCancelled)
                                              return true;
                                            return sink.write(sse_event(last_chunk(head, index, reason)));
                                          },
                                      .on_silence = [&] { return sink.write(kSseComment); }});
  const std::optional<ApiError> error = sum_up(exchange, end);
  if (error) {
    sink.write("data: " + error_body(*error) + "\n\n");
  } else if (exchange.request.include_usage) {
    sink.write(sse_event(usage_chunk(head, exchange.record.usage)));
  }
  exchange.record.status = end == RunEnd::kClientGone ? kClientGoneStatus : error ? error->status : 200;
  exchange.noted = true;
  exchange.context.note(exchange.record);
  // Last: a client that has seen the end may ask for the record.
  sink.write(kSseDone);
}

http::Reply generate(Context& context, Call& call, ApiResult<CompletionRequest> request) {
  if (!request) {
    call.record.error = request.error().message;
    return error_reply(request.error());
  }
  const Options& options = context.options;
  const std::string id = (request->chat ? "chatcmpl-" : "cmpl-") + random_id(12);
  const auto exchange = std::make_shared<Exchange>(Exchange{.context = context,
                                                            .head = {.chat = request->chat,
                                                                     .id = id,
                                                                     .model = options.model.name,
                                                                     .created = unix_now(),
                                                                     .tokenizer = options.model.tokenizer,
                                                                     .usage_in_chunks = request->include_usage},
                                                            .request = *std::move(request),
                                                            .record = call.record,
                                                            .began = call.began,
                                                            .generations = {},
                                                            .deadline = call.began + options.request_time});
  RequestRecord& record = exchange->record;
  record.id = id;
  record.stream = exchange->request.stream;
  record.choices = exchange->request.prompts.size() * exchange->request.choices;
  if (exchange->request.doubled_bos) record.note = kPromptDoublesBos;
  if (const Status submitted = submit_all(*exchange); !submitted) {
    ApiError error = api_error(submitted.error(), context.backend.draining());
    if (submitted.error().code == ErrorCode::kUnsupported) {  // GenerateBackend::submit
      error = bad_field("cairn.policy", "cannot be had: " + error.message).error();
    }
    call.record.error = error.message;
    return error_reply(error);
  }
  record.generated = true;
  if (!exchange->request.stream) {
    http::Reply reply = whole_answer(*exchange, call.http.client_gone);
    call.record = exchange->record;
    return reply;
  }
  http::Reply reply{.content_type = "text/event-stream"};
  reply.headers.emplace_back("Cache-Control", "no-cache");
  reply.headers.emplace_back("X-Accel-Buffering", "no");
  exchange->noted = false;
  reply.stream = [exchange](http::Sink& sink) { stream_answer(*exchange, sink); };
  return reply;
}

}  // namespace

http::Reply chat_completions(Context& context, Call& call) {
  return generate(context, call,
                  in_turn(context, call, [&] { return parse_chat_request(call.http.body, context.options.model); }));
}

http::Reply completions(Context& context, Call& call) {
  return generate(context, call, in_turn(context, call, [&] {
                    return parse_completion_request(call.http.body, context.options.model);
                  }));
}

}  // namespace cairn::api
