// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/text_turns.h"

#include <algorithm>
#include <optional>

namespace cairn {
namespace {

constexpr std::chrono::milliseconds kTurnGlance{100};

}  // namespace

std::expected<TextTurns::Turn, NoTurn> TextTurns::take(const std::function<bool()>& client_gone, Deadline deadline) {
  std::unique_lock lock(mutex_);
  const std::uint64_t number = next_++;
  waiting_.push_back(number);
  std::optional<NoTurn> end;
  const auto is_next = [&] { return free_ > 0 && waiting_.front() == number; };
  while (!end && !changed_.wait_until(lock, std::min(deadline, deadline_in(kTurnGlance)), is_next)) {
    lock.unlock();
    if (client_gone()) {
      end = NoTurn::kClientGone;
    } else if (passed(deadline)) {
      end = NoTurn::kTooLate;
    }
    lock.lock();
  }
  std::erase(waiting_, number);
  if (!end) --free_;
  changed_.notify_all();  // another may be the first now
  if (end) return std::unexpected(*end);
  return Turn(*this);
}

void TextTurns::give_back() {
  const std::lock_guard lock(mutex_);
  ++free_;
  changed_.notify_all();
}

}  // namespace cairn
