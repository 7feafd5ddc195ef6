// SPDX-License-Identifier: Apache-2.0
// Test support: plans with a cold form for a small model.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "cairn/engine/engine.h"
#include "cairn/testing/cold_tables.h"
#include "cairn/testing/tiny_engine.h"

namespace cairn {

// The plan `codec`, where it ends in "+cold", with tables of a cold form for the model, that fit it badly; else as it
// is. Empty after a failure.
inline std::string with_cold_tables(std::span<const std::byte> model, const std::string& codec) {
  static std::atomic<int> number{0};
  if (!codec.ends_with("+cold")) return codec;
  const auto engine = load_tiny(model, EngineOptions());
  if (!engine) return "";
  const PageShape shape = (*engine)->config().each_layer.front().cache.shape;
  const auto tables = testing::make_cold_tables((*engine)->recipe().weights, (*engine)->config().layers, shape);
  const auto path = std::filesystem::temp_directory_path() /
                    ("cairn-tiny-" + std::to_string(::getpid()) + "-" + std::to_string(++number) + ".cold");
  if (!tables || !tables->write(path.string())) return "";
  return codec + "=" + path.string();
}

}  // namespace cairn
