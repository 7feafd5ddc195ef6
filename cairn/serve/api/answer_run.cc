// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/answer_run.h"

#include <algorithm>

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kGlance{200};     // how late a vanished client is noticed
constexpr std::chrono::milliseconds kTurn{10};        // of one generation among several
constexpr std::chrono::milliseconds kFarewell{1000};  // for cancelled ones to end
constexpr std::chrono::seconds kSilence{15};

void cancel_all(const std::vector<std::shared_ptr<Generation>>& generations) {
  for (const auto& generation : generations) generation->cancel();
  const Deadline deadline = deadline_in(kFarewell);
  GeneratedPiece dropped;
  for (const auto& generation : generations) {
    while (generation->next(dropped, deadline) == Generation::Event::kPiece) {
    }
  }
}

}  // namespace

RunEnd run_generations(const std::vector<std::shared_ptr<Generation>>& generations, Deadline deadline,
                       const RunCallbacks& callbacks) {
  std::vector<std::size_t> open(generations.size());
  for (std::size_t i = 0; i < open.size(); ++i) open[i] = i;
  Deadline look = deadline_in(kGlance), silence = deadline_in(kSilence);
  RunEnd end = RunEnd::kFinished;
  // Takes what one has; false when the client is gone.
  const auto take = [&](std::size_t index, Deadline until, bool& moved) {
    GeneratedPiece piece;
    switch (generations[index]->next(piece, until)) {
      case Generation::Event::kTimeout: return true;
      case Generation::Event::kFinished:
        moved = true;
        std::erase(open, index);
        return callbacks.on_finish(index);
      case Generation::Event::kPiece: moved = true; return callbacks.on_piece(index, piece);
    }
    return false;
  };
  while (!open.empty() && end == RunEnd::kFinished) {
    bool moved = false, here = true;
    if (open.size() > 1) {
      for (const std::size_t index : std::vector(open)) here = here && take(index, Deadline{}, moved);
    }
    if (here && !moved && !open.empty()) {
      here = take(open.front(), std::min(deadline, deadline_in(open.size() == 1 ? kGlance : kTurn)), moved);
    }
    if (moved) silence = deadline_in(kSilence);
    if (here && passed(silence)) {
      silence = deadline_in(kSilence);
      here = callbacks.on_silence();
    }
    if (here && passed(look)) {
      look = deadline_in(kGlance);
      here = callbacks.alive();
    }
    if (!here)
      end = RunEnd::kClientGone;
    else if (!open.empty() && passed(deadline))
      end = RunEnd::kTimeout;
  }
  if (!open.empty()) cancel_all(generations);
  return end;
}

bool has_finished(Generation& generation) {
  GeneratedPiece dropped;
  Generation::Event event = Generation::Event::kPiece;
  while (event == Generation::Event::kPiece) event = generation.next(dropped, Deadline{});
  return event == Generation::Event::kFinished;
}

}  // namespace cairn
