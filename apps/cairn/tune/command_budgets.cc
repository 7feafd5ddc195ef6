// SPDX-License-Identifier: Apache-2.0
// cairn tune budgets: how much each layer keeps under a token policy, found on a text, so that nothing is searched when
// prompts are computed.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/eval/eval_json.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/eval/budget_tuning.h"

namespace cairn::cli {
namespace {

struct BudgetOptions {
  ModelOptions model;
  std::string text, policy = "prefixkv", budget, output;
  double keep = 0;  // 0: the policy's
  eval::BudgetTuning tuning;
  bool json = false;
};

std::string policy_text(const BudgetOptions& options) {
  std::string text = options.policy;
  if (!options.budget.empty()) text += "+budget=" + options.budget;
  if (options.keep > 0) text += "+keep=" + format_number(options.keep, 6);
  return text;
}

std::string command_text(const BudgetOptions& options) {
  return "cairn tune budgets -m " + options.model.model + " " + options.text + " --policy " + policy_text(options) +
         " --windows " + std::to_string(options.tuning.windows) + " --context " +
         std::to_string(options.tuning.context);
}

// A layer a line, with a bar of its share.
std::string picture(const eval::TunedBudgets& tuned) {
  constexpr double kWidth = 40;
  const std::vector<double>& shares = tuned.profile.shares;
  const double most = std::ranges::max(shares);
  std::vector<std::vector<std::string>> table = {{"layer", "keeps", "+-"}};
  for (std::size_t l = 0; l < shares.size(); ++l) {
    table.push_back({std::to_string(l), format_number(shares[l], 4), format_number(tuned.spread[l], 4)});
  }
  std::string text, lines = format_table(table);
  for (std::size_t l = 0, begin = 0; begin < lines.size(); ++l) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    text += lines.substr(begin, end - begin);
    if (l > 0 && l <= shares.size()) {
      text += "  " + std::string(static_cast<std::size_t>(std::lround(kWidth * shares[l - 1] / most)), '#');
    }
    text += '\n';
    begin = end + 1;
  }
  return text;
}

Status run_budgets(const BudgetOptions& options) {
  if (!options.output.ends_with(".toml")) {
    return fail(ErrorCode::kInvalidArgument, "--output '" + options.output + "': a profile is named *.toml");
  }
  eval::BudgetTuning tuning = options.tuning;
  tuning.policy = policy_text(options);
  tuning.kv_budget_bytes = options.model.kv_budget;
  CAIRN_TRY_VOID(eval::budget_policy(tuning.policy));  // before time is spent on the model
  const InterruptScope interrupt;
  CAIRN_TRY(const std::string text, read_utf8_text(options.text));
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model, /*reuse=*/false));
  const std::vector<TokenId> tokens = engine->tokenizer().encode(text);
  Progress measuring("Measuring");
  Result<eval::TunedBudgets> tuned =
      eval::tune_budgets(*engine, tokens, tuning, {.on_progress = measuring.counter(), .cancel = &interrupt_flag()});
  measuring.finish();
  if (!tuned) return std::unexpected(std::move(tuned).error());
  if (tuned->windows < tuning.windows) {
    std::cerr << "cairn: the text has " << tokens.size() << " tokens, so it is measured on "
              << plural(tuned->windows, "window") << " of " << tuning.context << " instead of " << tuning.windows
              << ": more would overlap\n";
  }
  BudgetProfile& profile = tuned->profile;
  profile.calibration =
      plural(tuned->windows, "window") + " of " + std::to_string(tuning.context) + " tokens from " + options.text;
  profile.command = command_text(options);
  profile.date = today();
  CAIRN_TRY_VOID(write_budget_profile(options.output, profile));
  if (options.json) {
    Json report = result_head("cairn.tune.budgets.v1", *engine, options.model.model);
    report["file"] = options.output;
    report["policy"] = profile.policy;
    report["calibration"] = profile.calibration;
    report["keep"] = profile.keep;
    report["shares"] = profile.shares;
    report["spread"] = tuned->spread;
    std::cout << dump_json(report);
    return {};
  }
  std::cout << picture(*tuned) << "Budgets of " << profile.policy << " from " << profile.calibration << ", "
            << format_number(profile.keep, 4) << " on the mean. Use them as --policy NAME+profile=" << options.output
            << '\n';
  return {};
}

}  // namespace

void add_tune_budgets_command(CLI::App& tune, Status& outcome) {
  CLI::App* command = tune.add_subcommand("budgets", "Find how much each layer keeps under a token policy, on a text");
  auto options = std::make_shared<BudgetOptions>();
  add_model_argument(*command, options->model.model);
  command->add_option("text", options->text, "The text, a UTF-8 file; - for standard input")->required();
  command->add_option("-o,--output", options->output, "The profile to write, as budgets.toml")->required();
  command
      ->add_option("--policy", options->policy,
                   "Whose scores go by which budgets: NAME[+part=value]..., see docs/policies.md")
      ->capture_default_str();
  command
      ->add_option("--budget", options->budget,
                   "Another rule for its budgets: prefix, entropy, pyramid, global or slope [the policy's, prefix "
                   "where that gives all layers the same]")
      ->check(one_of({"prefix", "entropy", "pyramid", "global", "slope"}));
  command->add_option("--keep", options->keep, "Share of the tokens that stay on the mean [the policy's]")
      ->check(number_between(0.001, 0.999));
  command
      ->add_option("--windows", options->tuning.windows,
                   "Windows to measure on, spread over the text; fewer where they would overlap")
      ->check(whole_number(1, 10000))
      ->capture_default_str();
  command->add_option("--context", options->tuning.context, "Tokens of a window")
      ->check(whole_number(64, 1 << 20))
      ->capture_default_str();
  command->add_option("-t,--threads", options->model.threads, "Threads; 0 is one per core")->capture_default_str();
  command
      ->add_option("--kv-budget", options->model.kv_budget, "Most memory that the KV cache may use, as 512MiB [2GiB]")
      ->transform(byte_size())
      ->default_str("2GiB");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_budgets(*options); });
}

}  // namespace cairn::cli
