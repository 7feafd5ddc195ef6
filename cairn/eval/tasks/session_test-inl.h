// SPDX-License-Identifier: Apache-2.0
// For the tests of the suite: tokenizers that need no model, and sessions that must succeed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::testing {

using CountTokens = std::function<std::size_t(std::string_view)>;

inline std::size_t count_by_bytes(std::string_view text) {
  return (text.size() * 10 + 31) / 32;
}

// Like a small byte-level vocabulary: four letters make a token, anything else but a blank is one by itself.
inline std::size_t count_by_pieces(std::string_view text) {
  std::size_t tokens = 0, letters = 0;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    tokens += letter ? letters % 4 == 0 : c != ' ';
    letters = letter ? letters + 1 : 0;
  }
  return tokens;
}

inline SessionSpec spec_of(std::uint64_t seed, std::uint32_t index, std::uint32_t tokens,
                           CountTokens count = count_by_pieces) {
  SessionSpec spec;
  spec.seed = seed;
  spec.index = index;
  spec.context_tokens = tokens;
  spec.count_tokens = std::move(count);
  return spec;
}

inline EvalSession make_or_die(const tasks::Task& task, const SessionSpec& spec) {
  Result<EvalSession> session = task.make(spec);
  if (!session) std::fprintf(stderr, "%s\n", session.error().message.c_str());
  CAIRN_CHECK(session.has_value());
  return *std::move(session);
}

// All there is to see of a session.
inline std::string bytes_of(const EvalSession& session) {
  std::string bytes = session.task + "\n" + session.instruction + session.context;
  for (const Turn& turn : session.turns) {
    bytes += turn.query + turn.answer + turn.column + turn.begins_with;
    for (const std::string& gold : turn.gold) bytes += "|" + gold;
    for (const std::string& candidate : turn.candidates) bytes += "#" + candidate;
    bytes += "@" + std::to_string(turn.depth) + "," + std::to_string(turn.max_tokens) + "\n";
  }
  return bytes;
}

inline std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

}  // namespace cairn::testing
