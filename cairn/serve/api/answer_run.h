// SPDX-License-Identifier: Apache-2.0
// Waits for the pieces of one or several generations, watching the clock and the client.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/serve/generation.h"

namespace cairn {

enum class RunEnd : std::uint8_t { kFinished, kClientGone, kTimeout };

struct RunCallbacks {
  std::function<bool()> alive;                                 // asked a few times a second
  std::function<bool(std::size_t, GeneratedPiece&)> on_piece;  // false: the client is gone
  std::function<bool(std::size_t)> on_finish;                  // result() may be asked
  std::function<bool()> on_silence = [] { return true; };      // nothing came for a while
};

// Returns when all have finished, or when the client or the time has gone: then the others are cancelled, and are given
// a moment to say what they had used.
RunEnd run_generations(const std::vector<std::shared_ptr<Generation>>& generations, Deadline deadline,
                       const RunCallbacks& callbacks);

// Whether result() may be asked; never waits.
bool has_finished(Generation& generation);

}  // namespace cairn
