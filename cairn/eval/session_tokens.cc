// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/session_tokens.h"

#include <algorithm>
#include <span>
#include <utility>

#include "cairn/eval/chat_form.h"

namespace cairn {
namespace {

using Tokens = std::vector<TokenId>;

constexpr EncodeOptions kAfterText = {.add_bos = false, .continues_text = true};
constexpr EncodeOptions kBeginsTurn = {.add_bos = false};

void append_tokens(Tokens& to, std::span<const TokenId> more) {
  to.insert(to.end(), more.begin(), more.end());
}

// One row of logits decides between the candidates' next tokens, after what all of them begin with.
Status add_candidates(const Tokenizer& tokenizer, const EvalSession& session, const Turn& turn, TurnTokens& tokens) {
  const bool begins = session.chat != nullptr && turn.lead.empty();
  std::vector<Tokens> options;
  for (const std::string& each : turn.candidates)
    options.push_back(tokenizer.encode(each, begins ? kBeginsTurn : kAfterText));
  if (options.empty() || std::ranges::any_of(options, &Tokens::empty)) {
    return fail(ErrorCode::kInvalidArgument, "a multiple choice of " + session.task + " has no or empty options");
  }
  const auto differ_at = [&](std::size_t i) {
    return std::ranges::any_of(
        options, [&](const auto& option) { return i + 1 >= option.size() || option[i] != options.front()[i]; });
  };
  std::size_t common = 0;
  while (!differ_at(common)) ++common;
  append_tokens(tokens.query, std::span(options.front()).first(common));
  for (const auto& option : options) tokens.candidates.push_back(option[common]);
  return {};
}

TurnTokens plain_turn(const Tokenizer& tokenizer, const Turn& turn) {
  TurnTokens tokens{.query = tokenizer.encode(turn.query, kAfterText), .asked = {}, .candidates = {}};
  tokens.asked = tokens.query;
  append_tokens(tokens.asked, tokenizer.encode(turn.answer, kAfterText));
  return tokens;
}

// A chat is rendered from its beginning each time; what a turn adds is what comes after the rendering so far.
class ChatTokens {
 public:
  ChatTokens(const Tokenizer& tokenizer, const ChatForm& form) : tokenizer_(tokenizer), form_(form) {}

  Status begin(const std::string& context) {
    if (context.empty()) return {};
    messages_ = {{ChatRole::kUser, context}, {ChatRole::kAssistant, std::string(kContextRead)}};
    CAIRN_TRY(rendered_, form_.tokens(tokenizer_, messages_, false));
    return {};
  }

  const Tokens& rendered() const { return rendered_; }

  Result<TurnTokens> turn(const Turn& turn) {
    TurnTokens tokens;
    std::vector<ChatMessage> messages = messages_;
    messages.push_back({ChatRole::kUser, turn.query});
    CAIRN_TRY(const Tokens query, form_.tokens(tokenizer_, messages, true));
    CAIRN_TRY(tokens.query, after(query));
    if (!turn.lead.empty()) append_tokens(tokens.query, tokenizer_.encode(turn.lead, kBeginsTurn));
    messages.push_back({ChatRole::kAssistant, turn.lead + turn.answer});
    CAIRN_TRY(const Tokens asked, form_.tokens(tokenizer_, messages, false));
    CAIRN_TRY(tokens.asked, after(asked));
    return tokens;
  }

 private:
  Result<Tokens> after(const Tokens& all) const {
    if (std::ranges::mismatch(rendered_, all).in1 != rendered_.end()) {
      return fail(ErrorCode::kUnsupported,
                  "the chat template writes earlier turns anew when one is added; use --form plain");
    }
    return Tokens(all.begin() + static_cast<std::ptrdiff_t>(rendered_.size()), all.end());
  }

  const Tokenizer& tokenizer_;
  const ChatForm& form_;
  std::vector<ChatMessage> messages_;
  Tokens rendered_;
};

// Of a chat, its markup before the instruction too.
Result<std::size_t> pinned_tokens(const Tokenizer& tokenizer, const EvalSession& session, const Tokens& context) {
  if (session.instruction.empty()) return std::size_t{0};
  if (session.chat == nullptr) return tokenizer.encode(session.instruction).size();
  const ChatMessage alone[] = {{ChatRole::kUser, session.instruction}};
  CAIRN_TRY(const Tokens tokens, session.chat->tokens(tokenizer, alone, false));
  const auto differ = std::ranges::mismatch(tokens, context);
  return static_cast<std::size_t>(differ.in1 - tokens.begin());
}

}  // namespace

Result<SessionTokens> tokens_of(const Tokenizer& tokenizer, const EvalSession& session, bool with_context) {
  const std::string context = with_context ? session.instruction + session.context : session.instruction;
  SessionTokens all;
  if (session.chat == nullptr) {
    all.context = tokenizer.encode(context);
    for (const Turn& turn : session.turns) all.turns.push_back(plain_turn(tokenizer, turn));
  } else {
    ChatTokens chat(tokenizer, *session.chat);
    CAIRN_TRY_VOID(chat.begin(context));
    all.context = chat.rendered();
    for (const Turn& turn : session.turns) {
      CAIRN_TRY(TurnTokens tokens, chat.turn(turn));
      all.turns.push_back(std::move(tokens));
    }
  }
  CAIRN_TRY(all.pinned, pinned_tokens(tokenizer, session, all.context));
  for (std::size_t i = 0; i < all.turns.size(); ++i) {
    if (session.turns[i].metric != Metric::kChoice) continue;
    CAIRN_TRY_VOID(add_candidates(tokenizer, session, session.turns[i], all.turns[i]));
  }
  return all;
}

Result<std::size_t> session_tokens(const Tokenizer& tokenizer, const EvalSession& session) {
  CAIRN_TRY(const SessionTokens tokens, tokens_of(tokenizer, session));
  std::size_t total = tokens.context.size(), needed = total;
  for (std::size_t i = 0; i < tokens.turns.size(); ++i) {
    needed = std::max(needed, total + tokens.turns[i].query.size() + session.turns[i].max_tokens);
    total += tokens.turns[i].asked.size();
  }
  return std::max(needed, total);
}

}  // namespace cairn
