// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace cairn {
namespace {

constexpr int kWidth = 30;
constexpr auto kInterval = std::chrono::milliseconds(50);

}  // namespace

Progress::Progress(std::string label) : label_(std::move(label)), active_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  finish();
}

void Progress::update(double fraction) {
  if (!active_) return;
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_ < kInterval) return;
  last_ = now;
  drawn_ = true;
  fraction = std::clamp(fraction, 0.0, 1.0);
  std::string bar(static_cast<std::size_t>(fraction * kWidth), '#');
  bar.resize(kWidth, '.');
  std::fprintf(stderr, "\r%s [%s] %3d %%", label_.c_str(), bar.c_str(), static_cast<int>(fraction * 100));
}

std::function<void(std::size_t, std::size_t)> Progress::counter() {
  return
      [this](std::size_t done, std::size_t total) { update(static_cast<double>(done) / static_cast<double>(total)); };
}

void Progress::finish() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  active_ = drawn_ = false;
}

}  // namespace cairn
