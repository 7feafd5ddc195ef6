// SPDX-License-Identifier: Apache-2.0
// Test support: what an engine says to a fixed text, step by step, to be compared bit by bit.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cairn/engine/engine.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {

using Logits = std::vector<float>;

// A model of three layers and a context of 4,096 tokens.
inline Result<std::unique_ptr<Engine>> load_three_layers(const std::string& arch, const EngineOptions& options) {
  TinyModel tiny;
  tiny.arch = arch;
  tiny.type = TinyModel::kQ8_0;
  tiny.layers = 3;
  tiny.ffn = 192;
  tiny.context = 4096;
  return load_tiny(tiny.builder().build(), options);
}

inline std::vector<TokenId> looping_text(std::size_t size, std::size_t salt = 5) {
  std::vector<TokenId> tokens(size);
  for (std::size_t i = 0; i < size; ++i) tokens[i] = static_cast<TokenId>(3 + (i * i + salt * i) % 37);
  return tokens;
}

// Computes a prompt at the end of the sequence: the logits of its last token and of `steps` fixed tokens after it.
inline std::vector<Logits> answer(Engine& engine, Sequence& sequence, std::span<const TokenId> prompt,
                                  std::size_t steps) {
  std::vector<Logits> all;
  const auto logits = engine.prefill(sequence, prompt);
  EXPECT_TRUE(logits) << logits.error().message;
  if (!logits) return all;
  all.emplace_back(logits->begin(), logits->end());
  for (const TokenId id : looping_text(steps, 11)) {
    const auto next = engine.decode(sequence, id);
    EXPECT_TRUE(next) << next.error().message;
    if (!next) return all;
    all.emplace_back(next->begin(), next->end());
  }
  return all;
}

inline bool same_bits(const std::vector<Logits>& a, const std::vector<Logits>& b) {
  return std::ranges::equal(a, b, [](const Logits& x, const Logits& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

}  // namespace cairn
