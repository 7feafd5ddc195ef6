// SPDX-License-Identifier: Apache-2.0
// One answer on its way from the loop to a client.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "cairn/base/clock.h"
#include "cairn/serve/generate_request.h"

namespace cairn {

// Thread-safe: the loop pushes, one client takes.
class Generation {
 public:
  explicit Generation(GenerateRequest request) : request_(std::move(request)) {}

  const GenerateRequest& request() const { return request_; }

  enum class Event : std::uint8_t { kPiece, kFinished, kTimeout };
  // The next piece; kFinished when there is none any more; kTimeout when the deadline comes first.
  Event next(GeneratedPiece& piece, Deadline deadline);
  // Requires: next() said kFinished.
  const GenerationResult& result() const { return *result_; }

  // The loop lets go of the request soon; pieces that come meanwhile are dropped.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // For the loop. Usage is known from the beginning of the answer on.
  void push(GeneratedPiece piece);
  void finish(GenerationResult result);

 private:
  const GenerateRequest request_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_; result_ does not change once it is set.
  std::deque<GeneratedPiece> pieces_;
  std::optional<GenerationResult> result_;
};

}  // namespace cairn
