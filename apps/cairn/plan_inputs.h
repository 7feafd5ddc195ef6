// SPDX-License-Identifier: Apache-2.0
// What `cairn plan` computes with: a model by name or file, and this machine in numbers.
#pragma once

#include <string>

#include "cairn/base/result.h"
#include "cairn/capacity/serving_inputs.h"

namespace cairn::cli {

// Whether `model` names a file rather than a preset.
bool names_a_file(const std::string& model);

// A preset's numbers, or those of a GGUF file, whose weights are not read.
// Errors: kInvalidArgument (no such preset), those of GgufFile::open and ModelConfig.
Result<capacity::ServedModel> read_served_model(const std::string& model);

struct MeasuredHardware {
  capacity::Hardware hardware;
  double read_bytes_per_s = 0;  // of a plain sum over memory, which `bandwidth_bytes_per_s` is a share of
};

// This machine as the engine uses it on `path`. Memory is what the system has available; the rates are those reached in
// short runs: prefills of 128 tokens at depths 0 and 1024 (flops, attention) and a decode of 8 (bandwidth). The swap
// rate is left 0.
// Errors: those of Engine::load and prefill.
Result<MeasuredHardware> measure_hardware(const std::string& path, const capacity::ServedModel& model,
                                          unsigned threads);

}  // namespace cairn::cli
