// SPDX-License-Identifier: Apache-2.0
// A text on a model's cache: its tokens, whose keys and values are kept, and the logits after the last of them.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "cairn/generation.h"
#include "cairn/result.h"
#include "cairn/tokens.h"

namespace cairn {

// What long calls report and obey; all may be left empty.
struct SessionHooks {
  std::function<void(std::size_t done, std::size_t total)> on_progress{};  // while a prompt is computed
  std::function<void(std::string_view text)> on_text{};                    // whole characters, as they become certain
  const std::atomic<bool>* cancel = nullptr;                               // looked at between passes and tokens
};

// Made by Model::open(). Keeps the model alive. One thread at a time may use a model and its sessions. Moved-from
// sessions may only be destroyed or assigned to.
class Session {
 public:
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;
  ~Session();

  std::size_t size() const;                 // tokens
  std::span<const TokenId> tokens() const;  // valid until the session changes
  std::size_t reused_tokens() const;        // of those, the ones that were not computed
  std::size_t kv_bytes() const;             // that its keys and values take, shared ones included

  // Computes tokens at the end; the logits after the last of them, [vocabulary], valid until the model computes again.
  // Errors: kInvalidArgument (no tokens, unknown ids), kTooLong, kOutOfBudget, kCancelled; with the last two, what was
  // computed by then stays.
  Result<std::span<const float>> extend(std::span<const TokenId> tokens, const SessionHooks& hooks = {});

  // Computes the rest of the prompt and draws an answer. `prompt` is the whole text: it begins with tokens(), as a
  // session from Model::open(prompt) does, and has at least one more. The answer's tokens are in the session but for
  // the last. A cancelled answer is no error. Errors: those of extend(), kInvalidArgument for a prompt that does not go
  // on from the session, or sampler options out of range.
  Result<Generated> generate(std::span<const TokenId> prompt, const SamplerOptions& sampler,
                             const GenerationOptions& options, const SessionHooks& hooks = {});

  // Another session with the same tokens; it shares their keys and values.
  Session fork() const;
  // Keeps the first `tokens` tokens. kInvalidArgument when there are fewer.
  Status trim(std::size_t tokens);

 private:
  friend class Model;
  struct State;
  explicit Session(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace cairn
