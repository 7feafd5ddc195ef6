// SPDX-License-Identifier: Apache-2.0
// The turns of a conversation.
#pragma once

#include <cstdint>
#include <string>

namespace cairn {

enum class ChatRole : std::uint8_t { kSystem, kUser, kAssistant };

struct ChatMessage {
  ChatRole role = ChatRole::kUser;
  std::string content;  // any bytes, used verbatim
};

}  // namespace cairn
