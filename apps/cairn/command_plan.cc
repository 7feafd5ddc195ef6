// SPDX-License-Identifier: Apache-2.0
// cairn plan: how many users a device can serve at a context length, how fast, and what it is bound by.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/plan_report.h"
#include "cairn/block/shape.h"
#include "cairn/cache/window.h"
#include "cairn/capacity/machine.h"
#include "cairn/engine/model_config.h"
#include "cairn/engine/speed.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint32_t kPrefillTokens = 128, kDecodeTokens = 8, kDepth = 1024;

// Whether `model` names a file rather than a preset.
bool names_a_file(const std::string& model) {
  std::error_code ignored;
  return model.ends_with(".gguf") || model.contains('/') || std::filesystem::exists(model, ignored);
}

// A preset's numbers, or those of a GGUF file, whose weights are not read.
// Errors: kInvalidArgument (no such preset), those of GgufFile::open and ModelConfig.
Result<capacity::ServedModel> read_served_model(const std::string& model) {
  if (!names_a_file(model)) return capacity::find_model(model);
  CAIRN_TRY(const GgufFile file, GgufFile::open(model));
  CAIRN_TRY(const ModelConfig config, ModelConfig::from_gguf(file));
  capacity::ServedModel served;
  served.name = std::filesystem::path(model).filename().string();
  for (const GgufTensor& tensor : file.tensors()) {
    served.weight_bytes += static_cast<double>(tensor.data.size());
    const bool looked_up = tensor.name == "token_embd.weight" && !config.tied_output;
    if (!looked_up) served.params += static_cast<double>(tensor.cols()) * static_cast<double>(tensor.rows());
  }
  served.layers = config.layers;
  served.heads = config.heads;
  served.kv_heads = config.kv_heads;
  served.head_dim = config.head_dim;
  served.kv_slots = static_cast<std::uint32_t>(model_layers(config).front().shape.slots().size());
  for (const LayerSpec& layer : model_layers(config)) {
    if (layer.window == 0 || layer.window >= config.context) continue;
    ++served.window_layers;
    served.window = layer.window;
    served.window_kept = static_cast<std::uint32_t>(max_window_blocks(layer.window) * kBlockTokens);
  }
  return served;
}

struct MeasuredHardware {
  capacity::Hardware hardware;
  double read_bytes_per_s = 0;  // of a plain sum over memory, which `bandwidth_bytes_per_s` is a share of
};

// This machine as the engine uses it on `path`. Memory is what the system has available; the rates are those reached in
// short runs: prefills of 128 tokens at depths 0 and 1024 (flops, attention) and a decode of 8 (bandwidth). The swap
// rate is left 0.
// Errors: those of Engine::load and prefill.
Result<MeasuredHardware> measure_hardware(const std::string& path, const capacity::ServedModel& model,
                                          unsigned threads) {
  MeasuredHardware measured;
  capacity::Hardware& hardware = measured.hardware;
  hardware.name = capacity::this_machine().cpu;
  hardware.memory_bytes = capacity::available_memory();
  if (hardware.memory_bytes == 0) {
    return fail(ErrorCode::kIo, "cannot read MemAvailable from /proc/meminfo; give the memory with --memory");
  }
  ModelOptions options;
  options.model = path;
  options.threads = threads;
  options.context = kDepth + kPrefillTokens;
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options, /*reuse=*/false));
  measured.read_bytes_per_s = capacity::measure_read_bandwidth(engine->threads());
  CAIRN_TRY(const DepthRates shallow,
            measure_depth(*engine, 0, {.prefill = kPrefillTokens, .decode = kDecodeTokens, .repeat = 5}));
  CAIRN_TRY(const DepthRates deep,
            measure_depth(*engine, kDepth, {.prefill = kPrefillTokens, .decode = 0, .repeat = 5}));
  fit_rates(model,
            {.tokens = kPrefillTokens,
             .depth = kDepth,
             .at_start_s = kPrefillTokens / spread_of(shallow.prefill).median,
             .at_depth_s = kPrefillTokens / spread_of(deep.prefill).median},
            hardware);
  hardware.bandwidth_bytes_per_s = model.weight_bytes * spread_of(shallow.decode).median;
  return measured;
}

struct HardwareOptions {
  std::string preset;
  std::optional<double> memory_bytes, flops, attention_flops, bandwidth_bytes_per_s;  // instead of the preset's
  bool measure = false;
  std::string swap_dir;
  unsigned threads = 0;
};

struct PlanOptions {
  std::string model;
  HardwareOptions hardware;
  double attention_ops = 2;
  capacity::Workload workload;
  capacity::Levers levers;
  bool compare = false, json = false;
};

Status read_hardware(const PlanOptions& options, PlanInputs& inputs) {
  const HardwareOptions& wanted = options.hardware;
  if (wanted.measure) {
    if (!wanted.preset.empty()) {
      return fail(ErrorCode::kInvalidArgument, "--hardware and --measure exclude each other");
    }
    if (!names_a_file(options.model)) {
      return fail(ErrorCode::kInvalidArgument, "--measure runs the model: give a GGUF file with --model");
    }
    if (options.levers.swap_bytes_per_s == 0) {
      const Result<double> rate = capacity::measure_swap_rate(wanted.swap_dir);
      if (!rate) {
        return fail(rate.error().code,
                    rate.error().message + "; name another folder with --swap-dir, or a rate with --swap-bandwidth");
      }
      inputs.hardware.swap_bytes_per_s = *rate;
    }
    CAIRN_TRY(const MeasuredHardware measured, measure_hardware(options.model, inputs.model, wanted.threads));
    const double swap_bytes_per_s = inputs.hardware.swap_bytes_per_s;
    inputs.hardware = measured.hardware;
    inputs.hardware.swap_bytes_per_s = swap_bytes_per_s;
    inputs.read_bytes_per_s = measured.read_bytes_per_s;
  } else if (!wanted.preset.empty()) {
    CAIRN_TRY(inputs.hardware, capacity::find_hardware(wanted.preset));
  } else {
    inputs.hardware.name = "given hardware";
    if (!wanted.memory_bytes || !wanted.flops || !wanted.bandwidth_bytes_per_s ||
        options.levers.swap_bytes_per_s == 0) {
      return fail(ErrorCode::kInvalidArgument,
                  "name the hardware with --hardware, measure it with --measure, or give "
                  "--memory, --flops, --bandwidth and --swap-bandwidth");
    }
  }
  capacity::Hardware& hardware = inputs.hardware;
  if (hardware.swap_bytes_per_s == 0) {  // then the option describes the hardware and is no lever
    hardware.swap_bytes_per_s = std::exchange(inputs.levers.swap_bytes_per_s, 0);
  }
  hardware.memory_bytes = wanted.memory_bytes.value_or(hardware.memory_bytes);
  hardware.flops = wanted.flops.value_or(hardware.flops);
  hardware.attention_flops = wanted.attention_flops.value_or(hardware.attention_flops);
  hardware.bandwidth_bytes_per_s = wanted.bandwidth_bytes_per_s.value_or(hardware.bandwidth_bytes_per_s);
  return {};
}

// What needs no measurement is refused before one is made.
Status check_options(const PlanOptions& options, const PlanInputs& inputs) {
  CAIRN_TRY_VOID(capacity::check_model(inputs.model));
  CAIRN_TRY_VOID(capacity::check_workload(inputs.workload));
  CAIRN_TRY_VOID(capacity::check_levers(inputs.levers, inputs.model));
  if (options.compare && inputs.levers == capacity::Levers()) {
    return fail(ErrorCode::kInvalidArgument,
                "--compare needs at least one lever, as --bits 4.5 or --keep 0.25; see 'cairn plan --help'");
  }
  return {};
}

Result<std::vector<PlannedRow>> compare_levers(const PlanInputs& inputs) {
  std::vector<PlannedRow> planned;
  for (const auto& [name, levers] : capacity::lever_rows(inputs.levers)) {
    CAIRN_TRY(capacity::ServingEstimate plan,
              capacity::plan_serving(inputs.model, inputs.hardware, inputs.workload, levers));
    planned.push_back({name, levers, plan});
  }
  return planned;
}

void print_json(Json report) {
  std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
}

Status run_plan(const PlanOptions& options) {
  PlanInputs inputs;
  inputs.workload = options.workload;
  inputs.levers = options.levers;
  CAIRN_TRY(inputs.model, read_served_model(options.model));
  inputs.model.attention_ops = options.attention_ops;
  CAIRN_TRY_VOID(check_options(options, inputs));
  CAIRN_TRY_VOID(read_hardware(options, inputs));
  Json report = inputs_json(inputs);
  if (options.compare) {
    CAIRN_TRY(const std::vector<PlannedRow> rows, compare_levers(inputs));
    if (!options.json) return std::cout << comparison_text(inputs, rows), Status();
    report["plans"] = Json::array();
    for (const PlannedRow& row : rows) {
      Json entry = {{"name", row.name}};
      entry.update(plan_json(row.plan));
      report.at("plans").push_back(std::move(entry));
    }
  } else {
    CAIRN_TRY(const capacity::ServingEstimate plan,
              capacity::plan_serving(inputs.model, inputs.hardware, inputs.workload, inputs.levers));
    if (!options.json) return std::cout << plan_text(inputs, plan), Status();
    report["plan"] = plan_json(plan);
  }
  print_json(std::move(report));
  return {};
}

void add_hardware_options(CLI::App& command, HardwareOptions& options) {
  const char* group = "Hardware";
  command.add_option("--hardware", options.preset, "a100-80g, h100 or h200")->group(group);
  command.add_flag("--measure", options.measure, "This machine, measured in short runs of the model (a GGUF file)")
      ->group(group);
  command.add_option("--memory", options.memory_bytes, "Bytes of memory, instead of the above")->group(group);
  command.add_option("--flops", options.flops, "Operations per second, as 312e12")->group(group);
  command.add_option("--attention-flops", options.attention_flops, "The same for attention, if it differs")
      ->group(group);
  command.add_option("--bandwidth", options.bandwidth_bytes_per_s, "Bytes per second of memory, as 2e12")->group(group);
  command.add_option("--swap-dir", options.swap_dir, "Folder whose speed --measure takes for swapping")->group(group);
  command.add_option("-t,--threads", options.threads, "Threads of --measure; 0 is one per core")->group(group);
}

void add_lever_options(CLI::App& command, capacity::Levers& levers) {
  const char* group = "Levers";
  command.add_option("--kv-heads", levers.kv_heads, "Heads that keys and values are kept for; 0: the model's")
      ->group(group);
  command.add_option("--kv-layers", levers.kv_layers, "Layers that keep keys and values; 0: all")->group(group);
  command.add_option("--bits", levers.bits_per_value, "Bits per key or value, metadata included")
      ->capture_default_str()
      ->group(group);
  command.add_option("--keep", levers.keep_ratio, "Share of the tokens that stay in the cache")
      ->capture_default_str()
      ->group(group);
  command.add_option("--read", levers.read_fraction, "Share of the cache that a decoding step reads")
      ->capture_default_str()
      ->group(group);
  command.add_option("--tensor-parallel", levers.tensor_parallel, "Devices that work as one")
      ->capture_default_str()
      ->group(group);
  command.add_option("--swap-bandwidth", levers.swap_bytes_per_s, "Bytes per second of the link to inactive caches")
      ->group(group);
}

}  // namespace

void add_plan_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("plan", "Predict what serving long contexts costs, and what it is bound by");
  auto options = std::make_shared<PlanOptions>();
  add_model_argument(*command, options->model,
                     "yi-34b, llama-3.1-8b, llama-3.1-70b, qwen2.5-7b, or a model file (GGUF)");
  command->add_option("--context", options->workload.context, "Tokens of a session's context")->required();
  command->add_option("--users", options->workload.users, "Users at the same time")->capture_default_str();
  command->add_option("--answer", options->workload.answer_tokens, "Tokens of an answer")->capture_default_str();
  command->add_option("--rounds", options->workload.rounds, "Answers per session")->capture_default_str();
  command
      ->add_option("--attention-ops", options->attention_ops,
                   "Operations per query, key and channel: 2 as in the paper, 4 for both products of attention")
      ->capture_default_str();
  add_hardware_options(*command, options->hardware);
  add_lever_options(*command, options->levers);
  command->add_flag("--compare", options->compare, "One row for the baseline, each lever alone, and all together");
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options, &outcome] { outcome = run_plan(*options); });
}

}  // namespace cairn::cli
