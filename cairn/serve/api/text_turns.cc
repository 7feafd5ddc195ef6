// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/api/text_turns.h"

#include <algorithm>
#include <optional>

namespace cairn::api {
namespace {

constexpr std::chrono::milliseconds kTurnGlance{100};

}  // namespace

std::expected<TextTurns::Turn, NoTurn> TextTurns::take(std::string_view tenant,
                                                       const std::function<bool()>& client_gone, Deadline deadline) {
  std::unique_lock lock(mutex_);
  const std::uint64_t number = next_++;
  join(tenant, number);
  std::optional<NoTurn> end;
  const auto is_next = [&] { return free_ > 0 && lines_.front().numbers.front() == number; };
  while (!end && !changed_.wait_until(lock, std::min(deadline, deadline_in(kTurnGlance)), is_next)) {
    lock.unlock();
    if (client_gone()) {
      end = NoTurn::kClientGone;
    } else if (passed(deadline)) {
      end = NoTurn::kTooLate;
    }
    lock.lock();
  }
  leave(tenant, number, !end);
  if (!end) --free_;
  changed_.notify_all();  // another may be the first now
  if (end) return std::unexpected(*end);
  return Turn(*this);
}

void TextTurns::join(std::string_view tenant, std::uint64_t number) {
  auto line = std::ranges::find(lines_, tenant, &Line::tenant);
  if (line == lines_.end()) line = lines_.insert(line, Line{.tenant = std::string(tenant), .numbers = {}});
  line->numbers.push_back(number);
}

void TextTurns::leave(std::string_view tenant, std::uint64_t number, bool with_turn) {
  const auto line = std::ranges::find(lines_, tenant, &Line::tenant);
  std::erase(line->numbers, number);
  if (line->numbers.empty()) {
    lines_.erase(line);
  } else if (with_turn) {
    std::rotate(line, line + 1, lines_.end());
  }
}

void TextTurns::give_back() {
  const std::lock_guard lock(mutex_);
  ++free_;
  changed_.notify_all();
}

}  // namespace cairn::api
