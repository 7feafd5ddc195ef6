// SPDX-License-Identifier: Apache-2.0
// One event of a streamed answer, of chat or of completions, as OpenAI, cairn, llama-server and vLLM write it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace cairn {

// What the server counted; what it did not tell is absent.
struct LoadUsage {
  std::optional<std::size_t> prompt, completion, cached;
};

struct StreamEvent {
  bool readable = true;   // false: not a JSON object
  bool done = false;      // "[DONE]"
  bool finished = false;  // a finish_reason came
  bool counted = true;    // false: of the usage something is a number, but not of tokens
  std::string text;
  std::string error;  // the message of an error event
  LoadUsage usage;
};

// `cached` is usage.prompt_tokens_details.cached_tokens; where that is missing, llama-server's timings: cache_n, or the
// prompt without the prompt_n tokens that were computed.
StreamEvent parse_stream_event(std::string_view data);

// The message of an error body, {"error": {"message"}} or {"error": "..."}; else the first characters of the body.
std::string error_message(std::string_view body);

}  // namespace cairn
