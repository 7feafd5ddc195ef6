// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/plan_inputs.h"

#include <filesystem>

#include "apps/cairn/model_options.h"
#include "cairn/capacity/machine.h"
#include "cairn/engine/model_config.h"
#include "cairn/engine/speed.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

constexpr std::uint32_t kPrefillTokens = 128, kDecodeTokens = 8, kDepth = 1024;

}  // namespace

bool names_a_file(const std::string& model) {
  std::error_code ignored;
  return model.ends_with(".gguf") || model.contains('/') || std::filesystem::exists(model, ignored);
}

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
  return served;
}

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

}  // namespace cairn::cli
