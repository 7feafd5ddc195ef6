// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/lever_rows.h"

#include <cstdio>

namespace cairn {
namespace {

std::string with_number(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

}  // namespace

std::vector<LeverRow> lever_rows(const Levers& levers) {
  const Levers none;
  std::vector<LeverRow> rows = {{"baseline", none}};
  const auto add = [&]<class T>(T Levers::*lever, const char* format, double shown) {
    if (levers.*lever == none.*lever) return;
    Levers one;
    one.*lever = levers.*lever;
    rows.push_back({with_number(format, shown), one});
  };
  add(&Levers::kv_heads, "%g KV heads", levers.kv_heads);
  add(&Levers::kv_layers, "%g KV layers", levers.kv_layers);
  add(&Levers::bits_per_value, "%g bits per value", levers.bits_per_value);
  add(&Levers::keep_ratio, "keep %g of tokens", levers.keep_ratio);
  add(&Levers::read_fraction, "read %g of KV", levers.read_fraction);
  add(&Levers::tensor_parallel, "%g devices", levers.tensor_parallel);
  add(&Levers::swap_bytes_per_s, "swap at %.3g GB/s", levers.swap_bytes_per_s / 1e9);
  if (rows.size() > 2) rows.push_back({"all together", levers});
  return rows;
}

}  // namespace cairn
