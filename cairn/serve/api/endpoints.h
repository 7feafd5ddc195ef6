// SPDX-License-Identifier: Apache-2.0
// What endpoints share, and one function per endpoint. A reply with a stream notes its record itself when it ends; the
// others leave that to the caller.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>

#include "cairn/serve/api/api.h"
#include "cairn/serve/api/text_turns.h"

namespace cairn::api {

// What endpoints work with.
struct Context {
  GenerateBackend& backend;
  const Options options;
  AccessLog& log;
  Metrics metrics{};
  RecentRequests recent{options.recent};
  TextTurns turns{kLargeTextsAtOnce};
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  const std::int64_t started_s = 0;  // Unix time

  // Logs, counts and remembers a request that is over.
  void note(const RequestRecord& record);
};

inline constexpr int kClientGoneStatus = 499;  // for the log alone

struct Call {
  const http::Request& http;
  const std::chrono::steady_clock::time_point began;
  RequestRecord record;
  bool all_tenants = false;  // may see figures of all
};

// Seconds since `began`.
// `bytes` random bytes in hexadecimal, to tell things apart.
std::string random_id(std::size_t bytes);
std::int64_t unix_now();

// The turn of a body that is large enough to need one: 503 when it does not come in time, 499 when the client leaves.
ApiResult<std::optional<TextTurns::Turn>> turn_of(Context& context, Call& call);

// What `read` makes of the body, in the body's turn.
template <class Read>
std::invoke_result_t<Read> in_turn(Context& context, Call& call, const Read& read) {
  CAIRN_TRY([[maybe_unused]] const auto turn, turn_of(context, call));
  return read();
}

http::Reply chat_completions(Context& context, Call& call);
http::Reply completions(Context& context, Call& call);
http::Reply embeddings(Context& context, Call& call);
http::Reply list_models(Context& context, Call& call);
http::Reply one_model(Context& context, Call& call);  // /v1/models/ID
http::Reply tokenize(Context& context, Call& call);
http::Reply detokenize(Context& context, Call& call);
http::Reply health(Context& context, Call& call);
http::Reply ready(Context& context, Call& call);
http::Reply metrics_text(Context& context, Call& call);
http::Reply server_state(Context& context, Call& call);
http::Reply held_block_list(Context& context, Call& call);
http::Reply one_request(Context& context, Call& call);  // /api/requests/ID
http::Reply page_file(Context& context, Call& call);

}  // namespace cairn::api
