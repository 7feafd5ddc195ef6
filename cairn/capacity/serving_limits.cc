// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/serving_limits.h"

#include <cstdio>
#include <string>

namespace cairn {
namespace {

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

}  // namespace

Status check_model(const ServedModel& model) {
  CAIRN_TRY_VOID(in_range("the model's parameters", model.params, 1, 1e15));
  CAIRN_TRY_VOID(in_range("the model's weight bytes", model.weight_bytes, 1, 1e16));
  CAIRN_TRY_VOID(in_range("the model's layers", model.layers, 100'000));
  CAIRN_TRY_VOID(in_range("the model's heads", model.heads, 1'000'000));
  CAIRN_TRY_VOID(in_range("the model's KV heads", model.kv_heads, model.heads));
  CAIRN_TRY_VOID(in_range("the model's channels of a head", model.head_dim, 1'000'000));
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

}  // namespace cairn
