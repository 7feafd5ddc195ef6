// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/stream.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "cairn/base/utf8.h"

namespace cairn::load {
namespace {

using Json = nlohmann::json;

const Json& field(const Json& json, const char* name) {
  static const Json kNone;
  if (!json.is_object()) return kNone;
  const auto found = json.find(name);
  return found == json.end() ? kNone : *found;
}

std::optional<std::size_t> count(const Json& json, bool& good) {
  if (json.is_number_unsigned()) return json.get<std::size_t>();
  good = good && !json.is_number();
  return std::nullopt;
}

std::string text_of(const Json& json) {
  return json.is_string() ? json.get<std::string>() : std::string();
}

std::string message_of(const Json& error) {
  if (error.is_string()) return error.get<std::string>();
  std::string message = text_of(field(error, "message"));
  return message.empty() ? "an error without a message" : message;
}

// The first line, cut and without control characters: a server may say anything, and it goes to a terminal.
std::string one_line(std::string_view text) {
  return printable_start(text.substr(0, text.find_first_of("\r\n")), 200);
}

void read_choice(const Json& choice, StreamEvent& event) {
  const Json& delta = field(choice, "delta");
  event.text += text_of(field(choice, "text"));
  event.text += text_of(field(delta, "reasoning_content"));
  event.text += text_of(field(delta, "content"));
  event.finished |= field(choice, "finish_reason").is_string();
}

Usage read_usage(const Json& json, bool& good) {
  const Json& usage = field(json, "usage");
  const Json& timings = field(json, "timings");
  Usage counted{.prompt = count(field(usage, "prompt_tokens"), good),
                .completion = count(field(usage, "completion_tokens"), good),
                .cached = count(field(field(usage, "prompt_tokens_details"), "cached_tokens"), good)};
  if (!counted.cached) counted.cached = count(field(timings, "cache_n"), good);
  const auto computed = count(field(timings, "prompt_n"), good);
  if (!counted.cached && computed && counted.prompt && *computed <= *counted.prompt) {
    counted.cached = *counted.prompt - *computed;
  }
  return counted;
}

}  // namespace

bool SseParser::feed(std::string_view bytes, const OnData& on_data) {
  while (!bytes.empty() && !too_long_) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t end = std::min(bytes.find_first_of("\r\n"), bytes.size());
    if (line_.size() + data_.size() + end > max_bytes_) {
      too_long_ = true;
      break;
    }
    line_ += bytes.substr(0, end);
    if (end == bytes.size()) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(on_data);
  }
  return !too_long_;
}

void SseParser::end_line(const OnData& on_data) {
  const std::string line = std::exchange(line_, {});
  if (line.empty()) {
    if (std::exchange(has_data_, false)) on_data(std::exchange(data_, {}));
    return;
  }
  std::string_view value = line;
  if (value == "data") {
    value = {};
  } else if (value.starts_with("data:")) {
    value.remove_prefix(value.starts_with("data: ") ? 6 : 5);
  } else {
    return;
  }
  if (has_data_) data_ += '\n';
  data_ += value;
  has_data_ = true;
}

StreamEvent parse_stream_event(std::string_view data) {
  StreamEvent event;
  if (data == "[DONE]") {
    event.done = true;
    return event;
  }
  const Json json = Json::parse(data, nullptr, false);
  if (!json.is_object()) {
    event.readable = false;
    return event;
  }
  if (const Json& error = field(json, "error"); !error.is_null()) {
    event.error = one_line(message_of(error));
    return event;
  }
  if (const Json& choices = field(json, "choices"); choices.is_array()) {
    for (const Json& choice : choices) read_choice(choice, event);
  }
  event.usage = read_usage(json, event.counted);
  return event;
}

std::string error_message(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  const Json& error = field(json, "error");
  return one_line(error.is_null() ? std::string(body.substr(0, 200)) : message_of(error));
}

}  // namespace cairn::load
