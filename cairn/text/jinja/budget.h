// SPDX-License-Identifier: Apache-2.0
// What rendering a template may use. A template comes with a model file, which may come from anybody.
#pragma once

#include <cstddef>
#include <string>

#include "cairn/base/result.h"

namespace cairn::jinja {

struct Limits {
  std::size_t max_steps = 20'000'000;                    // expressions and statements that are evaluated
  std::size_t max_bytes = std::size_t{512} << 20;        // of all texts and lists that are made on the way
  std::size_t max_output_bytes = std::size_t{64} << 20;  // of the rendered text
  std::size_t max_depth = 400;                           // of statements, expressions and macros in each other
  std::size_t max_template_bytes = std::size_t{4} << 20;
};

inline constexpr std::size_t kMaxNesting = 100;  // of lists and dicts in each other

inline std::unexpected<Error> refused(std::string message) {
  return fail(ErrorCode::kInvalidArgument, std::move(message));
}

// Counts what was used. Every error is kInvalidArgument and says which limit was reached. Thread-compatible.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits) {}

  const Limits& limits() const { return limits_; }

  Status steps(std::size_t count) {
    steps_ += count;
    if (steps_ <= limits_.max_steps) return {};
    return refused("it takes more than " + std::to_string(limits_.max_steps) + " steps: does it loop for ever?");
  }
  // Before a text of that many bytes, or a list of that many values times kValueBytes, is made.
  Status bytes(std::size_t count) {
    if (count <= limits_.max_bytes - bytes_) {
      bytes_ += count;
      return {};
    }
    return refused("its texts take more than " + std::to_string(limits_.max_bytes) + " bytes");
  }
  Status values(std::size_t count) {
    return bytes(count > limits_.max_bytes / kValueBytes ? limits_.max_bytes + 1 : count * kValueBytes);
  }
  Status enter() {
    if (++depth_ <= limits_.max_depth) return {};
    return refused("it nests deeper than " + std::to_string(limits_.max_depth) +
                   ": does a macro call itself for ever?");
  }
  void leave() { --depth_; }

 private:
  static constexpr std::size_t kValueBytes = 32;

  Limits limits_;
  std::size_t steps_ = 0;
  std::size_t bytes_ = 0;
  std::size_t depth_ = 0;
};

}  // namespace cairn::jinja
