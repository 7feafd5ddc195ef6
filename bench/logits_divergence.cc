// SPDX-License-Identifier: Apache-2.0
// KL divergence between two files of next-token distributions that llama.cpp wrote for the same text (logits_file.h).
// llama.cpp computes this itself, but loses the end of its output, where the figure stands, and prints five digits.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "bench/logits_file.h"
#include "cairn/eval/statistics.h"

namespace cairn {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kFileRange = 16;  // nats below the likeliest token that a file resolves

struct Options {
  std::string base;
  std::string other;
  bool json = false;
};

struct Comparison {
  std::vector<double> divergence;  // of each window, summed over its positions
  std::vector<double> same_top;    // of each window, positions
};

// KL(base || other) in nats. What the base does not resolve is left out, as llama.cpp does: its share is below e^-16.
double divergence(std::span<const float> base, std::span<const float> other) {
  const double floor = static_cast<double>(*std::ranges::max_element(other)) - kFileRange;
  double sum = 0;
  for (std::size_t id = 0; id < base.size(); ++id) {
    if (std::isinf(base[id])) continue;
    const double log_p = base[id], log_q = std::isinf(other[id]) ? floor : static_cast<double>(other[id]);
    sum += std::exp(log_p) * (log_p - log_q);
  }
  return sum;
}

// The files' codes are coarse enough for ties: any of the likeliest tokens counts.
bool same_top(std::span<const float> base, std::span<const float> other) {
  const auto top = static_cast<std::size_t>(std::ranges::max_element(other) - other.begin());
  return base[top] == *std::ranges::max_element(base);
}

Result<Comparison> compare(LogitsFile& base, LogitsFile& other) {
  bool same = base.windows() == other.windows() && base.vocab() == other.vocab();
  for (std::uint32_t w = 0; same && w < base.windows(); ++w) same = std::ranges::equal(base.tokens(w), other.tokens(w));
  if (!same) return fail(ErrorCode::kInvalidArgument, "the files are not of the same windows of the same text");
  Comparison result;
  std::vector<float> base_rows, other_rows;
  for (std::uint32_t w = 0; w < base.windows(); ++w) {
    CAIRN_TRY_VOID(base.read_window(base_rows));
    CAIRN_TRY_VOID(other.read_window(other_rows));
    double sum = 0, tops = 0;
    for (std::uint32_t p = 0; p < base.positions_per_window(); ++p) {
      const std::size_t row = std::size_t{p} * base.vocab();
      const auto from = std::span<const float>(base_rows).subspan(row, base.vocab());
      const auto to = std::span<const float>(other_rows).subspan(row, base.vocab());
      sum += divergence(from, to);
      tops += same_top(from, to);
    }
    result.divergence.push_back(sum);
    result.same_top.push_back(tops);
  }
  return result;
}

Json estimate_json(const Estimate& estimate) {
  return {{"value", estimate.value}, {"low", estimate.low}, {"high", estimate.high}};
}

Json report_json(const Comparison& comparison, std::uint32_t positions) {
  const auto figures = [&](std::span<const std::size_t> drawn, std::span<double> out) {
    const double tokens = static_cast<double>(drawn.size()) * positions;
    out[0] = out[1] = 0;
    for (const std::size_t w : drawn) {
      out[0] += comparison.divergence[w] / tokens;
      out[1] += comparison.same_top[w] / tokens;
    }
  };
  const std::size_t windows = comparison.divergence.size();
  const std::vector<Estimate> estimates = bootstrap(windows, 2, 0, figures);
  Json of_windows = Json::array();
  for (const double sum : comparison.divergence) of_windows.push_back(sum / positions);
  return {{"windows", windows},
          {"tokens", windows * positions},
          {"kl_mean", estimate_json(estimates[0])},
          {"same_top1", estimate_json(estimates[1])},
          {"kl_of_windows", std::move(of_windows)}};
}

Status run(const Options& options) {
  CAIRN_TRY(LogitsFile base, LogitsFile::open(options.base));
  CAIRN_TRY(LogitsFile other, LogitsFile::open(options.other));
  CAIRN_TRY(const Comparison comparison, compare(base, other));
  const Json report = report_json(comparison, base.positions_per_window());
  if (options.json) {
    std::cout << report.dump(2) << '\n';
    return {};
  }
  const auto print = [&report](const char* name, const char* key) {
    const Json& estimate = report.at(key);
    std::printf("%s %.6g (%.6g-%.6g)\n", name, estimate.at("value").get<double>(), estimate.at("low").get<double>(),
                estimate.at("high").get<double>());
  };
  std::printf("tokens         %zu\n", report.at("tokens").get<std::size_t>());
  print("KL(base || it)", "kl_mean");
  print("same top      ", "same_top1");
  return {};
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  cairn::Options options;
  CLI::App app("Mean KL divergence between two files made by llama-perplexity --save-all-logits, with 95 % intervals.");
  app.add_option("base", options.base, "The file of the exact cache")->required();
  app.add_option("other", options.other, "The file that is judged")->required();
  app.add_flag("--json", options.json, "Print JSON");
  CLI11_PARSE(app, argc, argv);
  if (const cairn::Status status = cairn::run(options); !status) {
    std::cerr << "logits_divergence: " << status.error().message << '\n';
    return 1;
  }
  return 0;
}
