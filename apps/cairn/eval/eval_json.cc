// SPDX-License-Identifier: Apache-2.0
#include "apps/cairn/eval/eval_json.h"

#include "apps/cairn/terminal.h"

namespace cairn::cli {

Json result_head(std::string_view format, const Engine& engine, const std::string& file) {
  const ModelConfig& config = engine.config();
  return {{"format", format},
          {"version", CAIRN_VERSION},
          {"commit", CAIRN_COMMIT},
          {"model",
           {{"file", file},
            {"name", config.name},
            {"weights_digest", engine.recipe().weights.hex()},
            {"layers", config.layers},
            {"kv_heads", config.kv_heads},
            {"head_dim", config.head_dim}}}};
}

std::string format_estimate(const Estimate& estimate, int digits) {
  return format_number(estimate.value, digits) + " [" + format_number(estimate.low, digits) + ", " +
         format_number(estimate.high, digits) + "]";
}

}  // namespace cairn::cli
