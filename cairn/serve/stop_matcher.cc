// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

// Length of the longest end of `text` with which `stop` begins, all of it excluded.
std::size_t begun(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

std::string StopMatcher::feed(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t end = std::string::npos, keep = 0;
  for (const std::string& stop : stops_) {
    if (stop.empty()) continue;
    end = std::min(end, held_.find(stop));
    keep = std::max(keep, begun(held_, stop));
  }
  if (end != std::string::npos) {
    stopped_ = true;
    held_.resize(end);
    return std::exchange(held_, {});
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopMatcher::finish() {
  return std::exchange(held_, {});
}

}  // namespace cairn
