// SPDX-License-Identifier: Apache-2.0
// What a model file holds, as one JSON document; the text output of `cairn inspect` is printed from it too.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cairn/gguf/gguf.h"

namespace cairn {

struct InspectParts {
  bool tensors = false;
  bool metadata = false;
  bool digest = false;  // reads the whole file; left out for a model that cannot be run
};

// Never fails on a model that cannot be run: "runnable" and "problem" say what is in the way.
nlohmann::ordered_json inspect_report(const GgufFile& file, const std::string& path, const InspectParts& parts);

}  // namespace cairn
