// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/terminal.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <utility>

namespace cairn::cli {
namespace {

constexpr int kWidth = 30;
constexpr auto kInterval = std::chrono::milliseconds(50);

}  // namespace

std::string format_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.empty() ? 0 : rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      line += i == 0 ? row[i] + padding : "  " + padding + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

Progress::Progress(std::string label) : label_(std::move(label)), active_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  finish();
}

void Progress::update(double fraction) {
  if (!active_) return;
  if (!drawn_ && fraction >= 1) return;  // done at once
  const auto now = std::chrono::steady_clock::now();
  if (drawn_ && now - last_ < kInterval) return;
  last_ = now;
  fraction = std::clamp(fraction, 0.0, 1.0);
  if (!drawn_) {
    begin_ = now;
    begin_fraction_ = fraction;
  }
  drawn_ = true;
  std::string bar(static_cast<std::size_t>(fraction * kWidth), '#');
  bar.resize(kWidth, '.');
  std::fprintf(stderr, "\r%s [%s] %3d %%%s\033[K", label_.c_str(), bar.c_str(), static_cast<int>(fraction * 100),
               remaining(fraction).c_str());
}

// ", 1:05 left", once some seconds have shown how fast it goes.
std::string Progress::remaining(double fraction) const {
  const double elapsed = std::chrono::duration<double>(last_ - begin_).count();
  if (elapsed < 2 || fraction <= begin_fraction_) return "";
  const auto left = static_cast<long>(elapsed * (1 - fraction) / (fraction - begin_fraction_));
  char text[48];
  if (left >= 3600) {
    std::snprintf(text, sizeof text, ", %ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
  } else {
    std::snprintf(text, sizeof text, ", %ld:%02ld left", left / 60, left % 60);
  }
  return text;
}

std::function<void(std::size_t, std::size_t)> Progress::counter() {
  return
      [this](std::size_t done, std::size_t total) { update(static_cast<double>(done) / static_cast<double>(total)); };
}

void Progress::finish() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  active_ = drawn_ = false;
}

}  // namespace cairn::cli
