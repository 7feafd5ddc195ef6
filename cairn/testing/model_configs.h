// SPDX-License-Identifier: Apache-2.0
// Test support: what the engine reads from tiny models, and how it refuses changed ones.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "cairn/base/thread_pool.h"
#include "cairn/engine/model_config.h"
#include "cairn/engine/model_digest.h"
#include "cairn/testing/gguf_builder.h"
#include "cairn/testing/tiny_model.h"

namespace cairn::testing {

inline Result<ModelConfig> config_of(const GgufBuilder& builder) {
  const std::vector<std::byte> bytes = builder.build();
  const auto file = GgufFile::parse(bytes);
  if (!file) return std::unexpected(file.error());
  return ModelConfig::from_gguf(*file);
}

// What keeps the blocks of two models apart: the digest of what they compute with, and how their layers are unlike and
// rotate.
inline std::string identity_of(const GgufBuilder& builder) {
  const std::vector<std::byte> bytes = builder.build();
  const auto file = GgufFile::parse(bytes);
  const auto config = ModelConfig::from_gguf(*file);
  EXPECT_TRUE(config) << config.error().message;
  ThreadPool pool(1);
  ModelDigest digest(*config);
  for (const GgufTensor& tensor : file->tensors()) digest.add(tensor, pool);
  return digest.finish().hex() + unlike_layers(model_layers(*config)) + canonical_rope(config->rope);
}

// The tiny model after `change` must be refused with this code and a message that holds `part`.
inline void expect_refusal(const std::function<void(GgufBuilder&)>& change, ErrorCode code, const std::string& part,
                           const TinyModel& model = {}) {
  GgufBuilder builder = model.builder();
  change(builder);
  const auto config = config_of(builder);
  ASSERT_FALSE(config) << "accepted; expected: " << part;
  EXPECT_EQ(error_code_name(config.error().code), error_code_name(code)) << config.error().message;
  EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message << " lacks " << part;
}

inline std::function<void(GgufBuilder&)> with(const std::string& key, auto value) {
  return [=](GgufBuilder& builder) { builder.erase(key).set(key, value); };
}

inline std::function<void(GgufBuilder&)> without(const std::string& key) {
  return [=](GgufBuilder& builder) { builder.erase(key); };
}

}  // namespace cairn::testing
