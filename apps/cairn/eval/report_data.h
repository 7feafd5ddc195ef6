// SPDX-License-Identifier: Apache-2.0
// The results that `cairn eval kld --json` and `cairn eval suite --json` write, read back. The files are not trusted:
// every field is checked for presence, type and range before it becomes a figure on a page.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/eval/statistics.h"

namespace cairn {

inline constexpr std::string_view kMultiTurnMode = "multi-turn";
inline constexpr std::string_view kMultiRequestMode = "multi-request";

struct ReportModel {
  std::string file, name, weights_digest;
  std::uint64_t layers = 0, kv_heads = 0, head_dim = 0;
};

// What both formats say about a run. A setting is shown, never computed with, so it is kept as text.
struct ReportRun {
  std::string source;  // the path it came from
  std::string version, commit;
  ReportModel model;
  std::vector<std::pair<std::string, std::string>> settings;  // in the file's order

  std::string setting(std::string_view name) const;  // empty: there is none of this name
};

struct KldRow {
  std::string recipe;
  std::uint64_t context = 0, windows = 0, tokens = 0;
  double bytes_per_token = 0, bits_per_value = 0;
  Estimate kl_mean, kl_median, kl_p95, kl_p99, kl_max;  // nats
  Estimate same_top1;                                   // a share
  Estimate perplexity, reference_perplexity, perplexity_ratio;
};

struct KldRun : ReportRun {
  std::string text_file;
  std::uint64_t text_tokens = 0;
  std::vector<KldRow> rows;
};

// Of the questions the full cache answers right, those still answered right.
struct Retained {
  std::uint64_t items = 0, kept = 0;
  std::optional<Estimate> interval;
};

struct SuiteCell {
  std::string task, column, mode;  // mode: one of the two above
  std::uint64_t context = 0;
  std::optional<std::uint64_t> turn;   // from 1
  std::optional<std::uint64_t> depth;  // fifth of the context, from 0; exactly one of turn and depth is set
  std::uint64_t items = 0, lost = 0, won = 0, cap_hits = 0;
  std::optional<double> score;
  std::optional<Estimate> accuracy;
  Retained retained;
  double answer_tokens = 0;
};

struct SuiteRecipe {
  std::string recipe, control;
  double bytes_per_token = 0, bits_per_value = 0, kept = 0;
  std::vector<SuiteCell> cells;
};

struct SuiteRun : ReportRun {
  std::vector<SuiteRecipe> recipes;
};

struct ReportData {
  std::vector<KldRun> kld;
  std::vector<SuiteRun> suites;
};

// Adds what `path` holds. Errors, as one line that names the file and the place in it: kNotFound (no such file, no
// results in it), kIo, kCorrupt (no JSON; a field is missing, of the wrong type or out of range), kUnsupported (a
// format of another name, or more than 256 MiB).
Status read_report_file(const std::string& path, ReportData& data);

}  // namespace cairn
