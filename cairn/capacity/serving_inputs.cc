// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/serving_inputs.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace cairn::capacity {
namespace {

constexpr double kMib = 1024.0 * 1024;
constexpr double kGib = 1024 * kMib;

ServedModel bf16_model(std::string name, double params, std::uint32_t layers, std::uint32_t heads,
                       std::uint32_t kv_heads, std::uint32_t head_dim) {
  return {std::move(name), params, 2 * params, layers, heads, kv_heads, head_dim};
}

std::string with_number(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

std::string short_number(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%g", value);
  return buffer;
}

// The comparison is false for NaN.
Status in_range(const char* what, double value, double low, double high) {
  if (value >= low && value <= high) return {};
  return fail(ErrorCode::kInvalidArgument, std::string(what) + " must be between " + short_number(low) + " and " +
                                               short_number(high) + ", not " + short_number(value));
}

Status in_range(const char* what, std::uint64_t value, std::uint64_t high) {
  return in_range(what, static_cast<double>(value), 1, static_cast<double>(high));
}

// Operations of attention per token of a prefill of `tokens` behind `depth` others.
double attention_ops_per_token(const ServedModel& model, double depth, double tokens) {
  const double pairs = model.pairs(depth + tokens) - model.pairs(depth);
  return pairs / tokens * model.attention_ops * model.layers * model.attention_width();
}

double windowed_share(const ServedModel& model) {
  return model.window_layers == 0 ? 0 : static_cast<double>(model.window_layers) / model.layers;
}

}  // namespace

double ServedModel::kept(double n) const {
  return n - windowed_share(*this) * (n - std::min<double>(n, std::max(window, window_kept)));
}

double ServedModel::seen(double n) const {
  return n - windowed_share(*this) * (n - std::min<double>(n, window));
}

double ServedModel::pairs(double n) const {
  const double behind = n - std::min<double>(n, window);  // what the last query does not see through its window
  return n * n / 2 - windowed_share(*this) * behind * behind / 2;
}

std::string_view resource_name(Resource resource) {
  switch (resource) {
    case Resource::kMemorySize: return "memory size";
    case Resource::kFlops: return "flops";
    case Resource::kBandwidth: return "memory bandwidth";
    case Resource::kSwapLink: return "swap link";
  }
  return "?";
}

Hardware doubled(Hardware hardware, Resource resource) {
  switch (resource) {
    case Resource::kMemorySize: hardware.memory_bytes *= 2; break;
    case Resource::kFlops:
      hardware.flops *= 2;
      hardware.attention_flops *= 2;
      break;
    case Resource::kBandwidth: hardware.bandwidth_bytes_per_s *= 2; break;
    case Resource::kSwapLink: hardware.swap_bytes_per_s *= 2; break;
  }
  return hardware;
}

// Memory as the driver reports it, SXM cards, dense bf16 rates. PCIe as it is reached in practice: 20 GiB/s of
// generation 4, twice that of generation 5.
std::span<const Hardware> hardware_presets() {
  static const Hardware presets[] = {{"a100-80g", 81920 * kMib, 312e12, 2.039e12, 20 * kGib},
                                     {"h100", 81559 * kMib, 989e12, 3.35e12, 40 * kGib},
                                     {"h200", 143771 * kMib, 989e12, 4.8e12, 40 * kGib}};
  return presets;
}

Result<Hardware> find_hardware(std::string_view name) {
  const auto presets = hardware_presets();
  const auto found = std::ranges::find(presets, name, &Hardware::name);
  if (found != presets.end()) return *found;
  std::string known;
  for (const Hardware& preset : presets) known += (known.empty() ? "" : ", ") + preset.name;
  return fail(ErrorCode::kInvalidArgument, "unknown hardware '" + std::string(name) + "'; choose one of: " + known);
}

std::span<const ServedModel> model_presets() {
  static const ServedModel presets[] = {
      bf16_model("yi-34b", 34e9, 60, 56, 8, 128), bf16_model("llama-3.1-8b", 8.03e9, 32, 32, 8, 128),
      bf16_model("llama-3.1-70b", 70.6e9, 80, 64, 8, 128), bf16_model("qwen2.5-7b", 7.62e9, 28, 28, 4, 128)};
  return presets;
}

Result<ServedModel> find_model(std::string_view name) {
  const auto presets = model_presets();
  const auto found = std::ranges::find(presets, name, &ServedModel::name);
  if (found != presets.end()) return *found;
  std::string known;
  for (const ServedModel& preset : presets) known += (known.empty() ? "" : ", ") + preset.name;
  return fail(ErrorCode::kInvalidArgument,
              "unknown model '" + std::string(name) + "'; choose one of: " + known + ", or a GGUF file");
}

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

Status check_model(const ServedModel& model) {
  CAIRN_TRY_VOID(in_range("the model's parameters", model.params, 1, 1e15));
  CAIRN_TRY_VOID(in_range("the model's weight bytes", model.weight_bytes, 1, 1e16));
  CAIRN_TRY_VOID(in_range("the model's layers", model.layers, 100'000));
  CAIRN_TRY_VOID(in_range("the model's heads", model.heads, 1'000'000));
  CAIRN_TRY_VOID(in_range("the model's KV heads", model.kv_heads, model.heads));
  CAIRN_TRY_VOID(in_range("the model's channels of a head", model.head_dim, 1'000'000));
  CAIRN_TRY_VOID(in_range("the model's layers with a window", model.window_layers, 0, model.layers));
  return in_range("the attention's operations per query, key and channel", model.attention_ops, 0, 100);
}

Status check_hardware(const Hardware& hardware) {
  CAIRN_TRY_VOID(in_range("memory in bytes", hardware.memory_bytes, 1, 1e18));
  CAIRN_TRY_VOID(in_range("operations per second", hardware.flops, 1, 1e21));
  CAIRN_TRY_VOID(in_range("memory bandwidth in bytes per second", hardware.bandwidth_bytes_per_s, 1, 1e18));
  CAIRN_TRY_VOID(in_range("swap bandwidth in bytes per second", hardware.swap_bytes_per_s, 1, 1e18));
  return in_range("operations per second of attention", hardware.attention_flops, 0, 1e21);
}

Status check_workload(const Workload& workload) {
  constexpr std::uint64_t kMax = 1'000'000'000;
  CAIRN_TRY_VOID(in_range("the context in tokens", workload.context, kMax));
  CAIRN_TRY_VOID(in_range("the number of users", workload.users, kMax));
  CAIRN_TRY_VOID(in_range("the tokens of an answer", workload.answer_tokens, kMax));
  return in_range("the rounds of a session", workload.rounds, kMax);
}

Status check_levers(const Levers& levers, const ServedModel& model) {
  if (levers.kv_heads > 0) CAIRN_TRY_VOID(in_range("KV heads", levers.kv_heads, model.heads));
  if (levers.kv_layers > 0) CAIRN_TRY_VOID(in_range("KV layers", levers.kv_layers, model.layers));
  CAIRN_TRY_VOID(in_range("bits per value", levers.bits_per_value, 0.01, 64));
  CAIRN_TRY_VOID(in_range("the keep ratio", levers.keep_ratio, 1e-6, 1));
  CAIRN_TRY_VOID(in_range("the read fraction", levers.read_fraction, 1e-6, 1));
  CAIRN_TRY_VOID(in_range("the devices in tensor parallel", levers.tensor_parallel, 100'000));
  if (levers.swap_bytes_per_s == 0) return {};
  return in_range("swap bandwidth in bytes per second", levers.swap_bytes_per_s, 1, 1e18);
}

void fit_rates(const ServedModel& model, const PrefillTimes& times, Hardware& hardware) {
  const double short_s = times.at_start_s / times.tokens, deep_s = times.at_depth_s / times.tokens;
  const double products = 2 * model.params;
  const double few = attention_ops_per_token(model, 0, times.tokens);
  const double many = attention_ops_per_token(model, times.depth, times.tokens);
  const double attention_s_per_op = std::max((deep_s - short_s) / (many - few), short_s / (products + few));
  const double products_s = std::max(short_s - few * attention_s_per_op, 0.1 * short_s);
  hardware.flops = products / products_s;
  hardware.attention_flops = 1 / attention_s_per_op;
}

}  // namespace cairn::capacity
