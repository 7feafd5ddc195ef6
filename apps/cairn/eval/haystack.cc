// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/haystack.h"

#include <algorithm>
#include <vector>

namespace cairn::cli {
namespace {

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return lines;
}

}  // namespace

CutHaystack cut_haystack(std::string_view text, std::string_view needle,
                         const std::function<bool(const std::string&)>& fits) {
  const std::vector<std::string_view> lines = lines_of(text);
  const auto found =
      std::ranges::find_if(lines, [needle](std::string_view line) { return line.find(needle) != line.npos; });
  if (found == lines.end() || needle.empty()) return {};
  const auto at = static_cast<std::size_t>(found - lines.begin());
  const std::size_t before = at == 0 ? 0 : at - 1, after = lines.size() - at - 1;  // besides the first line
  CutHaystack best;
  const auto keep = [&](double share) {
    const auto head = static_cast<std::size_t>(share * static_cast<double>(before));
    const auto tail = static_cast<std::size_t>(share * static_cast<double>(after));
    CutHaystack kept;
    if (at > 0) kept.text += lines.front();
    for (std::size_t i = at - head; i < at; ++i) kept.text += lines[i];
    const std::size_t needle_at = kept.text.size();
    for (std::size_t i = at; i <= at + tail; ++i) kept.text += lines[i];
    kept.depth = static_cast<double>(needle_at) / static_cast<double>(kept.text.size());
    kept.cut = head + tail < before + after;
    return kept;
  };
  double low = 0, high = 1;
  if (CutHaystack all = keep(1); fits(all.text)) return all;
  if (best = keep(0); !fits(best.text)) return {};
  for (int step = 0; step < 20; ++step) {
    const double middle = (low + high) / 2;
    CutHaystack tried = keep(middle);
    if (fits(tried.text)) {
      best = std::move(tried);
      low = middle;
    } else {
      high = middle;
    }
  }
  return best;
}

}  // namespace cairn::cli
