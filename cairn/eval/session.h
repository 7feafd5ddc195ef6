// SPDX-License-Identifier: Apache-2.0
// A session of the shared-context suite: one context, several questions on it, what it is made from, and how good an
// answer is. After SCBench (arXiv 2412.10319); docs/evaluation.md describes the twelve task kinds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

// How an answer is compared with the gold. Each gives a score in [0, 1]; see score_answer().
enum class Metric : std::uint8_t {
  kExact,        // the first line equals the gold one, surrounding spaces aside
  kContains,     // any gold string is in the answer, whatever its case
  kWholeWord,    // any gold string is in the answer and no part of a longer word or number, whatever its case
  kRecall,       // share of the gold strings that are in the answer
  kCharF1,       // F1 over characters (code points)
  kRougeL,       // F1 of the longest common subsequence of words
  kFactF1,       // F1 over sentences
  kNearestBody,  // the needle is the most similar of all candidate bodies, and similar enough
  kFirstNumber,  // the first number of the answer equals the gold one
  kChoice,       // of `candidates`, the continuation the model finds likeliest; nothing is generated
};

// Of a question whose answer has no known place.
inline constexpr std::uint32_t kUnknownDepth = 5;

struct Turn {
  std::string query;                    // ends right before the answer; of a chat: what the user asks
  std::string lead{};                   // of a chat: what the assistant's turn begins with; `answer` follows it
  std::string answer;                   // what a perfect model would say next, up to and with its last newline
  std::vector<std::string> gold;        // what the metric compares with; never empty
  std::vector<std::string> candidates;  // kChoice: the options as continuations; kNearestBody: all bodies
  Metric metric = Metric::kExact;
  std::string begins_with;       // a word that has to come first (the pinned instruction's); `gold` does not hold it
  std::string column;            // of a task that reports several kinds of question apart ("needle"); else empty
  std::uint32_t depth = 0;       // fifth of the context in which the answer lies, 0 to 4, or kUnknownDepth
  std::uint32_t max_tokens = 0;  // of a generated answer
};

class ChatForm;

// Not the cairn::Session of include/cairn, a text on a model's cache. A value.
struct EvalSession {
  std::string task;                  // "S1" ... "S12", or the name of a data file
  std::uint32_t index = 0;           // among the sessions of its task and context length
  std::uint32_t context_tokens = 0;  // what was asked for: the most that the context has
  std::string instruction;           // begins the context and may be pinned; may be empty
  std::string context;               // what follows the instruction; ends with a newline
  std::vector<Turn> turns;
  std::shared_ptr<const ChatForm> chat{};  // null: a text that goes on; see chat_form.h
};

struct SessionSpec {
  std::uint64_t seed = 0;
  std::uint32_t index = 0;                                    // among the sessions of a task and context length
  std::uint32_t context_tokens = 0;                           // the most that instruction and context use
  std::uint32_t turns = 5;                                    // 1 to kMaxTurns
  std::function<std::size_t(std::string_view)> count_tokens;  // asked a dozen times for a whole context; must be set
  bool shuffled_labels = false;  // control: the shots of S9 carry random labels; the other tasks have none to shuffle
  bool rule = false;             // control: the instruction asks for a word that every answer begins with
  bool prose = false;  // what is asked for lies scattered in prose, not among others like it, where the task can
};

inline constexpr std::uint32_t kMaxTurns = 10;
inline constexpr std::uint32_t kMinContextTokens = 128;
inline constexpr double kMinFill = 0.85;  // share of context_tokens that a session uses at least

inline constexpr std::size_t kMaxComparedBytes = std::size_t{1} << 16;
inline constexpr std::size_t kMaxComparedWords = 1024;  // by what takes time quadratic in the words

// The words of the first kMaxComparedBytes, at most `limit`; they point into `text`. Blanks separate words.
std::vector<std::string_view> split_words(std::string_view text, std::size_t limit = kMaxComparedWords);

// The sentences of the first kMaxComparedBytes, without their full stops and the blanks around them.
std::vector<std::string_view> split_sentences(std::string_view text);

// F1 over the bags of code points, blanks aside, as LongBench and SCBench score Chinese answers. Two empty texts: 1.
double char_f1(std::string_view a, std::string_view b);

// F1 over the bags of sentences, letter by letter.
double sentence_f1(std::string_view a, std::string_view b);

// F1 of the longest common subsequence of words: ROUGE-L without stemming.
double rouge_l(std::string_view a, std::string_view b);

// 1 - (insertions, deletions and replacements of words that turn a into b) / (words of the longer one).
double word_similarity(std::string_view a, std::string_view b);

// Below this a generated body is not the one that was asked for, however far the others are.
inline constexpr double kNearBody = 0.8;

// From 0 to 1. `generated` is what follows the query; for answers of one line the caller cuts it at the newline.
// A turn with `begins_with` scores 0 unless that word comes first; the metric judges what follows it.
// Of kChoice, where nothing is generated, a generated option is scored as if it were the chosen one.
double score_answer(const Turn& turn, std::string_view generated);

// Whether the word comes first, as a word of its own; true for no word.
bool begins_with_word(std::string_view word, std::string_view generated);

// kChoice: 1 if candidates[chosen] is the gold one. Requires: chosen < turn.candidates.size().
double score_choice(const Turn& turn, std::size_t chosen);

// Whether a score counts as a right answer. All or nothing, except that the overlaps of longer answers (kCharF1,
// kRougeL, kFactF1) must exceed one half: of two Chinese names of two characters that share one, neither is right.
bool is_correct(Metric metric, double score);

}  // namespace cairn
