// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/backend.h"

#include <utility>

namespace cairn {

Generation::Event Generation::next(GeneratedPiece& piece, Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [&] { return !pieces_.empty() || result_; })) return Event::kTimeout;
  if (pieces_.empty()) return Event::kFinished;
  piece = std::move(pieces_.front());
  pieces_.pop_front();
  return Event::kPiece;
}

void Generation::push(GeneratedPiece piece) {
  if (cancelled()) return;
  {
    const std::lock_guard lock(mutex_);
    pieces_.push_back(std::move(piece));
  }
  changed_.notify_all();
}

void Generation::finish(GenerationResult result) {
  {
    const std::lock_guard lock(mutex_);
    result_ = std::move(result);
  }
  changed_.notify_all();
}

}  // namespace cairn
