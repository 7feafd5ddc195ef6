// SPDX-License-Identifier: Apache-2.0
#include "cairn/engine/generate.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "cairn/base/clock.h"

namespace cairn {
namespace {

using GenerateClock = std::chrono::steady_clock;

bool is_set(const std::atomic<bool>* flag) {
  return flag != nullptr && flag->load(std::memory_order_relaxed);
}

// Length of the longest end of `text` with which `stop` begins, all of it excluded.
std::size_t begun(std::string_view text, std::string_view stop) {
  for (std::size_t length = std::min(text.size(), stop.size() - 1); length > 0; --length) {
    if (text.ends_with(stop.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

std::string StopMatcher::feed(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  // The one that is complete first, as if the text had come letter by letter; of two with the same last letter the
  // longer.
  std::size_t complete = std::string::npos, begins = 0, keep = 0;
  for (const std::string& stop : stops_) {
    if (stop.empty()) continue;
    keep = std::max(keep, begun(held_, stop));
    const std::size_t at = held_.find(stop);
    if (at == std::string::npos || std::pair(at + stop.size(), at) >= std::pair(complete, begins)) continue;
    complete = at + stop.size();
    begins = at;
  }
  if (complete != std::string::npos) {
    stopped_ = true;
    held_.resize(begins);
    return std::exchange(held_, {});
  }
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, certain.size());
  return certain;
}

std::string_view stop_reason_name(StopReason reason) {
  switch (reason) {
    case StopReason::kEnd: return "end";
    case StopReason::kString: return "string";
    case StopReason::kLength: return "length";
    case StopReason::kContext: return "context";
    case StopReason::kCancelled: return "interrupted";
  }
  return "?";
}

GenerationState::GenerationState(const Tokenizer& tokenizer, const GenerationOptions& options)
    : tokenizer_(&tokenizer),
      max_tokens_(options.max_tokens),
      ignore_eos_(options.ignore_eos),
      stream_(tokenizer, {.continues_text = options.continues_text}),
      matcher_(options.stop) {}

Result<GenerationStep> GenerationState::next(std::span<const float> logits, Sampler& sampler) {
  CAIRN_TRY(const TokenId id, sampler.sample(logits));
  GenerationStep step = take(id);
  if (step.id) sampler.accept(id);
  return step;
}

GenerationStep GenerationState::take(TokenId id) {
  if (!ignore_eos_ && tokenizer_->is_end_of_generation(id)) return {.stop = StopReason::kEnd};
  ids_.push_back(id);
  GenerationStep step{.id = id, .text = matcher_.feed(stream_.feed(id))};
  if (matcher_.stopped()) {
    step.stop = StopReason::kString;
  } else if (ids_.size() >= max_tokens_) {
    step.stop = StopReason::kLength;
  }
  return step;
}

std::string GenerationState::finish() {
  if (matcher_.stopped()) return {};
  std::string rest = matcher_.feed(stream_.finish());
  return rest += matcher_.finish();
}

PolicyFigures policy_figures(const Sequence& sequence) {
  const PolicyReport report = sequence.policy_report();
  const auto before = static_cast<double>(std::max<std::size_t>(report.tokens_before, 1));
  return {.policy = report.policy,
          .kept = report.tokens_before == 0 ? 1.0 : static_cast<double>(report.tokens_kept) / before,
          .demoted = static_cast<double>(report.tokens_demoted) / before,
          .bytes_freed = report.bytes_freed,
          .bytes_offloaded = report.bytes_offloaded,
          .not_offloaded = report.not_offloaded,
          .why_not_offloaded = report.why_not_offloaded,
          .read = report.read_fraction(),
          .put_off = report.put_off};
}

std::string policy_text(const PolicyFigures& figures) {
  if (figures.policy.empty()) return {};
  const auto mebibytes = [](std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); };
  char read[80] = "", freed[80] = "", moved[80] = "", stayed[80] = "", waited[80] = "";
  if (figures.read < 1) {
    std::snprintf(read, sizeof read, " read %.1f %% of the boxes of 16 tokens", 100 * figures.read);
  }
  if (figures.demoted > 0) {
    std::snprintf(freed, sizeof freed, " kept %.1f %% of the tokens, demoted %.1f %% and freed %.1f MiB",
                  100 * figures.kept, 100 * figures.demoted, mebibytes(figures.bytes_freed));
  } else if (figures.bytes_freed > 0) {
    std::snprintf(freed, sizeof freed, " kept %.1f %% of the tokens and freed %.1f MiB", 100 * figures.kept,
                  mebibytes(figures.bytes_freed));
  }
  if (figures.bytes_offloaded > 0) {
    std::snprintf(moved, sizeof moved, " moved %.1f MiB out of the KV budget", mebibytes(figures.bytes_offloaded));
  }
  if (figures.not_offloaded > 0) {
    std::snprintf(stayed, sizeof stayed, " could not move blocks out of it, %llu times",
                  static_cast<unsigned long long>(figures.not_offloaded));
  }
  if (figures.put_off > 0) {
    std::snprintf(waited, sizeof waited, " found no room to keep less, %llu times",
                  static_cast<unsigned long long>(figures.put_off));
  }
  std::string text;
  for (const char* part : {read, freed, moved, waited, stayed}) {
    if (*part != 0) text.append(text.empty() ? "" : ",").append(part);
  }
  if (figures.not_offloaded > 0) text += " (" + figures.why_not_offloaded + ")";
  return figures.policy + (text.empty() ? " left all as it was" : text);
}

Result<Generated> generate(Engine& engine, Sequence& sequence, std::span<const TokenId> tokens, Sampler& sampler,
                           const GenerationOptions& options, const GenerationHooks& hooks) {
  const GenerateClock::time_point start = GenerateClock::now();
  GenerationState state(engine.tokenizer(), options);
  Generated out;
  out.prompt_tokens = tokens.size();
  const auto report = [&](const GenerationStep& step) -> Status {
    out.text += step.text;
    return hooks.on_step ? hooks.on_step(step) : Status{};
  };
  const std::size_t held = sequence.size();
  Result<std::span<const float>> logits = engine.prefill(sequence, tokens.subspan(held), hooks.prefill);
  // In a conversation the turns before are in the sequence, whether they were computed or reused.
  out.reused_tokens = std::max(held, sequence.reused_tokens());
  GenerateClock::time_point first_token;
  while (true) {
    if (is_set(hooks.prefill.cancel) || (!logits && logits.error().code == ErrorCode::kCancelled)) {
      out.stop = StopReason::kCancelled;
      break;
    }
    if (!logits) return std::unexpected(std::move(logits).error());
    if (hooks.on_logits) hooks.on_logits(*logits);
    CAIRN_TRY(const GenerationStep step, state.next(*logits, sampler));
    if (first_token == GenerateClock::time_point{}) {
      first_token = GenerateClock::now();
      out.first_token_s = seconds_since(start);
    }
    if (step.id) CAIRN_TRY_VOID(report(step));
    if (step.stop || sequence.size() >= engine.context()) {
      out.stop = step.stop.value_or(StopReason::kContext);
      break;
    }
    logits = engine.decode(sequence, *step.id);
  }
  if (!state.ids().empty()) out.decode_s = seconds_since(first_token);
  if (std::string rest = state.finish(); !rest.empty()) CAIRN_TRY_VOID(report({.text = std::move(rest)}));
  out.ids = state.ids();
  out.kv_bytes = sequence.bytes_held();
  out.policy = policy_figures(sequence);
  return out;
}

Result<Generated> generate(Engine& engine, std::span<const TokenId> prompt, const SamplerOptions& sampler_options,
                           const GenerationOptions& options, const GenerationHooks& hooks) {
  CAIRN_TRY(Sampler sampler, Sampler::make(sampler_options));
  for (const TokenId id : prompt) sampler.accept(id);
  const GenerateClock::time_point start = GenerateClock::now();
  Sequence sequence = engine.open_while_loading(prompt);
  const double open_s = seconds_since(start);
  CAIRN_TRY(Generated out, generate(engine, sequence, prompt, sampler, options, hooks));
  out.first_token_s += open_s;  // loading from a store is part of the wait
  return out;
}

}  // namespace cairn
