// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/conversation.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

// Bytes at the front that are equal and of the same writer in both.
std::size_t common_bytes(const RenderedChat& a, const RenderedChat& b) {
  const auto differs = std::ranges::mismatch(a.text, b.text).in1;
  std::size_t common = static_cast<std::size_t>(differs - a.text.begin());
  std::size_t i = 0;
  for (; i < std::min(a.trusted.size(), b.trusted.size()); ++i) {
    if (a.trusted[i].begin != b.trusted[i].begin) {
      return std::min(common, std::min(a.trusted[i].begin, b.trusted[i].begin));
    }
    if (a.trusted[i].end != b.trusted[i].end) return std::min(common, std::min(a.trusted[i].end, b.trusted[i].end));
  }
  if (i < a.trusted.size()) common = std::min(common, a.trusted[i].begin);
  if (i < b.trusted.size()) common = std::min(common, b.trusted[i].begin);
  return common;
}

}  // namespace

Conversation::Conversation(const Tokenizer& tokenizer, ChatTemplate chat, std::string system, ChatRenderOptions options)
    : tokenizer_(tokenizer), chat_(std::move(chat)), system_(std::move(system)), options_(std::move(options)) {
  options_.add_generation_prompt = true;
  clear();
}

void Conversation::clear() {
  now_ = {};
  kept_ = 0;
  if (!system_.empty()) now_.messages.push_back({ChatRole::kSystem, system_});
}

Status Conversation::ask(std::string text) {
  before_ask_ = now_;
  now_.messages.push_back({ChatRole::kUser, std::move(text)});
  kept_ = now_.tokens.size();
  if (!chat_.is_jinja()) {
    ask_family();
    return {};
  }
  Status status = ask_template();
  if (!status) retract();
  return status;
}

void Conversation::ask_family() {
  // Segments are encoded one by one, so the ids of the turns so far are a prefix of the ids of all. That prefix gives
  // way to the ids that were really used; what comes after it is new.
  std::size_t known_segments = 0;
  const std::size_t earlier = now_.messages.size() - 1;
  if (earlier > 0 && now_.messages[earlier - 1].role == ChatRole::kAssistant) {
    const std::span<const ChatMessage> asked(now_.messages.data(), earlier - 1);
    known_segments = render_chat(chat_.family(), asked, true).size() + 1;  // and the answer's content
  }
  const std::vector<ChatSegment> segments = render_chat(chat_.family(), now_.messages, true);
  const std::vector<TokenId> all = encode_chat(tokenizer_, segments);
  const std::size_t known =
      known_segments == 0 ? 0 : encode_chat(tokenizer_, std::span(segments).first(known_segments)).size();
  now_.tokens.insert(now_.tokens.end(), all.begin() + static_cast<std::ptrdiff_t>(known), all.end());
}

Status Conversation::ask_template() {
  CAIRN_TRY(RenderedChat chat, chat_.render(tokenizer_, now_.messages, options_));
  const std::size_t common = common_bytes(now_.rendered, chat);
  while (!now_.boundaries.empty() && now_.boundaries.back().bytes > common) now_.boundaries.pop_back();
  const Boundary from = now_.boundaries.empty() ? Boundary{} : now_.boundaries.back();
  const std::vector<TokenId> old = std::exchange(now_.tokens, {});
  now_.tokens.assign(old.begin(), old.begin() + static_cast<std::ptrdiff_t>(from.tokens));
  const auto previous = from.tokens > 0 ? std::optional(old[from.tokens - 1]) : std::nullopt;
  const std::vector<TokenId> rest = encode_rendered(tokenizer_, chat, from.bytes, previous);
  now_.tokens.insert(now_.tokens.end(), rest.begin(), rest.end());
  kept_ = static_cast<std::size_t>(std::ranges::mismatch(old, now_.tokens).in1 - old.begin());
  now_.rendered = std::move(chat);
  now_.boundaries.push_back({now_.rendered.text.size(), now_.tokens.size()});
  return {};
}

void Conversation::answer(std::string text, std::span<const TokenId> ids) {
  now_.tokens.insert(now_.tokens.end(), ids.begin(), ids.end());
  if (chat_.is_jinja()) {
    now_.rendered.text += text;
    now_.boundaries.push_back({now_.rendered.text.size(), now_.tokens.size()});
  }
  now_.messages.push_back({ChatRole::kAssistant, std::move(text)});
}

void Conversation::retract() {
  now_ = std::exchange(before_ask_, {});
  kept_ = now_.tokens.size();
}

}  // namespace cairn
