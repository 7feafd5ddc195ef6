// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/chat_form.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "cairn/base/check.h"

namespace cairn {
namespace {

// For the sentence around an answer.
constexpr std::uint32_t kSentenceTokens = 24;

constexpr std::string_view kAroundWords = " \t\r\n";

std::string trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kAroundWords);
  if (first == text.npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kAroundWords) - first + 1));
}

// "Question: TEXT\nAnswer: LEAD" is what a text says that goes on; the two halves belong to different speakers.
void split_query(Turn& turn) {
  constexpr std::string_view kQuestions[] = {"Question:", "问题："}, kAnswers[] = {"\nAnswer:", "\n回答："};
  for (const std::string_view mark : kAnswers) {
    const std::size_t at = turn.query.rfind(mark);
    if (at == turn.query.npos) continue;
    std::string lead = trimmed(std::string_view(turn.query).substr(at + mark.size()));
    if (!lead.empty()) turn.lead = std::move(lead);
    turn.query.resize(at);
  }
  for (const std::string_view mark : kQuestions) {
    if (turn.query.starts_with(mark)) turn.query.erase(0, mark.size());
  }
  turn.query = trimmed(turn.query);
}

Metric tolerant(Metric metric) {
  switch (metric) {
    case Metric::kExact:
    case Metric::kContains:
    case Metric::kFirstNumber:
    case Metric::kNearestBody:
    case Metric::kWholeWord: return Metric::kWholeWord;
    case Metric::kCharF1: return Metric::kContains;  // Chinese has no blanks between words
    case Metric::kRecall:
    case Metric::kRougeL:
    case Metric::kFactF1:
    case Metric::kChoice: return metric;
  }
  return metric;
}

void ask_in_chat(Turn& turn) {
  split_query(turn);
  if (turn.metric == Metric::kChoice && turn.lead.empty()) {
    turn.query += "\nAnswer with the letter.";
    for (std::string& candidate : turn.candidates) candidate = trimmed(candidate);
    for (std::string& gold : turn.gold) gold = trimmed(gold);
  }
  turn.metric = tolerant(turn.metric);
  const bool begins_with_blank = turn.answer.starts_with(' ');  // not in Chinese
  turn.answer = trimmed(turn.answer);
  if (!turn.lead.empty() && begins_with_blank) turn.answer.insert(0, 1, ' ');
  if (turn.max_tokens > 0) turn.max_tokens += kSentenceTokens;
}

}  // namespace

Result<std::vector<TokenId>> ChatForm::tokens(const Tokenizer& tokenizer, std::span<const ChatMessage> messages,
                                              bool opens_answer) const {
  return template_.encode(tokenizer, messages, {.add_generation_prompt = opens_answer, .kwargs = {}, .now = now_});
}

EvalSession in_chat_form(EvalSession session, std::shared_ptr<const ChatForm> chat) {
  CAIRN_CHECK(chat != nullptr);
  session.chat = std::move(chat);
  std::ranges::for_each(session.turns, ask_in_chat);
  return session;
}

}  // namespace cairn
