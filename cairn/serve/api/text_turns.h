// SPDX-License-Identifier: Apache-2.0
// Large texts are read a few at a time: parsing and encoding one takes many times its own bytes, and there may be as
// many requests as there are HTTP threads.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "cairn/base/clock.h"

namespace cairn::api {

inline constexpr std::size_t kLargeText = std::size_t{64} << 10;  // bytes; smaller ones need no turn
inline constexpr std::size_t kLargeTextsAtOnce = 2;

enum class NoTurn : std::uint8_t { kClientGone, kTooLate };

// In rotation among the tenants that wait; within a tenant, first come, first served. Thread-safe.
class TextTurns {
 public:
  explicit TextTurns(std::size_t max_at_once) : free_(max_at_once) {}

  // Lasts as long as it lives; at most as long as the TextTurns.
  class Turn {
   public:
    explicit Turn(TextTurns& of) : of_(&of) {}
    ~Turn() {
      if (of_ != nullptr) of_->give_back();
    }
    Turn(Turn&& other) noexcept : of_(std::exchange(other.of_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;

   private:
    TextTurns* of_;
  };

  // Waits; `client_gone` is asked a few times a second. A turn that is free is given even after the deadline.
  std::expected<Turn, NoTurn> take(std::string_view tenant, const std::function<bool()>& client_gone,
                                   Deadline deadline);

 private:
  struct Line {
    std::string tenant;
    std::deque<std::uint64_t> numbers;  // first come first; never empty
  };
  void join(std::string_view tenant, std::uint64_t number);
  // With a turn the tenant goes behind the others; without one it keeps its place.
  void leave(std::string_view tenant, std::uint64_t number, bool with_turn);
  void give_back();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t free_;        // guarded by mutex_, as are the others
  std::deque<Line> lines_;  // of the tenants that wait, the next first
  std::uint64_t next_ = 0;
};

}  // namespace cairn::api
