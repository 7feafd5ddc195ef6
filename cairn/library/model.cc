// SPDX-License-Identifier: Apache-2.0
#include "cairn/model.h"

#include <algorithm>
#include <string_view>

#include "cairn/codec.h"
#include "cairn/codec/codec.h"
#include "cairn/codec/plan.h"
#include "cairn/gguf/gguf.h"
#include "cairn/library/states.h"
#include "cairn/store/store.h"
#include "cairn/version.h"

namespace cairn {
namespace {

#define CAIRN_TEXT_OF(x) #x
#define CAIRN_TEXT(x) CAIRN_TEXT_OF(x)

// A template that cannot be used is no error until a chat is asked for.
Result<ChatTemplate> chat_template_of(const std::string& path) {
  CAIRN_TRY(const GgufFile file, GgufFile::open(path));
  return ChatTemplate::of_model(file);
}

}  // namespace

const char* library_version() {
  return CAIRN_TEXT(CAIRN_VERSION_MAJOR) "." CAIRN_TEXT(CAIRN_VERSION_MINOR) "." CAIRN_TEXT(CAIRN_VERSION_PATCH);
}

std::vector<std::string> codec_names() {
  std::vector<std::string> names;
  for (const Codec& codec : codec_table()) names.emplace_back(codec.name);
  return names;
}

Status check_codec(const std::string& text) {
  const std::size_t plus = std::min(text.find('+'), text.size());
  CAIRN_TRY_VOID(check_codecs(std::string_view(text).substr(0, plus)));
  for (std::string_view parts = std::string_view(text).substr(plus); !parts.empty();) {
    const std::string_view part = parts.substr(1, parts.find('+', 1) - 1);
    if (!is_plan_part(part)) {
      return fail(ErrorCode::kInvalidArgument,
                  "codec '" + text + "': '" + std::string(part) + "' is no part of a plan");
    }
    parts.remove_prefix(part.size() + 1);
  }
  return {};
}

Result<PrefixStore> PrefixStore::open(const StoreConfig& config) {
  CAIRN_TRY(OpenedStore opened, open_store(config));
  if (opened.store == nullptr) {
    return fail(ErrorCode::kInvalidArgument,
                opened.warnings.empty() ? "a store needs at least one tier" : opened.warnings.front());
  }
  return PrefixStore(std::move(opened.store), std::move(opened.warnings));
}

PrefixStoreStats PrefixStore::stats() const {
  const StoreStats all = store_->stats();
  return {.blocks_read = all.blocks_loaded,
          .blocks_written = all.writes,
          .blocks_dropped = all.writes_dropped,
          .writes_failed = all.writes_failed};
}

Status PrefixStore::flush(std::chrono::milliseconds timeout) const {
  return store_->flush(deadline_in(timeout));
}

Result<Model> Model::load(const std::string& path, const ModelOptions& options) {
  EngineOptions own;
  own.threads = options.threads;
  own.kv_budget_bytes = options.kv_budget_bytes;
  own.context = options.context;
  own.codec = options.codec;
  own.policy = options.policy;
  own.offload = OffloadPlace::named(options.offload, options.offload_bytes);
  own.reuse = options.reuse;
  own.eviction = options.eviction;
  own.tenant = options.tenant;
  if (options.store) own.store = options.store->store_;
  own.on_load = options.on_load;
  CAIRN_TRY(auto engine, Engine::load(path, own));
  return Model(std::make_shared<State>(State{.engine = std::move(engine), .chat_template = chat_template_of(path)}));
}

ModelFacts Model::facts() const {
  Engine& engine = *state_->engine;
  const ModelConfig& config = engine.config();
  return {.architecture = config.arch,
          .name = config.name,
          .layers = config.layers,
          .vocabulary = config.vocab,
          .context = engine.context(),
          .weight_bytes = engine.weight_bytes(),
          .kv_bytes_per_token = engine.cache().bytes_per_token()};
}

std::vector<TokenId> Model::encode(std::string_view text, const EncodeTextOptions& options) const {
  return state_->engine->tokenizer().encode(text, {.add_bos = options.add_bos, .parse_special = options.parse_special});
}

std::string Model::decode(std::span<const TokenId> tokens) const {
  return state_->engine->tokenizer().decode(tokens);
}

Result<std::vector<TokenId>> Model::encode_chat(std::span<const ChatMessage> messages) const {
  CAIRN_TRY(const ChatTemplate chat, state_->chat_template);
  return chat.encode(state_->engine->tokenizer(), messages, {.now = local_time()});
}

Session Model::open(std::span<const TokenId> prompt) const {
  return Session(std::make_unique<Session::State>(Session::State{state_, state_->engine->open(prompt)}));
}

Result<Generated> Model::generate(std::span<const TokenId> prompt, const SamplerOptions& sampler,
                                  const GenerationOptions& options, const SessionHooks& hooks) const {
  return open(prompt).generate(prompt, sampler, options, hooks);
}

}  // namespace cairn
