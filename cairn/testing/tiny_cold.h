// SPDX-License-Identifier: Apache-2.0
// Test support: plans with a cold form for a small model.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "cairn/engine/engine.h"
#include "cairn/testing/cold_tables.h"
#include "cairn/testing/tiny_engine.h"

namespace cairn {

// The plan `codec`, where it ends in "+cold", with a file of tables for the engine's model, that fit it badly; else as
// it is, and also where the model can have none.
inline std::string with_cold_tables(const Engine& engine, const std::string& codec) {
  const PageShape shape = engine.config().each_layer.front().cache.shape;
  if (!codec.ends_with("+cold") || !cold::check_shape(shape)) return codec;
  const auto tables = testing::make_cold_tables(engine.recipe().weights, engine.config().layers, shape);
  const auto path = std::filesystem::temp_directory_path() /
                    ("cairn-tiny-" + std::to_string(::getpid()) + "-" + tables->digest().hex().substr(0, 16) + ".cold");
  return tables->write(path.string()) ? codec + "=" + path.string() : codec;
}
inline std::string with_cold_tables(std::span<const std::byte> model, const std::string& codec) {
  const auto engine = load_tiny(model, EngineOptions());
  return engine ? with_cold_tables(**engine, codec) : codec;
}

}  // namespace cairn
