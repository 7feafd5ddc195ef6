// SPDX-License-Identifier: Apache-2.0
#include "cairn/load/workload.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cairn/base/check.h"

namespace cairn::load {
namespace {

constexpr int kMaxTries = 6;

constexpr std::array<std::string_view, 96> kWords = {
    "the",   "of",    "and",   "to",    "in",    "is",    "was",   "for",   "that",  "with",  "as",     "on",
    "by",    "from",  "at",    "be",    "this",  "are",   "or",    "an",    "which", "one",   "not",    "have",
    "two",   "first", "new",   "time",  "after", "other", "more",  "about", "into",  "year",  "when",   "there",
    "over",  "made",  "used",  "most",  "city",  "work",  "state", "name",  "house", "river", "garden", "north",
    "south", "east",  "west",  "water", "light", "small", "large", "long",  "high",  "old",   "young",  "early",
    "later", "part",  "place", "world", "life",  "day",   "night", "man",   "woman", "child", "people", "school",
    "book",  "music", "game",  "team",  "line",  "road",  "king",  "war",   "land",  "sea",   "air",    "hand",
    "head",  "eye",   "tree",  "stone", "red",   "white", "black", "green", "found", "left",  "right",  "three"};

constexpr std::string_view kBlanks = " \t\r\n";

constexpr std::size_t kMaxWords = std::size_t{1} << 24;

std::string question(std::uint64_t seed, std::size_t client) {
  return "\n\nQuestion " + std::to_string(client + 1) + ": what does the text say about" +
         made_words({seed, "cairn.load.question", client}, 3) + "?\nAnswer:";
}

TurnSpec turn_of(std::string text, std::size_t max_tokens) {
  return {[text = std::move(text)] { return text; }, max_tokens};
}

// A trace has lengths and equal blocks, no text: equal blocks get equal made-up words.
constexpr double kMax = 1 << 30;  // of seconds and of words: traces may say anything

std::size_t words_of(double tokens, double scale, double tokens_per_word) {
  return static_cast<std::size_t>(std::clamp(std::round(tokens * scale / tokens_per_word), 1.0, kMax));
}

SeededRandom random_of(const std::string& salt, const Digest& key) {
  return {0, salt + std::string(key.bytes.begin(), key.bytes.end())};
}

// Holds the trace: plans outlive their workload.
struct TraceText {
  std::shared_ptr<const Trace> trace;
  std::size_t request;
  std::string salt;
  double scale, tokens_per_word;

  std::string operator()() const {
    const Trace::Request& from = trace->requests[request];
    std::string made;
    std::uint64_t tokens = 0;
    for (const std::uint32_t number : from.input) {
      const Trace::Block& block = trace->blocks[number];
      made += made_words(random_of(salt, block.item.key), words_of(block.tokens, scale, tokens_per_word));
      tokens += block.tokens;
    }
    if (tokens < from.input_tokens) {
      const std::size_t words = words_of(static_cast<double>(from.input_tokens - tokens), scale, tokens_per_word);
      made += made_words({0, salt + "cairn.load.rest", request}, words);
    }
    return made;
  }
};

}  // namespace

std::string made_words(SeededRandom random, std::size_t words) {
  std::string text;
  text.reserve(words * 6);
  for (std::size_t i = 0; i < words; ++i) {
    text += ' ';
    text += kWords[random.below(kWords.size())];
  }
  return text;
}

Result<SizedText> sized_text(const TextOfWords& text, std::size_t max_words, std::size_t tokens, double tokens_per_word,
                             const TokenCounter& count) {
  CAIRN_CHECK(tokens_per_word > 0);
  const auto words_for = [&](double per_word) {
    const double words = std::round(static_cast<double>(tokens) / per_word);
    return static_cast<std::size_t>(std::clamp(words, 1.0, static_cast<double>(std::max<std::size_t>(max_words, 1))));
  };
  SizedText best;
  const auto error_of = [&](const SizedText& sized) {
    return sized.tokens > tokens ? sized.tokens - tokens : tokens - sized.tokens;
  };
  std::size_t words = words_for(tokens_per_word);
  for (int tries = 0; tries < kMaxTries; ++tries) {
    SizedText now{.text = text(words), .words = words, .tokens = tokens};
    if (!count) return now;
    CAIRN_TRY(now.tokens, count(now.text));
    if (tries == 0 || error_of(now) < error_of(best)) best = now;
    if (error_of(best) * 500 <= tokens || now.tokens == 0) break;
    const std::size_t next = words_for(static_cast<double>(now.tokens) / static_cast<double>(words));
    if (next == words) break;
    words = next;
  }
  return best;
}

std::string first_words(std::string_view text, std::size_t words) {
  std::size_t end = 0;
  for (; words > 0; --words) {
    const std::size_t begin = text.find_first_not_of(kBlanks, end);
    if (begin == text.npos) return std::string(text);
    end = std::min(text.find_first_of(kBlanks, begin), text.size());
  }
  return std::string(text.substr(0, end));
}

std::size_t count_words(std::string_view text) {
  std::size_t words = 0;
  for (std::size_t at = 0; (at = text.find_first_not_of(kBlanks, at)) != text.npos; ++words) {
    at = std::min(text.find_first_of(kBlanks, at), text.size());
  }
  return words;
}

const char* workload_name(WorkloadKind kind) {
  switch (kind) {
    case WorkloadKind::kDocument: return "document";
    case WorkloadKind::kSeparate: return "separate";
    case WorkloadKind::kChat: return "chat";
    case WorkloadKind::kInterference: return "interference";
    case WorkloadKind::kTrace: return "trace";
  }
  return "";
}

Result<Workload> Workload::make(WorkloadOptions options, double tokens_per_word, const TokenCounter& count,
                                std::shared_ptr<const Trace> trace) {
  CAIRN_CHECK((options.kind == WorkloadKind::kTrace) == (trace != nullptr));
  Workload workload;
  workload.options_ = std::move(options);
  workload.tokens_per_word_ = tokens_per_word;
  workload.trace_ = std::move(trace);
  CAIRN_TRY_VOID(workload.make_documents(count));
  return workload;
}

Status Workload::make_documents(const TokenCounter& count) {
  const auto add = [&](const char* purpose, std::size_t number, std::size_t tokens) -> Status {
    const TextOfWords text = [&](std::size_t words) { return made_words({options_.seed, purpose, number}, words); };
    CAIRN_TRY(SizedText sized, sized_text(text, kMaxWords, tokens, tokens_per_word_, count));
    documents_.push_back(std::move(sized.text));
    document_tokens_ = sized.tokens;
    return {};
  };
  switch (options_.kind) {
    case WorkloadKind::kTrace: return {};
    case WorkloadKind::kChat:
      return options_.system_tokens > 0 ? add("cairn.load.system", 0, options_.system_tokens) : Status();
    case WorkloadKind::kInterference: return add("cairn.load.long", 0, options_.long_tokens);
    case WorkloadKind::kSeparate:
      for (std::size_t client = 0; client < options_.clients; ++client) {
        CAIRN_TRY_VOID(add("cairn.load.document", client, options_.document_tokens));
      }
      return {};
    case WorkloadKind::kDocument: break;
  }
  if (options_.document.empty()) return add("cairn.load.document", 0, options_.document_tokens);
  const std::string& whole = options_.document;
  const std::size_t words = count_words(whole);
  if (words == 0) return fail(ErrorCode::kInvalidArgument, "the document has no words");
  SizedText sized{.text = whole, .words = words};
  if (options_.cut_document) {
    const TextOfWords text = [&](std::size_t most) { return first_words(whole, most); };
    CAIRN_TRY(sized, sized_text(text, words, options_.document_tokens, tokens_per_word_, count));
  } else if (count) {
    CAIRN_TRY(sized.tokens, count(whole));
  }
  documents_.push_back(std::move(sized.text));
  document_tokens_ = sized.tokens;
  return {};
}

RoundSpec Workload::round(const std::string& salt) const {
  switch (options_.kind) {
    case WorkloadKind::kDocument:
    case WorkloadKind::kSeparate: return document_round(salt);
    case WorkloadKind::kChat: return chat_round(salt);
    case WorkloadKind::kInterference: return interference_round(salt);
    case WorkloadKind::kTrace: break;
  }
  return trace_round(salt);
}

RoundSpec Workload::document_round(const std::string& salt) const {
  RoundSpec plan;
  const bool shared = documents_.size() == 1 && options_.kind == WorkloadKind::kDocument;
  for (std::size_t client = 0; client < options_.clients; ++client) {
    const std::string& document = documents_[shared ? 0 : client];
    const std::string own = shared ? "" : made_words({options_.seed, "cairn.load.own", client}, 8);
    plan.conversations.push_back(
        {.client = client,
         .turns = {turn_of(salt + own + "\n\n" + document + question(options_.seed, client), options_.max_tokens)}});
  }
  if (options_.warm && shared) {
    plan.warm_up.push_back(turn_of(salt + "\n\n" + documents_[0] + question(options_.seed, options_.clients), 1));
  }
  return plan;
}

RoundSpec Workload::chat_round(const std::string& salt) const {
  RoundSpec plan;
  const auto words =
      static_cast<std::size_t>(std::max(1.0, static_cast<double>(options_.turn_tokens) / tokens_per_word_));
  for (std::size_t client = 0; client < options_.clients; ++client) {
    ConversationSpec conversation{.client = client};
    if (!documents_.empty()) conversation.system = salt + "\n\n" + documents_[0];
    for (std::size_t turn = 0; turn < options_.turns; ++turn) {
      std::string text = made_words({options_.seed, "cairn.load.turn", client, turn}, words);
      if (turn == 0) text.insert(0, salt + made_words({options_.seed, "cairn.load.own", client}, 8) + "\n");
      conversation.turns.push_back(turn_of(std::move(text), options_.max_tokens));
    }
    plan.conversations.push_back(std::move(conversation));
  }
  return plan;
}

RoundSpec Workload::interference_round(const std::string& salt) const {
  RoundSpec plan{.lead_pieces = options_.lead_tokens};
  for (std::size_t client = 0; client < options_.clients; ++client) {
    plan.conversations.push_back({.client = client,
                                  .turns = {turn_of(salt + made_words({options_.seed, "cairn.load.own", client}, 32) +
                                                        question(options_.seed, client),
                                                    options_.max_tokens)}});
  }
  plan.conversations.push_back(
      {.client = options_.clients,
       .long_prompt = true,
       .turns = {turn_of(salt + "\n\n" + documents_[0] + question(options_.seed, options_.clients), 1)}});
  return plan;
}

RoundSpec Workload::trace_round(const std::string& salt) const {
  RoundSpec plan;
  const auto& requests = trace_->requests;
  const std::size_t count = options_.limit == 0 ? requests.size() : std::min(options_.limit, requests.size());
  double first_s = requests.front().arrival_s;
  for (std::size_t i = 0; i < count; ++i) first_s = std::min(first_s, requests[i].arrival_s);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t told = requests[i].output_tokens;
    const std::size_t output = told == 0 ? options_.max_tokens : words_of(static_cast<double>(told), options_.scale, 1);
    plan.conversations.push_back({.client = i,
                                  .due_s = std::min((requests[i].arrival_s - first_s) / options_.speed, kMax),
                                  .turns = {{TraceText{trace_, i, salt, options_.scale, tokens_per_word_}, output}}});
  }
  std::ranges::stable_sort(plan.conversations, {}, &ConversationSpec::due_s);
  return plan;
}

}  // namespace cairn::load
