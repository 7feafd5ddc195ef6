// SPDX-License-Identifier: Apache-2.0
// What the cost of serving depends on: a device, a model, what users ask, and what can be changed; by name or in
// numbers, and the ranges in which plan_serving gives finite ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/result.h"

namespace cairn::capacity {

enum class Resource : std::uint8_t { kMemorySize, kFlops, kBandwidth, kSwapLink };
inline constexpr std::array kResources = {Resource::kMemorySize, Resource::kFlops, Resource::kBandwidth,
                                          Resource::kSwapLink};
std::string_view resource_name(Resource resource);  // "memory size", "flops", "memory bandwidth", "swap link"

// One device. Rates are peaks as vendors state them, or measurements; immutable value.
struct Hardware {
  std::string name;
  double memory_bytes = 0;
  double flops = 0;                  // operations per second in the weights' type; a multiply-add is two
  double bandwidth_bytes_per_s = 0;  // of device memory
  double swap_bytes_per_s = 0;       // of the link to where inactive caches wait, in each direction
  double attention_flops = 0;        // operations per second of attention in a prefill; 0: as flops
};

// The same device with twice of one resource.
Hardware doubled(Hardware hardware, Resource resource);

// "a100-80g", "h100", "h200".
std::span<const Hardware> hardware_presets();

// kInvalidArgument with the list of known names when there is no such preset.
Result<Hardware> find_hardware(std::string_view name);

// The few numbers of a transformer that the cost of serving it depends on. Immutable value.
struct ServedModel {
  std::string name;
  double params = 0;        // that every token is multiplied with
  double weight_bytes = 0;  // in memory, and read by every step
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t kv_slots = 2;  // rows of a head that are kept of a token: key and value, or 1 where a key holds both
  // Operations per query, visible key and channel of all heads. 2 is how the paper counts (docs/capacity.md); scores
  // and weighted values together are 4.
  double attention_ops = 2;

  // Of the layers, those whose queries see `window` positions alone, and how many positions such a layer keeps: as many
  // where that is less than `window`.
  std::uint32_t window_layers = 0;
  std::uint32_t window = 0;
  std::uint32_t window_kept = 0;

  double attention_width() const { return static_cast<double>(heads) * head_dim; }
  // Positions that a layer keeps of n tokens, as the mean of all layers.
  double kept(double n) const;
  // Positions that the query behind n tokens sees, as the mean of all layers.
  double seen(double n) const;
  // Pairs of a query and a position it sees among n tokens, as the mean of all layers: half of all without windows.
  double pairs(double n) const;
};

// bf16: "yi-34b", "llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b".
std::span<const ServedModel> model_presets();

// kInvalidArgument with the list of known names when there is no such preset.
Result<ServedModel> find_model(std::string_view name);

struct Workload {
  std::uint64_t context = 0;  // tokens of one session, 1 to 1e9
  std::uint64_t users = 1;    // 1 to 1e9
  std::uint64_t answer_tokens = 250;
  std::uint64_t rounds = 1;  // answers per session
};

// What can be changed. The default changes nothing. None of them touches the arithmetic of a prefill but
// tensor_parallel.
struct Levers {
  std::uint32_t kv_heads = 0;         // that keys and values are kept for; 0: the model's
  std::uint32_t kv_layers = 0;        // that keep keys and values of their own; 0: all
  double bits_per_value = 16;         // with all metadata, 0.01 to 64
  double keep_ratio = 1;              // tokens that stay in the cache, 1e-6 to 1
  double read_fraction = 1;           // of the kept KV that a decoding step reads, 1e-6 to 1
  std::uint32_t tensor_parallel = 1;  // devices of one replica
  double swap_bytes_per_s = 0;        // of the link; 0: the hardware's

  bool operator==(const Levers&) const = default;
};

// A row of a comparison.
struct LeverRow {
  std::string name;  // "baseline", "4.5 bits", ..., "all together"
  Levers levers;
};

// Nothing changed, each lever alone, all together. The baseline alone when `levers` changes nothing; no "all together"
// for a single lever.
std::vector<LeverRow> lever_rows(const Levers& levers);

inline constexpr double kMaxConcurrency = 1e15;

// Each: kInvalidArgument, naming the number, its value and its range.
Status check_model(const ServedModel& model);
Status check_hardware(const Hardware& hardware);
Status check_workload(const Workload& workload);
Status check_levers(const Levers& levers, const ServedModel& model);

// Seconds of two prefills of `tokens` tokens each, one at the start of a sequence and one behind `depth` tokens.
struct PrefillTimes {
  double tokens = 0, depth = 0;
  double at_start_s = 0, at_depth_s = 0;
};

// Sets flops and attention_flops, of a device that takes these times: two equations and two unknowns. Where noise makes
// the deep prefill look as fast as the other, attention is taken for as fast as products. Requires: positive numbers.
void fit_rates(const ServedModel& model, const PrefillTimes& times, Hardware& hardware);

}  // namespace cairn::capacity
