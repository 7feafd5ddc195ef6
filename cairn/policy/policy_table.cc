// SPDX-License-Identifier: Apache-2.0
#include "cairn/policy/policy.h"

namespace cairn {

std::span<const NamedPolicy> policy_table() {
  using enum BudgetRule;
  static const NamedPolicy table[] = {
      // Read selection.
      {"quest", "", "quest", {}, "Tang 2024, arXiv 2406.10774", "reads what could match the query best"},
      // Stage 2 of the paper: its stage 1 is mpcache-static.
      {"mpcache",
       "",
       "linear",
       {.layer_pairs = true},
       "Zeng 2025, arXiv 2501.06807",
       "as quest, by a linear score at two levels, one choice for two layers"},
      // Our reconstruction: the paper's formulas are not known to us.
      {"actqkv",
       "",
       "probe",
       {.mass = 0.95, .window = 32},
       "after Xiao 2025, arXiv 2502.13542",
       "asks with the unusual ones of the last queries; layers that look at little read less"},
      {"sparf",
       "",
       "channels",
       {},
       "Pan 2024, arXiv 2409.04992; Ribar 2023, arXiv 2312.04985",
       "reads what a quarter of the query's channels look at"},
      {"double-p",
       "",
       "double-p",
       {.mass = 0.95},
       "after Double-P, 2026",
       "reads as much as holds most of the attention: by mean keys first, then by keys"},
      {"sketch", "", "sketch", {}, "", "reads what gets most attention, by a copy of the keys in two bits"},
      {"oracle", "", "exact", {}, "", "reads what gets most attention; looks at every key, so it saves nothing"},
      {"recent", "", "recent", {}, "Xiao 2023, arXiv 2309.17453", "reads the first tokens and the newest ones"},
      {"random-read", "", "random", {}, "", "reads at random: the control of read selection"},

      // Retention, once, as the prompt ends.
      {"streamingllm", "recency", "", {}, "Xiao 2023, arXiv 2309.17453", "keeps the first tokens and the newest ones"},
      {"snapkv",
       "mass",
       "",
       {.recent = 64, .window = 64, .pool = 5},
       "Li 2024, arXiv 2404.14469",
       "keeps what the last queries of the prompt look at"},
      {"pyramidkv",
       "mass",
       "",
       {.budget = kPyramid, .recent = 64, .window = 64, .pool = 5},
       "Cai 2024, arXiv 2406.02069",
       "as snapkv, more in early layers than in late ones"},
      {"adakv",
       "mass",
       "",
       {.budget = kAda, .recent = 64, .window = 64, .pool = 5},
       "Feng 2024, arXiv 2407.11550",
       "as snapkv, more for heads that look at more"},
      {"prefixkv",
       "sum",
       "",
       {.budget = kPrefix, .per_head = false, .recent = 1, .every = 64, .then_by_age = true},
       "Wang 2024, arXiv 2412.03409",
       "keeps what all queries look at, an equal share of it in every layer"},
      // The paper's router is a classifier; ours is the part `task`.
      {"windowkv",
       "mass",
       "",
       {.budget = kSlope, .group = 8, .per_head = false, .recent = 32, .window = 32, .unit = 8, .unit_by_best = true},
       "Zuo 2025, arXiv 2503.17922",
       "keeps stretches of 8 tokens that the last queries look at, the same in 8 layers"},
      {"tova",
       "peak",
       "",
       {.per_head = false, .recent = 1, .window = 1},
       "Oren 2024, arXiv 2401.06104",
       "keeps what the last query looks at"},
      {"kvzip",
       "replay",
       "",
       {.budget = kGlobal},
       "Kim 2025, arXiv 2505.23416",
       "keeps what the model looks at to repeat the prompt"},
      {"keydiff", "keydiff", "", {}, "Park 2025, arXiv 2504.15364", "keeps keys unlike the mean key"},
      {"knorm", "knorm", "", {}, "Devoto 2024, arXiv 2406.11430", "keeps short keys"},
      {"lagkv", "lagkv", "", {}, "Liang 2025, arXiv 2504.04704", "keeps what the next 128 tokens do not resemble"},
      {"expected",
       "expected",
       "",
       {},
       "Devoto 2025, arXiv 2510.00636",
       "keeps what queries like those of the prompt will look at"},
      {"observed", "observed", "", {}, "", "keeps what the queries that could see a token gave it on average"},
      // Saliency alone: the paper keeps what falls behind, in fewer bits.
      {"zip-salience", "salience", "", {}, "He 2024, arXiv 2405.14256", "as observed, by a tenth of the queries"},
      // Stage 1 of the paper with a share to keep in place of its threshold for each data set.
      {"mpcache-static",
       "peak",
       "",
       {.per_head = false, .window = 128},
       "Zeng 2025, arXiv 2501.06807",
       "keeps what any of the last queries looks at"},

      // Retention that goes on.
      {"h2o",
       "sum",
       "",
       {.recent_share = 0.5, .every = 64},
       "Zhang 2023, arXiv 2306.14048",
       "keeps what all queries look at and the newest, half and half; every 64 tokens again"},
      {"decode-evict",
       "keydiff",
       "",
       {.keep = 0.5, .recent = 64, .every = 128, .prompt_stays = true},
       "",
       "keeps the prompt; every 128 tokens it thins out what was decoded"},

      // Controls.
      {"random", "random", "", {}, "", "keeps random tokens: the control of retention"},
      {"full", "recency", "", {.keep = 1, .sinks = 0}, "", "keeps and reads everything"},
  };
  return table;
}

}  // namespace cairn
