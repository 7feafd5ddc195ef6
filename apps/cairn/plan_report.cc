// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/plan_report.h"

#include <algorithm>
#include <cstdio>

#include "apps/cairn/terminal.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

// Three significant digits: "0.0893", "14.3", "1520".
std::string brief(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, value >= 1000 && value < 1e7 ? "%.0f" : "%.3g", value);
  return buffer;
}

std::string decimal(double value, const char* unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t prefix = 0;
  for (; value >= 1000 && prefix + 1 < std::size(kPrefixes); value /= 1000) ++prefix;
  return brief(value) + " " + kPrefixes[prefix] + unit;
}

std::string count(std::uint64_t number, const char* what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

// Columns flush left, the last as long as it is.
std::string flush_left(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(widths[i] + 2 - row[i].size(), ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

// What one of `steps` equal steps costs, and the rate of it.
std::string rate_of(const capacity::Phase& phase, std::uint64_t steps, const capacity::Hardware& hardware,
                    const capacity::Levers& levers) {
  const double parts = static_cast<double>(steps);
  const std::string prefix = steps == 1 ? "" : count(steps, "step") + " of ";
  const double devices = levers.tensor_parallel;
  if (phase.binds == capacity::Resource::kFlops) {
    const bool one_rate = hardware.attention_flops == 0;
    return prefix + decimal(phase.ops / parts, "op") + " at " + decimal(hardware.flops * devices, "op/s") +
           (one_rate ? "" : ", attention at " + decimal(hardware.attention_flops * devices, "op/s"));
  }
  return prefix + format_bytes(phase.bytes / parts) + " at " + decimal(hardware.bandwidth_bytes_per_s * devices, "B/s");
}

std::string lever_list(const capacity::Levers& levers) {
  std::string text;
  for (const capacity::LeverRow& row : capacity::lever_rows(levers)) {
    if (row.name == "baseline" || row.name == "all together") continue;
    text += (text.empty() ? "" : ", ") + row.name;
  }
  return text;
}

std::string head(const PlanInputs& inputs) {
  const auto& [model, hardware, read, workload, levers] = inputs;
  std::string text = model.name + " on " + hardware.name + ": " + count(workload.context, "token") + " of context, " +
                     count(workload.users, "user") + ", " + count(workload.rounds, "answer") + " of " +
                     count(workload.answer_tokens, "token") + " per session\n";
  if (read > 0) {
    text += "measured: memory read at " + decimal(read, "B/s") + ", of which decoding reaches " +
            format_number(100 * hardware.bandwidth_bytes_per_s / read, 0) + " %\n";
  }
  return text;
}

std::string no_room(const capacity::ServingEstimate& plan) {
  return "Not one session fits: weights of " + format_bytes(plan.weight_bytes) + " and KV of " +
         format_bytes(plan.kv_bytes_per_session) + " need " +
         format_bytes(plan.weight_bytes + plan.kv_bytes_per_session) + ", the memory has " +
         format_bytes(plan.memory_bytes) + ".\nMemory size binds: " +
         (plan.weight_bytes >= plan.memory_bytes ? "the weights alone do not fit; more devices or smaller weights"
                                                 : "a shorter context, fewer KV bytes per token or more devices") +
         " would help.\n";
}

std::string doubling(const capacity::ServingEstimate& plan) {
  std::vector<std::vector<std::string>> rows = {{"twice the", "sessions per hour"}};
  for (const capacity::Resource resource : capacity::kResources) {
    const double gain = plan.sessions_per_hour_if_doubled[static_cast<std::size_t>(resource)];
    rows.push_back({std::string(capacity::resource_name(resource)),
                    brief(gain) + "  (x " + format_number(gain / plan.sessions_per_hour, 2) + ")"});
  }
  return flush_left(rows) + "\nOverall " + std::string(capacity::resource_name(plan.binds)) +
         " binds: doubling it gains the most.\n";
}

Json phase_json(const capacity::Phase& phase) {
  return {{"seconds", phase.seconds},
          {"ops", phase.ops},
          {"bytes", phase.bytes},
          {"bound_by", capacity::resource_name(phase.binds)}};
}

}  // namespace

Json inputs_json(const PlanInputs& inputs) {
  const auto& [model, hardware, read, workload, levers] = inputs;
  Json json;
  json["model"] = {{"name", model.name},
                   {"params", model.params},
                   {"weight_bytes", model.weight_bytes},
                   {"layers", model.layers},
                   {"heads", model.heads},
                   {"kv_heads", model.kv_heads},
                   {"head_dim", model.head_dim},
                   {"kv_slots", model.kv_slots},
                   {"window_layers", model.window_layers},
                   {"window", model.window},
                   {"window_kept", model.window_kept},
                   {"attention_ops", model.attention_ops}};
  json["hardware"] = {{"name", hardware.name},
                      {"measured", read > 0},
                      {"memory_bytes", hardware.memory_bytes},
                      {"flops", hardware.flops},
                      {"attention_flops", hardware.attention_flops > 0 ? hardware.attention_flops : hardware.flops},
                      {"bandwidth_bytes_per_s", hardware.bandwidth_bytes_per_s},
                      {"swap_bytes_per_s", hardware.swap_bytes_per_s}};
  if (read > 0) json["hardware"]["read_bytes_per_s"] = read;
  json["workload"] = {{"context", workload.context},
                      {"users", workload.users},
                      {"answer_tokens", workload.answer_tokens},
                      {"rounds", workload.rounds}};
  return json;
}

Json plan_json(const capacity::ServingEstimate& plan) {
  const bool fits = plan.concurrency > 0;
  Json json = {{"fits", fits},
               {"memory_bytes", plan.memory_bytes},
               {"weight_bytes", plan.weight_bytes},
               {"kv_bytes_per_session", plan.kv_bytes_per_session},
               {"concurrency", plan.concurrency},
               {"batch", plan.batch},
               {"prefill", phase_json(plan.prefill)},
               {"decode", fits ? phase_json(plan.decode) : Json()},
               {"switch", phase_json(plan.swap)},
               {"switches", plan.switches},
               {"session_s", fits ? Json(plan.session_s) : Json()},
               {"sessions_per_hour", plan.sessions_per_hour},
               {"sessions_per_hour_per_device", plan.sessions_per_hour_per_device},
               {"bound_by", capacity::resource_name(plan.binds)}};
  for (const capacity::Resource resource : capacity::kResources) {
    json["sessions_per_hour_if_doubled"][std::string(capacity::resource_name(resource))] =
        plan.sessions_per_hour_if_doubled[static_cast<std::size_t>(resource)];
  }
  return json;
}

std::string plan_text(const PlanInputs& inputs, const capacity::ServingEstimate& plan) {
  const auto& [model, hardware, read, workload, levers] = inputs;
  const std::string changed = lever_list(levers);
  std::string text = head(inputs) + (changed.empty() ? "" : "with " + changed + "\n") + "\n";
  if (plan.concurrency == 0) return text + no_room(plan);
  const double room = plan.memory_bytes - plan.weight_bytes;
  const double swap_rate = plan.swap.bytes / plan.swap.seconds;
  std::vector<std::vector<std::string>> rows = {{"metric", "value", "bound by", "from"}};
  const auto add = [&](const char* metric, const std::string& value, capacity::Resource bound,
                       const std::string& from) {
    rows.push_back({metric, value, std::string(capacity::resource_name(bound)), from});
  };
  add("concurrency", std::to_string(plan.concurrency), capacity::Resource::kMemorySize,
      format_bytes(room) + " beside the weights, " + format_bytes(plan.kv_bytes_per_session) + " of KV per session");
  add("prefill", brief(plan.prefill.seconds) + " s", plan.prefill.binds, rate_of(plan.prefill, 1, hardware, levers));
  add("decode", brief(plan.decode.seconds) + " s", plan.decode.binds,
      rate_of(plan.decode, workload.answer_tokens, hardware, levers) + ", " + count(plan.batch, "session") +
          " at once");
  add("switch", brief(plan.swap.seconds) + " s", plan.swap.binds,
      format_bytes(plan.swap.bytes) + " at " + decimal(swap_rate, "B/s") + ", one out and one in" +
          (plan.switches ? "" : "; not needed"));
  text += flush_left(rows);
  text += "\nA session takes " + brief(plan.session_s) + " s of the device: " + brief(plan.sessions_per_hour) +
          " sessions per hour";
  if (levers.tensor_parallel > 1) text += ", " + brief(plan.sessions_per_hour_per_device) + " per device";
  return text + ".\n\n" + doubling(plan);
}

std::string comparison_text(const PlanInputs& inputs, const std::vector<PlannedRow>& planned) {
  std::vector<std::vector<std::string>> rows = {{"", "KV/session", "concurrency", "prefill s", "decode s", "switch s",
                                                 "sessions/h", "per device", "gain", "bound by"}};
  const double first = planned.front().plan.sessions_per_hour_per_device;
  for (const auto& [name, levers, plan] : planned) {
    const bool fits = plan.concurrency > 0;
    rows.push_back({name, format_bytes(plan.kv_bytes_per_session), std::to_string(plan.concurrency),
                    brief(plan.prefill.seconds), fits ? brief(plan.decode.seconds) : "-", brief(plan.swap.seconds),
                    fits ? brief(plan.sessions_per_hour) : "-", fits ? brief(plan.sessions_per_hour_per_device) : "-",
                    fits && first > 0 ? "x " + format_number(plan.sessions_per_hour_per_device / first, 2) : "-",
                    std::string(capacity::resource_name(plan.binds))});
  }
  std::string text = head(inputs) + "\n" + format_table(rows);
  const bool all_fit = std::ranges::all_of(planned, [](const PlannedRow& row) { return row.plan.concurrency > 0; });
  return text + (all_fit ? "" : "\n\"-\": not one session fits the memory.\n");
}

}  // namespace cairn::cli
