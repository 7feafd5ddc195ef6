// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "cairn/load/ask.h"

namespace cairn {

LoadQuestion ask_body(const std::vector<LoadMessage>& messages, std::size_t max_tokens, const std::string& model,
                      const AskOptions& options) {
  nlohmann::ordered_json body = {{"model", model},
                                 {"max_tokens", max_tokens},
                                 {"temperature", 0},
                                 {"stream", true},
                                 {"stream_options", {{"include_usage", true}}}};
  if (options.ignore_eos) body["ignore_eos"] = true;
  if (options.chat) {
    auto& list = body["messages"] = nlohmann::ordered_json::array();
    for (const LoadMessage& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  } else {
    std::string prompt;
    for (const LoadMessage& message : messages) prompt += message.content;
    body["prompt"] = std::move(prompt);
  }
  return {body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace), max_tokens};
}

}  // namespace cairn
