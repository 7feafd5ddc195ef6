// SPDX-License-Identifier: Apache-2.0
// Test support: an engine on a small model that exists only for the test.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>

#include "cairn/engine/engine.h"

namespace cairn {

// Loads from a file of its own, which is deleted at once: the mapping stays.
inline Result<std::unique_ptr<Engine>> load_tiny(std::span<const std::byte> model, const EngineOptions& options) {
  static std::atomic<int> number{0};
  const auto path = std::filesystem::temp_directory_path() /
                    ("cairn-tiny-" + std::to_string(::getpid()) + "-" + std::to_string(++number) + ".gguf");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(model.data()), std::ssize(model));
  auto engine = Engine::load(path.string(), options);
  std::filesystem::remove(path);
  return engine;
}

}  // namespace cairn
