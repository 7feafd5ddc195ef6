// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "cairn/base/file.h"
#include "cairn/codec/plan_file.h"

namespace cairn {
namespace {

std::unexpected<Error> refuse(std::string message) {
  return fail(ErrorCode::kInvalidArgument, "cannot write this plan: " + std::move(message));
}

Status check_names(const std::vector<std::string>& names) {
  if (names.empty() || names.size() > kMaxPlanLayers) return refuse("it has too few or too many layers");
  for (const std::string& name : names) {
    if (!is_codec_name(name)) return refuse("'" + printable_start(name, 60) + "' cannot be the name of a codec");
  }
  return {};
}

Status check_plan(const PlanFile& plan) {
  CAIRN_TRY_VOID(check_names(plan.keys));
  CAIRN_TRY_VOID(check_names(plan.values));
  if (plan.keys.size() != plan.values.size()) return refuse("keys and values have different numbers of layers");
  if (std::max(plan.sink_blocks, plan.recent_blocks) > kMaxPlanBlocks) return refuse("it keeps too many blocks");
  if (plan.codebooks && (plan.codebooks->path.empty() || !is_toml_text(plan.codebooks->path))) {
    return refuse("the name of the codebooks is empty, too long or has characters that do not print");
  }
  for (const auto& number :
       {plan.found.bytes_per_token, plan.found.bits_per_value, plan.found.predicted_error, plan.found.measured_kl}) {
    if (number && !std::isfinite(*number)) return refuse("a figure of how it was found is not a finite number");
  }
  return {};
}

std::string list_text(std::string_view key, const std::vector<std::string>& names) {
  constexpr std::size_t kPerLine = 4;
  std::string text = std::string(key) + " = [\n";
  for (std::size_t l = 0; l < names.size(); l += kPerLine) {
    const std::size_t end = std::min(l + kPerLine, names.size());
    text += " ";
    for (std::size_t i = l; i < end; ++i) text += " " + toml_string(names[i]) + ",";
    text += "  # layer" + (end - l > 1 ? "s " + std::to_string(l) + " to " : " ") + std::to_string(end - 1) + "\n";
  }
  return text + "]\n";
}

std::string found_text(const PlanOrigin& found) {
  std::string text;
  const auto add_text = [&](const char* key, const std::string& value) {
    if (!value.empty()) text += std::string(key) + " = " + toml_string(as_toml_text(value)) + "\n";
  };
  const auto add_number = [&](const char* key, std::optional<double> value, const char* comment) {
    if (value) text += std::string(key) + " = " + toml_number(*value) + "  # " + comment + "\n";
  };
  add_text("method", found.method);
  add_number("bytes_per_token", found.bytes_per_token, "K and V of all layers, metadata included");
  add_number("bits_per_value", found.bits_per_value, "mean, metadata included");
  add_number("predicted_error", found.predicted_error, "sum over layers and sides");
  add_number("measured_kl", found.measured_kl, "mean divergence from the exact cache, end to end");
  add_text("calibration", found.calibration);
  add_text("command", found.command);
  add_text("date", found.date);
  return text;
}

}  // namespace

Result<std::string> render_plan_file(const PlanFile& plan) {
  CAIRN_TRY_VOID(check_plan(plan));
  std::string text =
      "# How a model's keys and values are stored: use it with --codec FILE.\n"
      "cairn_plan = " +
      std::to_string(kPlanFileVersion) + "\n";
  if (plan.model)
    text += "model = " + toml_string(plan.model->hex()) + "  # digest of the weights that it was made for\n";
  text += "\nsinks = " + std::to_string(plan.sink_blocks) + "  # first blocks of a sequence that stay unencoded\n";
  text +=
      "recent = " + std::to_string(plan.recent_blocks) + "  # full blocks before the open one that stay unencoded\n";
  text += std::string("prefill = ") + (plan.exact_prefill ? "\"exact\"" : "\"encoded\"") +
          "  # what prompts attend to; \"exact\" or \"encoded\"\n\n";
  text += list_text("keys", plan.keys) + list_text("values", plan.values);
  if (plan.codebooks) {
    text += "\n[codebooks]\nfile = " + toml_string(plan.codebooks->path) + "  # beside this file\n";
    if (plan.codebooks->digest) text += "digest = " + toml_string(plan.codebooks->digest->hex()) + "\n";
  }
  if (const std::string found = found_text(plan.found); !found.empty()) {
    text += "\n# How it was found. Nothing is decided by what follows.\n[found]\n" + found;
  }
  return text;
}

Status write_plan_file(const std::string& path, const PlanFile& plan) {
  CAIRN_TRY(const std::string text, render_plan_file(plan));
  return write_file(path, text);
}

}  // namespace cairn
