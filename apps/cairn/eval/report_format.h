// SPDX-License-Identifier: Apache-2.0
// Figures as the report writes them. The same quantity has the same number of decimals everywhere, so that columns line
// up. A figure that is not there is a dash.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cairn/eval/statistics.h"

namespace cairn {

std::string figure_text(double value);        // "3072", "12 288", "1024.5"
std::string bits_text(double bits);           // "8.13"
std::string count_text(std::uint64_t count);  // "12 288"
std::string divergence_text(double nats);     // "0.0123", "3.1e-5", "0"
std::string tick_text(double value);          // "0.002", "1e-5"
std::string percent_text(double share);       // "93.4"; 100 and 0 only if it is all or nothing
std::string perplexity_text(double perplexity);
std::string ratio_text(double ratio);  // "1.012"; "2.3e5" where large

// Table cells: the value, and under it the interval.
using FigureText = std::string (*)(double);
std::string interval_cell(const std::optional<Estimate>& estimate, FigureText text);
std::string cell(const std::string& text);  // escapes
std::string empty_cell();

}  // namespace cairn
