// SPDX-License-Identifier: Apache-2.0
// What `cairn run` was asked to do.
#pragma once

#include <cstdint>
#include <string>

#include "apps/cairn/model_options.h"
#include "cairn/engine/generate.h"
#include "cairn/text/sampler.h"

namespace cairn {

struct RunOptions {
  ModelOptions model;
  std::string prompt;
  std::string file;
  bool has_prompt = false;
  bool has_file = false;
  GenerationOptions generation;
  SamplerOptions sampler;
  std::string chat_template;  // empty: from the file
  std::string system;
  bool raw = false;
  bool stats = false;
  bool json = false;

  bool interactive() const { return !has_prompt && !has_file; }
};

}  // namespace cairn
