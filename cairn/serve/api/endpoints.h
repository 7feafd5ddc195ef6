// SPDX-License-Identifier: Apache-2.0
// What endpoints share, and one function per endpoint. A reply with a stream notes its record itself when it ends; the
// others leave that to the caller.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cairn/base/clock.h"
#include "cairn/serve/api/api.h"

namespace cairn::api {

inline constexpr std::size_t kLargeText = std::size_t{64} << 10;  // bytes; smaller ones need no turn
inline constexpr std::size_t kLargeTextsAtOnce = 2;

enum class NoTurn : std::uint8_t { kClientGone, kTooLate };

// Large texts are read a few at a time: parsing and encoding one takes many times its own bytes, and there may be as
// many requests as there are HTTP threads. In rotation among the tenants that wait; within a tenant, first come, first
// served. Thread-safe.
class TextTurns {
 public:
  explicit TextTurns(std::size_t max_at_once) : free_(max_at_once) {}

  // Lasts as long as it lives; at most as long as the TextTurns.
  class Turn {
   public:
    explicit Turn(TextTurns& of) : of_(&of) {}
    ~Turn() {
      if (of_ != nullptr) of_->give_back();
    }
    Turn(Turn&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;

   private:
    TextTurns* of_;
  };

  // Waits; `client_gone` is asked a few times a second. A turn that is free is given even after the deadline.
  std::expected<Turn, NoTurn> take(std::string_view tenant, const std::function<bool()>& client_gone,
                                   Deadline deadline);

 private:
  struct Line {
    std::string tenant;
    std::deque<std::uint64_t> numbers;  // first come first; never empty
  };
  void join(std::string_view tenant, std::uint64_t number);
  // With a turn the tenant goes behind the others; without one it keeps its place.
  void leave(std::string_view tenant, std::uint64_t number, bool with_turn);
  void give_back();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t free_;        // guarded by mutex_, as are the others
  std::deque<Line> lines_;  // of the tenants that wait, the next first
  std::uint64_t next_ = 0;
};

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

// A file of web/, which the build puts into the program.
struct PageFile {
  std::string_view path;  // "/index.html"
  std::string_view content_type;
  std::string_view bytes;
};

std::span<const PageFile> page_files();  // defined in a file that cmake/embed_page.cmake writes

}  // namespace cairn::api
