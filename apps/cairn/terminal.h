// SPDX-License-Identifier: Apache-2.0
// What people read: tables, progress bars, and numbers with units.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cairn/base/number_text.h"  // IWYU pragma: export

namespace cairn::cli {

// Columns: the first flush left, the others flush right.
// The first row is the head. Rows may not be longer than the head.
std::string format_table(const std::vector<std::vector<std::string>>& rows);

// As 2026-11-23, in UTC: what tuned files say of when they were made.
std::string today();

// A progress bar on standard error, drawn only when that is a terminal. Thread-compatible. The line is erased when the
// bar is destroyed.
class Progress {
 public:
  explicit Progress(std::string label);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(double fraction);  // in [0, 1]
  // update() as a function of things done; it refers to this bar.
  std::function<void(std::size_t done, std::size_t total)> counter();
  void finish();  // erases the line; nothing is drawn afterwards

 private:
  std::string remaining(double fraction) const;

  std::string label_;
  bool active_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point begin_{}, last_{};  // of drawing
  double begin_fraction_ = 0;
};

}  // namespace cairn::cli
