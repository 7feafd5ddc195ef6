// SPDX-License-Identifier: Apache-2.0
// Test support: a backend that answers every request with the pieces it was told, on the tokenizer of a tiny model.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cairn/serve/backend.h"
#include "cairn/testing/tiny_engine.h"
#include "cairn/testing/tiny_model.h"

namespace cairn {

class FakeBackend final : public GenerateBackend {
 public:
  // What every request gets; set before the first.
  std::vector<std::string> pieces{"one", " two", " three"};
  std::chrono::milliseconds delay{0};  // before each piece
  bool endless = false;                // goes on with the last piece until it is cancelled
  bool silent = false;                 // no piece ever: waits to be cancelled
  FinishReason reason = FinishReason::kStop;
  std::string error;
  ErrorCode error_code = ErrorCode::kInternal;
  std::optional<Error> refusal;
  std::size_t max_waiting = 64;
  std::unique_ptr<Store> tiers;

  FakeBackend() : engine_(*load_tiny(TinyModel().builder().build(), small())) {}
  ~FakeBackend() override {
    stop_ = true;
    workers_.clear();
  }

  Result<std::shared_ptr<Generation>> submit(GenerateRequest request) override {
    if (refusal) return std::unexpected(*refusal);
    if (draining_) return fail(ErrorCode::kBusy, "the server is stopping");
    if (request.keys.empty()) {  // as a backend that hashes the prompt
      ++hashed_;
      for (const TokenId id : request.prompt) request.keys.push_back(Hasher("test").u64(std::uint64_t(id)).finish());
    }
    auto generation = std::make_shared<Generation>(std::move(request));
    const std::lock_guard lock(mutex_);
    requests_.push_back(generation->request());
    workers_.emplace_back([this, generation] { answer(*generation); });
    return generation;
  }
  std::size_t max_at_once(const std::string& /*tenant*/) const override { return max_waiting; }
  void drain(Deadline /*deadline*/) override { draining_ = true; }
  bool draining() const override { return draining_; }

  LoopState state() const override {
    LoopState state;
    state.codec = "raw_f16";
    for (const char* name : {"", "alice", "bob"}) {
      TenantState tenant;
      tenant.name = name;
      tenant.prompt_tokens = 100;
      tenant.cached_tokens = 60;
      tenant.kv_budget = 1000;
      tenant.cache.bytes_used = 250;
      tenant.cache.sheet_bytes = 30;
      tenant.cache.kept = {
          .hits = 3, .tokens_matched = 384, .published = 9, .evictions = 4, .prefixes = 5, .bytes = 120};
      state.tenants.push_back(tenant);
    }
    return state;
  }
  std::vector<HeldBlock> held_blocks(const std::string& tenant, std::size_t most) const override {
    if (most == 0) return {};
    return {HeldBlock{.key = Hasher("test").text(tenant).finish(),
                      .parent = {},
                      .depth = 0,
                      .bytes = 64,
                      .users = 1,
                      .tokens = {3, 4}}};
  }
  const Tokenizer& tokenizer() const override { return engine_->tokenizer(); }
  const ModelConfig& config() const override { return engine_->config(); }
  std::uint32_t context() const override { return engine_->context(); }
  Store* store() const override { return tiers.get(); }

  std::vector<GenerateRequest> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  int cancelled() const { return cancelled_; }
  int hashed() const { return hashed_; }  // requests that came without their prompt's keys

 private:
  static EngineOptions small() {
    EngineOptions options;
    options.threads = 1;
    options.kv_budget_bytes = std::size_t{16} << 20;
    return options;
  }

  void answer(Generation& to) {
    GenerationResult result{.reason = reason, .error = error, .error_code = error_code, .usage = {}, .timing = {}};
    result.usage.prompt_tokens = to.request().prompt.size();
    result.usage.cached_tokens = result.usage.prompt_tokens / 2;
    for (std::size_t i = 0; (i < pieces.size() || endless || silent) && !to.cancelled() && !stop_; ++i) {
      std::this_thread::sleep_for(silent ? std::chrono::milliseconds(1) : delay);
      if (silent) continue;
      GeneratedPiece piece;
      piece.text = pieces[std::min(i, pieces.size() - 1)];
      piece.id = static_cast<TokenId>(3 + i % 30);
      piece.has_token = true;
      if (const auto top = to.request().logprobs) {
        piece.logprob = TokenLogprob{piece.id, -0.5F};
        for (std::uint32_t t = 0; t < *top; ++t)
          piece.top_logprobs.push_back({static_cast<TokenId>(3 + t), -0.5F - float(t)});
      }
      to.push(std::move(piece));
      ++result.usage.completion_tokens;
    }
    if (to.cancelled() || stop_) result.reason = FinishReason::kCancelled;
    if (to.cancelled()) ++cancelled_;
    to.finish(std::move(result));
  }

  std::unique_ptr<Engine> engine_;
  std::atomic<bool> draining_{false}, stop_{false};
  std::atomic<int> cancelled_{0}, hashed_{0};
  mutable std::mutex mutex_;
  std::vector<GenerateRequest> requests_;  // guarded by mutex_
  std::vector<std::jthread> workers_;
};

}  // namespace cairn
