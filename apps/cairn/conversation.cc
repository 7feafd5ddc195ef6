// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/conversation.h"

#include <utility>

namespace cairn {

Conversation::Conversation(const Tokenizer& tokenizer, ChatFamily family, std::string system)
    : tokenizer_(tokenizer), family_(family), system_(std::move(system)) {
  clear();
}

void Conversation::clear() {
  tokens_.clear();
  messages_.clear();
  if (!system_.empty()) messages_.push_back({ChatRole::kSystem, system_});
}

void Conversation::ask(std::string text) {
  before_ask_ = tokens_.size();
  // Segments are encoded one by one, so the ids of the turns so far are a prefix of the ids of all. That prefix gives
  // way to the ids that were really used; what comes after it is new.
  std::size_t known_segments = 0;
  if (!messages_.empty() && messages_.back().role == ChatRole::kAssistant) {
    const std::span<const ChatMessage> asked(messages_.data(), messages_.size() - 1);
    known_segments = render_chat(family_, asked, true).size() + 1;  // and the answer's content
  }
  messages_.push_back({ChatRole::kUser, std::move(text)});
  const std::vector<ChatSegment> segments = render_chat(family_, messages_, true);
  const std::vector<TokenId> all = encode_chat(tokenizer_, segments);
  const std::size_t known =
      known_segments == 0 ? 0 : encode_chat(tokenizer_, std::span(segments).first(known_segments)).size();
  tokens_.insert(tokens_.end(), all.begin() + static_cast<std::ptrdiff_t>(known), all.end());
}

void Conversation::answer(std::string text, std::span<const TokenId> ids) {
  tokens_.insert(tokens_.end(), ids.begin(), ids.end());
  messages_.push_back({ChatRole::kAssistant, std::move(text)});
}

void Conversation::retract() {
  tokens_.resize(before_ask_);
  messages_.pop_back();
}

}  // namespace cairn
