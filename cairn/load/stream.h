// SPDX-License-Identifier: Apache-2.0
// A streamed answer: server-sent events out of a byte stream, and what each event says.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::load {

// Server-sent events (WHATWG HTML, 9.2): the data of each event, however the stream is cut. Thread-compatible. Lines
// end with LF, CR or CR LF; comments and fields other than `data` are skipped. An event that the stream ends in the
// middle of is not one.
class SseParser {
 public:
  using OnData = std::function<void(std::string_view data)>;

  explicit SseParser(std::size_t max_bytes = std::size_t{16} << 20) : max_bytes_(max_bytes) {}

  // False: an event or a line is longer than `max_bytes`; nothing more is read.
  bool feed(std::string_view bytes, const OnData& on_data);

 private:
  void end_line(const OnData& on_data);

  const std::size_t max_bytes_;
  std::string line_, data_;
  bool has_data_ = false, after_cr_ = false, too_long_ = false;
};

// What the server counted; what it did not tell is absent.
struct Usage {
  std::optional<std::size_t> prompt, completion, cached;
};

// One event of a chat or a completion, as OpenAI, cairn, llama-server and vLLM write it.
struct StreamEvent {
  bool readable = true;   // false: not a JSON object
  bool done = false;      // "[DONE]"
  bool finished = false;  // a finish_reason came
  bool counted = true;    // false: of the usage something is a number, but not of tokens
  std::string text;
  std::string error;  // the message of an error event
  Usage usage;
};

// `cached` is usage.prompt_tokens_details.cached_tokens; where that is missing, llama-server's timings: cache_n, or the
// prompt without the prompt_n tokens that were computed.
StreamEvent parse_stream_event(std::string_view data);

// The message of an error body, {"error": {"message"}} or {"error": "..."}; else the first characters of the body.
std::string error_message(std::string_view body);

}  // namespace cairn::load
