// SPDX-License-Identifier: Apache-2.0
// A model from a GGUF file, with the KV cache that its sessions share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/chat.h"
#include "cairn/result.h"
#include "cairn/session.h"
#include "cairn/store.h"
#include "cairn/tokens.h"

namespace cairn {

struct ModelOptions {
  unsigned threads = 0;                                // 0: one per core
  std::size_t kv_budget_bytes = std::size_t{2} << 30;  // hard: sessions and reusable prefixes together
  std::uint32_t context = 0;                           // the longest session; 0: what the model was trained for
  std::string codec = "raw_f16";                       // how keys and values are kept, see codec.h
  std::string policy{};  // which tokens a session keeps and its queries read, as "sketch+keep=0.125"; empty: all
  // Where, beside the KV budget, policies with "+unread=offload" move blocks: a folder on a local disk or "ram"; empty:
  // nowhere. And the most bytes that may lie there.
  std::string offload{};
  std::size_t offload_bytes = std::size_t{8} << 30;
  bool reuse = true;                               // keep prefixes of sessions that are gone
  std::string eviction = "lru";                    // which of them goes first: lru, s3fifo, cost
  std::string tenant{};                            // prefixes are never shared between tenants
  std::optional<PrefixStore> store{};              // where prefixes outlive the process; needs reuse
  std::function<void(double fraction)> on_load{};  // called while weights load
};

// Unchanging facts of a model.
struct ModelFacts {
  std::string architecture, name;
  std::uint32_t layers = 0, vocabulary = 0, context = 0;
  std::size_t weight_bytes = 0;
  std::size_t kv_bytes_per_token = 0;  // all layers, full blocks as the codec keeps them
};

struct EncodeTextOptions {
  bool add_bos = true;         // put the begin token in front, if the model wants one
  bool parse_special = false;  // read the texts of control tokens as these tokens: not for text of strangers
};

// A handle: copies stand for the same model. One thread at a time may use a model and its sessions.
class Model {
 public:
  // Errors: kNotFound, kIo, kCorrupt, kUnsupported for the file; kUnsupported and kInvalidArgument for the codec, the
  // policy and the eviction policy; kNotFound and kIo for the folder of `offload`; kOutOfBudget when the KV budget
  // holds not even one block.
  static Result<Model> load(const std::string& path, const ModelOptions& options = {});

  ModelFacts facts() const;

  // Any bytes go in and none is lost: decode(encode(x, {.add_bos = false})) is x.
  std::vector<TokenId> encode(std::string_view text, const EncodeTextOptions& options = {}) const;
  std::string decode(std::span<const TokenId> tokens) const;
  // A conversation as the file's own chat template writes it, with the assistant's turn open. No message can become a
  // mark of the template. Errors: kUnsupported for a template that cannot be used, kInvalidArgument when it refuses the
  // messages.
  Result<std::vector<TokenId>> encode_chat(std::span<const ChatMessage> messages) const;

  // A session that holds the longest prefix of the prompt that is known, in memory or in the store, but never all of
  // it: the last token is computed for its logits. Its logits have the bits that computing the prefix would give.
  Session open(std::span<const TokenId> prompt) const;

  // A session, an answer, and the end of the session; its prefix stays in the cache.
  Result<Generated> generate(std::span<const TokenId> prompt, const SamplerOptions& sampler = {},
                             const GenerationOptions& options = {}, const SessionHooks& hooks = {}) const;

 private:
  friend class Session;
  struct State;
  explicit Model(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

}  // namespace cairn
