// SPDX-License-Identifier: Apache-2.0
#include "cairn/codec/plan_file.h"

#include <utility>

#include "cairn/base/checked_toml.h"
#include "cairn/base/file.h"

namespace cairn {
namespace {

Status read_version(TomlKeys& keys) {
  CAIRN_TRY(const std::optional<std::uint32_t> version, keys.count("cairn_plan", UINT32_MAX));
  if (!version) {
    return fail(ErrorCode::kInvalidArgument,
                "this is no plan: 'cairn_plan = " + std::to_string(kPlanFileVersion) + "' is missing");
  }
  if (*version != kPlanFileVersion) {
    return fail(ErrorCode::kUnsupported, "the plan has version " + std::to_string(*version) +
                                             "; this build reads version " + std::to_string(kPlanFileVersion));
  }
  return {};
}

Result<std::vector<std::string>> read_codecs(TomlKeys& keys, std::string_view key) {
  CAIRN_TRY(const toml::array* list, keys.list(key, "a list of codecs, one for each layer"));
  if (list == nullptr) return fail(ErrorCode::kInvalidArgument, "the list " + quoted_start(key) + " is missing");
  if (list->empty() || list->size() > kMaxPlanLayers) {
    return refuse_toml_line(toml_line_of(*list), quoted_start(key) + " has " + std::to_string(list->size()) +
                                                     " layers; 1 to " + std::to_string(kMaxPlanLayers) + " make sense");
  }
  std::vector<std::string> names;
  for (const toml::node& element : *list) {
    const auto name = element.value_exact<std::string>();
    if (!name) return TomlKeys::wrong(element, key, "a list of names in quotes");
    if (!is_codec_name(*name)) {
      return refuse_toml_line(toml_line_of(element), quoted_start(*name) + " cannot be the name of a codec");
    }
    names.push_back(*name);
  }
  return names;
}

Status read_codebooks(const toml::table& table, PlanFile& plan) {
  TomlKeys keys(table);
  CAIRN_TRY(std::optional<std::string> path, keys.text("file"));
  CAIRN_TRY(const std::optional<Digest> digest, keys.digest("digest"));
  CAIRN_TRY_VOID(keys.no_others());
  if (!path || path->empty()) return refuse_toml_line(toml_line_of(table), "[codebooks] names no file");
  plan.codebooks = {*std::move(path), digest};
  return {};
}

Status read_found(const toml::table& table, PlanOrigin& found) {
  TomlKeys keys(table);
  const std::pair<std::string_view, std::string PlanOrigin::*> texts[] = {{"method", &PlanOrigin::method},
                                                                          {"calibration", &PlanOrigin::calibration},
                                                                          {"command", &PlanOrigin::command},
                                                                          {"date", &PlanOrigin::date}};
  for (const auto& [key, member] : texts) {
    CAIRN_TRY(std::optional<std::string> text, keys.text(key));
    found.*member = std::move(text).value_or("");
  }
  CAIRN_TRY(found.bytes_per_token, keys.number("bytes_per_token"));
  CAIRN_TRY(found.bits_per_value, keys.number("bits_per_value"));
  CAIRN_TRY(found.predicted_error, keys.number("predicted_error"));
  CAIRN_TRY(found.measured_kl, keys.number("measured_kl"));
  return keys.no_others();
}

Result<PlanFile> read_plan(const toml::table& root) {
  TomlKeys keys(root);
  CAIRN_TRY_VOID(read_version(keys));
  PlanFile plan;
  CAIRN_TRY(plan.model, keys.digest("model"));
  CAIRN_TRY(const std::optional<std::uint32_t> sinks, keys.count("sinks", kMaxPlanBlocks));
  CAIRN_TRY(const std::optional<std::uint32_t> recent, keys.count("recent", kMaxPlanBlocks));
  plan.sink_blocks = sinks.value_or(0);
  plan.recent_blocks = recent.value_or(0);
  CAIRN_TRY(plan.exact_prefill, keys.either("prefill", "exact", "encoded"));
  CAIRN_TRY(plan.keys, read_codecs(keys, "keys"));
  CAIRN_TRY(plan.values, read_codecs(keys, "values"));
  CAIRN_TRY(const toml::table* codebooks, keys.table("codebooks"));
  CAIRN_TRY(const toml::table* found, keys.table("found"));
  CAIRN_TRY_VOID(keys.no_others());
  if (codebooks != nullptr) CAIRN_TRY_VOID(read_codebooks(*codebooks, plan));
  if (found != nullptr) CAIRN_TRY_VOID(read_found(*found, plan.found));
  if (plan.keys.size() != plan.values.size()) {
    return fail(ErrorCode::kInvalidArgument, "'keys' has " + std::to_string(plan.keys.size()) +
                                                 " layers and 'values' " + std::to_string(plan.values.size()));
  }
  return plan;
}

}  // namespace

Result<PlanFile> parse_plan_file(std::string_view text) {
  CAIRN_TRY(const toml::table table, parse_checked_toml(text, "a plan"));
  return read_plan(table);
}

Result<PlanFile> read_plan_file(const std::string& path) {
  CAIRN_TRY(const std::vector<std::byte> bytes, read_file(path, kMaxTomlBytes));
  Result<PlanFile> plan = parse_plan_file({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (!plan) return fail(plan.error().code, "'" + path + "': " + plan.error().message);
  return plan;
}

}  // namespace cairn
