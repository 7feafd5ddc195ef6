// SPDX-License-Identifier: Apache-2.0
#include "cairn/capacity/serving_plan.h"

#include <algorithm>
#include <cmath>

namespace cairn::capacity {
namespace {

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

Phase slower_of(double ops, double flops_s, double bytes, double bytes_s) {
  const bool arithmetic = flops_s > bytes_s;
  return {arithmetic ? flops_s : bytes_s, ops, bytes, arithmetic ? Resource::kFlops : Resource::kBandwidth};
}

// Of as many tokens in each layer.
double kv_bytes_of(double tokens, const ServedModel& model, const Levers& levers) {
  const double layers = levers.kv_layers > 0 ? levers.kv_layers : model.layers;
  const double heads = levers.kv_heads > 0 ? levers.kv_heads : model.kv_heads;
  return model.kv_slots * layers * heads * model.head_dim * levers.bits_per_value / 8 * levers.keep_ratio * tokens;
}

double attention_rate(const Hardware& hardware) {
  return hardware.attention_flops > 0 ? hardware.attention_flops : hardware.flops;
}

Phase prefill_phase(const ServedModel& model, const Hardware& hardware, const Workload& workload, double kv_bytes) {
  const double tokens = number(workload.context);
  const double products = 2 * model.params * tokens;
  const double attention = model.pairs(tokens) * model.attention_ops * model.layers * model.attention_width();
  const double bytes = model.weight_bytes + kv_bytes;
  return slower_of(products + attention, products / hardware.flops + attention / attention_rate(hardware), bytes,
                   bytes / hardware.bandwidth_bytes_per_s);
}

Phase decode_phase(const ServedModel& model, const Hardware& hardware, const Workload& workload, const Levers& levers,
                   std::uint64_t batch) {
  const double steps = number(workload.answer_tokens) * number(batch);
  const double seen = model.seen(number(workload.context));
  const double read_tokens = seen * levers.keep_ratio * levers.read_fraction;
  const double read_bytes = kv_bytes_of(seen, model, levers) * levers.read_fraction;
  const double products = steps * 2 * model.params;
  const double attention = steps * read_tokens * model.attention_ops * model.layers * model.attention_width();
  const double bytes = number(workload.answer_tokens) * (model.weight_bytes + number(batch) * read_bytes);
  return slower_of(products + attention, products / hardware.flops + attention / attention_rate(hardware), bytes,
                   bytes / hardware.bandwidth_bytes_per_s);
}

// Devices of one replica as one device: their memory, arithmetic and bandwidth add up.
Hardware replica_of(Hardware hardware, const Levers& levers) {
  const double devices = levers.tensor_parallel;
  hardware.memory_bytes *= devices;
  hardware.flops *= devices;
  hardware.attention_flops *= devices;
  hardware.bandwidth_bytes_per_s *= devices;
  if (levers.swap_bytes_per_s > 0) hardware.swap_bytes_per_s = levers.swap_bytes_per_s;
  return hardware;
}

ServingEstimate plan_replica(const ServedModel& model, const Hardware& replica, const Workload& workload,
                             const Levers& levers) {
  ServingEstimate plan;
  plan.memory_bytes = replica.memory_bytes;
  plan.weight_bytes = model.weight_bytes;
  const double tokens = number(workload.context);
  plan.kv_bytes_per_session = kv_bytes_of(model.kept(tokens), model, levers);
  const double places = (plan.memory_bytes - plan.weight_bytes) / plan.kv_bytes_per_session;
  plan.concurrency = static_cast<std::uint64_t>(std::clamp(std::floor(places), 0.0, kMaxConcurrency));
  plan.batch = std::min(workload.users, plan.concurrency);
  plan.switches = plan.batch > 0 && workload.users > plan.concurrency;
  plan.prefill = prefill_phase(model, replica, workload, plan.kv_bytes_per_session);
  // Records of blocks have the pages of all layers; what is read again is what a session keeps.
  const double swapped = kv_bytes_of(tokens, model, levers) + plan.kv_bytes_per_session;
  plan.swap = {swapped / replica.swap_bytes_per_s, 0, swapped, Resource::kSwapLink};
  if (plan.batch == 0) return plan;
  plan.decode = decode_phase(model, replica, workload, levers, plan.batch);
  const double round_s = plan.decode.seconds / number(plan.batch) + (plan.switches ? plan.swap.seconds : 0);
  plan.session_s = plan.prefill.seconds + number(workload.rounds) * round_s;
  plan.sessions_per_hour = 3600 / plan.session_s;
  plan.sessions_per_hour_per_device = plan.sessions_per_hour / levers.tensor_parallel;
  return plan;
}

}  // namespace

Result<ServingEstimate> plan_serving(const ServedModel& model, const Hardware& hardware, const Workload& workload,
                                     const Levers& levers) {
  CAIRN_TRY_VOID(check_model(model));
  CAIRN_TRY_VOID(check_hardware(hardware));
  CAIRN_TRY_VOID(check_workload(workload));
  CAIRN_TRY_VOID(check_levers(levers, model));
  const Hardware replica = replica_of(hardware, levers);
  ServingEstimate plan = plan_replica(model, replica, workload, levers);
  for (const Resource resource : kResources) {
    plan.sessions_per_hour_if_doubled[static_cast<std::size_t>(resource)] =
        plan_replica(model, doubled(replica, resource), workload, levers).sessions_per_hour;
  }
  if (plan.concurrency > 0) {
    const auto& gains = plan.sessions_per_hour_if_doubled;
    plan.binds = kResources[static_cast<std::size_t>(std::ranges::max_element(gains) - gains.begin())];
  }
  return plan;
}

}  // namespace cairn::capacity
