// SPDX-License-Identifier: Apache-2.0
// Ends a text before the first of some stop strings, and holds back what may turn out to begin one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace cairn {

// Thread-compatible.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // More text: returns what is certain now. Nothing more once stopped().
  std::string feed(std::string_view text);
  // There is no more: returns what was held back.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace cairn
