// SPDX-License-Identifier: Apache-2.0
// A session of the shared-context suite: one context, several questions on it, and what counts as a right answer.
// After SCBench (arXiv 2412.10319); docs/evaluation.md describes the twelve task kinds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cairn {

// How an answer is compared with the gold. Each gives a score in [0, 1]; see score.h.
enum class Metric : std::uint8_t {
  kExact,        // the first line equals the gold one, surrounding spaces aside
  kContains,     // any gold string is in the answer, whatever its case
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
  std::string query;                    // ends right before the answer
  std::string answer;                   // what a perfect model would say next, up to and with its last newline
  std::vector<std::string> gold;        // what the metric compares with; never empty
  std::vector<std::string> candidates;  // kChoice: the options as continuations; kNearestBody: all bodies
  Metric metric = Metric::kExact;
  std::string begins_with;       // a word that has to come first (the pinned instruction's); `gold` does not hold it
  std::string column;            // of a task that reports several kinds of question apart ("needle"); else empty
  std::uint32_t depth = 0;       // fifth of the context in which the answer lies, 0 to 4, or kUnknownDepth
  std::uint32_t max_tokens = 0;  // of a generated answer
};

struct Session {
  std::string task;                  // "S1" ... "S12", or the name of a data file
  std::uint32_t index = 0;           // among the sessions of its task and context length
  std::uint32_t context_tokens = 0;  // what was asked for; the context has at most so many
  std::string instruction;           // begins the context and may be pinned; may be empty
  std::string context;               // what follows the instruction; ends with a newline
  std::vector<Turn> turns;
};

}  // namespace cairn
