// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/report_format.h"

#include <cmath>
#include <cstdio>

#include "apps/cairn/eval/html_text.h"
#include "apps/cairn/text.h"

namespace cairn {
namespace {

constexpr const char* kThinSpace = "\u202F";

std::string grouped(std::string digits) {
  if (digits.size() <= 4) return digits;
  for (std::size_t i = digits.size() - 3; i > 0 && i<digits.size(); i = i> 3 ? i - 3 : 0) digits.insert(i, kThinSpace);
  return digits;
}

std::string scientific(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.1e", value);
  std::string text = buffer;  // 3.1e-05
  const std::size_t exponent = text.find('e') + 1;
  if (text[exponent] == '+') text.erase(exponent, 1);
  const std::size_t digits = text.find_first_of("0123456789", exponent);
  while (digits + 1 < text.size() && text[digits] == '0') text.erase(digits, 1);
  return text;
}

}  // namespace

std::string count_text(std::uint64_t count) {
  return grouped(std::to_string(count));
}

std::string bits_text(double bits) {
  return bits < 1e6 ? format_number(bits, 2) : scientific(bits);
}

std::string figure_text(double value) {
  if (value == std::floor(value) && value < 1e15) return count_text(static_cast<std::uint64_t>(value));
  if (value < 0.01 || value >= 1e15) return scientific(value);
  return format_number(value, value < 10 ? 2 : 1);
}

std::string divergence_text(double nats) {
  if (nats == 0) return "0";
  const double size = std::fabs(nats);
  return size < 1e-3 || size >= 1e4 ? scientific(nats) : format_number(nats, size < 1 ? 4 : 3);
}

std::string tick_text(double value) {
  if (value < 1e-4 || value >= 1e5) {
    std::string text = scientific(value);
    if (const std::size_t zero = text.find(".0"); zero != std::string::npos) text.erase(zero, 2);
    return text;
  }
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

std::string percent_text(double share) {
  std::string text = format_number(share * 100, 1);
  if (share < 1 && text == "100.0") text = "99.9";
  if (share > 0 && text == "0.0") text = "0.1";
  return text;
}

std::string perplexity_text(double perplexity) {
  return perplexity < 1e4 ? format_number(perplexity, 2) : scientific(perplexity);
}

std::string ratio_text(double ratio) {
  return ratio < 1e4 ? format_number(ratio, 3) : scientific(ratio);
}

std::string interval_cell(const std::optional<Estimate>& estimate, FigureText text) {
  if (!estimate) return empty_cell();
  std::string cell = "<td class=\"n\">" + text(estimate->value);
  if (estimate->low != estimate->high) {
    cell += "<small>" + text(estimate->low) + "–" + text(estimate->high) + "</small>";
  }
  return cell + "</td>";
}

std::string cell(const std::string& text) {
  return "<td class=\"n\">" + html(text) + "</td>";
}

std::string empty_cell() {
  return "<td class=\"n\"><span class=\"none\">–</span></td>";
}

}  // namespace cairn
