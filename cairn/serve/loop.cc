// SPDX-License-Identifier: Apache-2.0
#include "cairn/serve/loop.h"

#include <algorithm>
#include <bit>
#include <string>
#include <unordered_set>
#include <utility>

#include "cairn/block/block_key.h"
#include "cairn/engine/replay.h"
#include "cairn/policy/scorer.h"
#include "cairn/serve/loop_impl.h"

namespace cairn {
namespace {

// As people ask for it where they can: ids are for recipes.
std::string codec_text(const CodecPlan& plan) {
  const LayerPlan& first = plan.layers.front();
  CodecPlan plain;
  plain.layers.assign(plan.layers.size(), first);
  if (plan.canonical() != plain.canonical()) return plan.canonical();
  std::string text(first.keys->name);
  if (first.values != first.keys) text += "/" + std::string(first.values->name);
  return text;
}

// What no tenant was given is shared out evenly.
Status share_budget(LoopOptions& options) {
  std::size_t given = 0, open = 0;
  for (const auto& [name, limits] : options.tenants) {
    given += limits.kv_bytes;
    open += limits.kv_bytes == 0 ? 1 : 0;
  }
  if (given > options.kv_budget_bytes || (open > 0 && given == options.kv_budget_bytes)) {
    return fail(ErrorCode::kOutOfBudget, "the tenants' KV budgets, " + std::to_string(given) +
                                             " bytes, leave nothing of " + std::to_string(options.kv_budget_bytes) +
                                             "; raise --kv-budget or lower theirs");
  }
  for (auto& [name, limits] : options.tenants) {
    if (limits.kv_bytes == 0) limits.kv_bytes = (options.kv_budget_bytes - given) / open;
  }
  return {};
}

}  // namespace

Result<HeldPrefixes> hold_prefixes(Engine& engine, std::span<const std::vector<TokenId>> prefixes) {
  const KvCache& cache = engine.cache();
  struct Prefix {
    std::span<const TokenId> tokens;  // whole blocks
    std::vector<Digest> keys;
  };
  std::vector<Prefix> whole;
  std::unordered_set<Digest, DigestHash> known;
  HeldPrefixes held;
  for (const std::span<const TokenId> tokens : prefixes) {
    whole.push_back(
        {tokens.first(tokens.size() / kBlockTokens * kBlockTokens), block_keys(cache.options().root, tokens)});
    const std::vector<Digest>& keys = whole.back().keys;
    for (std::size_t b = 0; b < keys.size(); ++b) {
      if (!known.insert(keys[b]).second) continue;
      held.keys.push_back(keys[b]);
      held.bytes += cache.block_bytes(b, /*windows=*/true);
    }
  }
  const std::size_t budget = cache.options().budget_bytes;
  if (held.bytes > budget / 2) {
    return fail(ErrorCode::kOutOfBudget, "the public prefixes take " + std::to_string(held.bytes) +
                                             " bytes of keys and values, more than half of the " +
                                             std::to_string(budget) + " of a tenant");
  }
  for (const auto& [tokens, keys] : whole) {
    if (tokens.empty()) continue;
    // Exact whatever the engine's policy: each request's own acts on what it makes of them.
    Sequence sequence = engine.open(tokens, keys, std::nullopt);
    CAIRN_TRY_VOID(engine.prefill(sequence, tokens.subspan(sequence.size())));
    held.sequences.push_back(std::move(sequence));
  }
  return held;
}

ServeLoop::ServeLoop(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<ServeLoop>> ServeLoop::create(std::unique_ptr<Engine> engine, LoopOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->engine = std::move(engine);
  CAIRN_TRY_VOID(share_budget(options));
  impl->options = std::move(options);
  CAIRN_TRY_VOID(impl->open_tenants());
  impl->thread = std::thread([raw = impl.get()] { raw->run(); });
  return std::unique_ptr<ServeLoop>(new ServeLoop(std::move(impl)));
}

Status ServeLoop::Impl::open_tenants() {
  SchedulerOptions sched{.max_running = options.max_running,
                         .pass_rows = Forward::kMaxRows,
                         .prefill_rows = options.prefill_rows,
                         .patience_s = std::chrono::duration<double>(options.patience).count()};
  for (const auto& [name, limits] : options.tenants) {
    EngineOptions of_tenant = options.engine;
    of_tenant.kv_budget_bytes = limits.kv_bytes;
    of_tenant.tenant = name;
    of_tenant.offload.bytes /= options.tenants.size();
    ServeTenant tenant{.name = name, .limits = limits, .engine = {}};
    CAIRN_TRY(tenant.engine, engine->sibling(of_tenant));
    const KvCache& cache = tenant.engine->cache();
    if (!cache.options().plan.reusable()) {
      return fail(ErrorCode::kInvalidArgument,
                  "a server needs a codec whose blocks can be reused: without +recent and "
                  "+prefill=exact");
    }
    codec = codec_text(cache.options().plan);
    sched.bytes_for = [&cache](std::size_t tokens) { return cache.bytes_for(tokens, Forward::kMaxRows); };
    sched.block_bytes = [&cache](std::size_t number) { return cache.block_bytes(number); };
    CAIRN_TRY(tenant.held, hold_prefixes(*tenant.engine, options.public_prefixes));
    sched.tenants.push_back({.kv_bytes = limits.kv_bytes - tenant.held.bytes,
                             .beside_bytes = of_tenant.offload.bytes,
                             .max_running = limits.max_running == 0 ? SIZE_MAX : limits.max_running,
                             .held = {tenant.held.keys.begin(), tenant.held.keys.end()}});
    tenant.counts.name = name;
    tenant.counts.kv_budget = limits.kv_bytes;
    tenant.counts.kv_public = tenant.held.bytes;
    tenant_numbers[name] = tenants.size();
    tenants.push_back(std::move(tenant));
  }
  scheduler.emplace(std::move(sched));
  return {};
}

ServeLoop::~ServeLoop() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->draining = impl_->end_all = impl_->stop = true;
  }
  impl_->work.notify_all();
  impl_->thread.join();
}

Result<std::shared_ptr<Generation>> ServeLoop::submit(GenerateRequest request) {
  Impl& impl = *impl_;
  const auto found = impl.tenant_numbers.find(request.tenant);
  if (found == impl.tenant_numbers.end()) return fail(ErrorCode::kInvalidArgument, "there is no such tenant");
  ServeTenant& tenant = impl.tenants[found->second];
  const std::size_t prompt = request.prompt.size(), context = impl.engine->context();
  if (prompt == 0) return fail(ErrorCode::kInvalidArgument, "the prompt has no tokens");
  for (const TokenId id : request.prompt) {
    if (id < 0 || static_cast<std::size_t>(id) >= impl.engine->tokenizer().size()) {
      return fail(ErrorCode::kInvalidArgument,
                  "the prompt has a token that the model does not know: " + std::to_string(id));
    }
  }
  CAIRN_TRY(Sampler sampler, Sampler::make(request.sampler));
  const std::optional<PolicySpec> policy = request.own_policy ? request.policy : tenant.engine->policy();
  if (request.policy) {
    CAIRN_TRY_VOID(tenant.engine->check_policy(*request.policy));
  }
  if (prompt + std::max<std::size_t>(1, request.max_tokens) > context) {
    return fail(ErrorCode::kTooLong, "the context holds " + std::to_string(context) + " tokens, but the prompt has " +
                                         std::to_string(prompt) + " and " + std::to_string(request.max_tokens) +
                                         " are asked for");
  }
  const bool replays = policy && policy->scorer != nullptr && policy->scorer->needs.probes == Probes::kReplay;
  if (replays && policy->keep < 1 && prompt + replay_room(prompt) > context) {
    return fail(ErrorCode::kTooLong, "policy '" + policy->text + "' reads the prompt again, and beside its " +
                                         std::to_string(prompt) + " tokens the context of " + std::to_string(context) +
                                         " has no room for that");
  }
  request.keys = block_keys(tenant.engine->cache().options().root, request.prompt, request.keys);
  SchedRequest scheduled{.tenant = found->second,
                         .prompt_tokens = prompt,
                         .max_new = request.max_tokens != 0 ? request.max_tokens : context - prompt,
                         .arrival_s = impl.now_s(),
                         .keys = request.keys,
                         .growth = {},
                         .pass_tokens = {}};
  if (policy) {
    scheduled.keys.resize(std::min(scheduled.keys.size(), reusable_tokens(*policy, prompt) / kBlockTokens));
    scheduled.growth = [&engine = *tenant.engine, policy, prompt](std::size_t from, std::size_t to) {
      const PlannedBytes planned = engine.planned_bytes(&*policy, prompt, from, to);
      // What stays in memory of a sequence that moves blocks away is all its own.
      if (policy->offloads) return GrowthBytes{.packed = planned.whole, .beside = planned.beside};
      return GrowthBytes{.whole = planned.whole, .packed = planned.packed};
    };
    scheduled.pass_tokens = [policy, prompt](std::size_t held, std::size_t wanted) {
      return tokens_until_action(*policy, prompt, held, wanted);
    };
  }
  const Scheduler& scheduler = *impl.scheduler;
  if (request.max_tokens == 0 && !scheduler.could_fit(scheduled)) {  // as many as there is room for
    const std::size_t most = std::exchange(scheduled.max_new, 1);
    for (std::size_t step = std::bit_floor(most); step > 0; step /= 2) {
      if (scheduled.max_new + step >= most) continue;
      scheduled.max_new += step;
      if (!scheduler.could_fit(scheduled)) scheduled.max_new -= step;
    }
  }
  if (!scheduler.could_fit(scheduled)) {
    return fail(ErrorCode::kOutOfBudget,
                "the keys and values of " + std::to_string(prompt + scheduled.max_new) + " tokens take " +
                    std::to_string(scheduler.bytes_alone(scheduled)) + " bytes, more than the " +
                    std::to_string(tenant.limits.kv_bytes - tenant.held.bytes) + " that there are");
  }
  auto generation = std::make_shared<Generation>(std::move(request));
  {
    const std::lock_guard lock(impl.mutex);
    std::size_t waiting = 0;
    for (const ServeTenant& each : impl.tenants) waiting += each.waiting;
    if (impl.draining || tenant.waiting >= tenant.limits.max_waiting || waiting >= impl.options.max_waiting) {
      ++impl.counts.refused;
      return fail(ErrorCode::kBusy,
                  impl.draining ? "the server is stopping" : "too many requests wait; try again later");
    }
    ++tenant.waiting;
    ++tenant.counts.requests;
    scheduled.id = impl.next_id++;
    impl.inbox.push_back({std::move(scheduled), generation, std::move(sampler)});
  }
  impl.work.notify_all();
  return generation;
}

std::size_t ServeLoop::max_at_once(const std::string& tenant) const {
  const auto found = impl_->tenant_numbers.find(tenant);
  if (found == impl_->tenant_numbers.end()) return 0;
  return std::min(impl_->tenants[found->second].limits.max_waiting, impl_->options.max_waiting);
}

void ServeLoop::drain(Deadline deadline) {
  // A pass may take a while, and nothing interrupts one.
  constexpr std::chrono::seconds kLastPass(30), kFlush(10);
  Impl& impl = *impl_;
  {
    std::unique_lock lock(impl.mutex);
    impl.draining = true;
    const auto done = [&] { return impl.inbox.empty() && impl.counts.running + impl.counts.waiting == 0; };
    if (!impl.idle.wait_until(lock, deadline, done)) {
      impl.end_all = true;
      impl.work.notify_all();
      impl.idle.wait_for(lock, kLastPass, done);
    }
  }
  if (store() != nullptr) (void)store()->flush(deadline_in(kFlush));
}

bool ServeLoop::draining() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->draining;
}

LoopState ServeLoop::state() const {
  const std::lock_guard lock(impl_->mutex);
  LoopState state = impl_->counts;
  state.max_running = impl_->options.max_running;
  state.max_rows = Forward::kMaxRows;
  state.codec = impl_->codec;
  for (const ServeTenant& tenant : impl_->tenants) {
    state.tenants.push_back(tenant.counts);
    state.tenants.back().waiting = tenant.waiting;
    state.tenants.back().cache = tenant.engine->cache().stats();
  }
  return state;
}

std::vector<HeldBlock> ServeLoop::held_blocks(const std::string& tenant, std::size_t most) const {
  const auto found = impl_->tenant_numbers.find(tenant);
  if (found == impl_->tenant_numbers.end()) return {};
  return impl_->tenants[found->second].engine->cache().blocks(most);
}

const Tokenizer& ServeLoop::tokenizer() const {
  return impl_->engine->tokenizer();
}
const ModelConfig& ServeLoop::config() const {
  return impl_->engine->config();
}
std::uint32_t ServeLoop::context() const {
  return impl_->engine->context();
}
std::size_t ServeLoop::stored_block_bytes() const {
  return impl_->tenants.front().engine->cache().stored_block_bytes(store()->options().key.has_value());
}
Store* ServeLoop::store() const {
  return impl_->options.engine.store.get();
}

}  // namespace cairn
