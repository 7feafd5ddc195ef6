// SPDX-License-Identifier: Apache-2.0
#include "cairn/store/prefix_load.h"

#include <algorithm>

#include "cairn/base/check.h"

namespace cairn {

LoadedBlock PrefixLoad::wait(std::size_t i) {
  CAIRN_CHECK(i < keys_.size());
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline_, [&] {
    return ended_ || blocks_.size() > i || (!blocks_.empty() && blocks_.back().status != BlockStatus::kOk);
  });
  if (blocks_.size() > i) return blocks_[i];
  if (!blocks_.empty() && blocks_.back().status != BlockStatus::kOk) return {.status = blocks_.back().status};
  abandon();
  return {.status = BlockStatus::kTimeout};
}

std::optional<std::size_t> PrefixLoad::have_part_locked(std::size_t part) const {
  if (parts_ > part) return sound_;
  if (ended_) return 0;
  return std::nullopt;
}

std::optional<std::size_t> PrefixLoad::have_part(std::size_t part, std::chrono::milliseconds within) {
  std::unique_lock lock(mutex_);
  arrived_.wait_for(lock, within, [&] { return have_part_locked(part).has_value(); });
  return have_part_locked(part);
}

std::size_t PrefixLoad::wait_part(std::size_t part) {
  std::unique_lock lock(mutex_);
  arrived_.wait_until(lock, deadline_, [&] { return have_part_locked(part).has_value(); });
  if (const auto blocks = have_part_locked(part)) return *blocks;
  abandon();
  return 0;
}

std::optional<double> PrefixLoad::seconds_left() const {
  const std::lock_guard lock(mutex_);
  if (ended_) return 0;
  const double here = static_cast<double>(bytes_here_.load(std::memory_order_relaxed));
  if (here == 0) return std::nullopt;
  const double passed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  const double all = static_cast<double>(block_bytes_.load(std::memory_order_relaxed) * keys_.size());
  return std::max(0.0, all - here) * passed_s / here;
}

void PrefixLoad::deliver(LoadedBlock block) {
  {
    const std::lock_guard lock(mutex_);
    blocks_.push_back(std::move(block));
  }
  arrived_.notify_all();
}

void PrefixLoad::deliver_parts(std::size_t parts, std::size_t blocks) {
  {
    const std::lock_guard lock(mutex_);
    parts_ = parts;
    sound_ = blocks;
  }
  arrived_.notify_all();
}

void PrefixLoad::end() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  arrived_.notify_all();
}

}  // namespace cairn
