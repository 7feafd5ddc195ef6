// SPDX-License-Identifier: Apache-2.0
// What was measured of one request. Times are seconds since the start of its round.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "cairn/load/stream_event.h"

namespace cairn {

struct LoadRecord {
  std::size_t client = 0, turn = 0;
  bool long_prompt = false;  // the one that interferes
  double due_s = 0;          // when it ought to be sent
  double sent_s = 0;
  double done_s = 0;                 // the end of the answer, or of the attempt
  std::vector<double> piece_s;       // when each piece of text came
  std::optional<double> finished_s;  // when the reason of finishing came
  LoadUsage usage;
  std::string error;   // its kind; empty: the answer is whole
  std::string detail;  // of the error, one line

  bool ok() const { return error.empty(); }
  double late_s() const { return sent_s - due_s; }
  // The user waits from the moment the request was due: a client that comes too late hides nothing.
  std::optional<double> first_token_s() const {
    if (!piece_s.empty()) return piece_s.front() - due_s;
    return finished_s ? std::optional(*finished_s - due_s) : std::nullopt;  // an answer without text
  }
  double latency_s() const { return done_s - due_s; }
  // Mean time of a token after the first, by the server's count; absent for fewer than two.
  std::optional<double> token_s() const {
    if (piece_s.size() < 2 || !usage.completion || *usage.completion < 2) return std::nullopt;
    return (piece_s.back() - piece_s.front()) / static_cast<double>(*usage.completion - 1);
  }
};

}  // namespace cairn
