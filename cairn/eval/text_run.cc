// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/text_run.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/quantile.h"
#include "cairn/block/block_key.h"

namespace cairn {
namespace {

// What is computed at once, at most up to the next block border or the end of the context. The logits of tokens
// [first, first + count) of the window predict the tokens after.
struct BlockRows {
  std::span<const TokenId> tokens;  // to be computed
  std::size_t first = 0;
  std::size_t count = 0;
};

BlockRows block_rows(const Windows& windows, std::span<const TokenId> tokens, std::size_t begin) {
  std::size_t end = std::min(begin + kBlockTokens - begin % kBlockTokens, tokens.size());
  if (begin < windows.first_logits()) end = std::min<std::size_t>(end, windows.first_logits());
  const std::size_t first = std::max<std::size_t>(begin, windows.first_logits());
  const std::size_t last = std::min(end, tokens.size() - 1);  // nothing follows the last token
  return {tokens.subspan(begin, end - begin), first, last > first ? last - first : 0};
}

class Runner {
 public:
  Runner(const ExactSource& exact, std::span<const std::unique_ptr<JudgedEngine>> judged, const Windows& windows)
      : exact_(exact), judged_(judged), windows_(windows) {
    run_.recipes.resize(judged.size());
    Engine& any = exact.engine != nullptr ? exact.engine->engine() : judged.front()->engine();
    vocab_ = any.config().vocab;
    pool_ = &any.pool();
    exact_logits_.resize(kBlockTokens * vocab_);
    judged_logits_.resize(kBlockTokens * vocab_);
  }

  Status window(std::size_t index, const std::atomic<bool>* cancel) {
    const std::vector<TokenId> tokens = windows_.tokens(index);
    std::optional<Sequence> exact_sequence;
    if (exact_.engine != nullptr) exact_sequence = exact_.engine->open();
    if (has_exact()) run_.exact.emplace_back().reserve(windows_.predictions());
    std::vector<Sequence> sequences;
    for (std::size_t r = 0; r < judged_.size(); ++r) {
      sequences.push_back(judged_[r]->open());
      run_.recipes[r].windows.emplace_back().reserve(windows_.predictions());
    }
    for (std::size_t begin = 0, done = 0; begin < tokens.size(); begin += done) {
      if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
        return fail(ErrorCode::kCancelled,
                    "stopped after " + std::to_string(index) + " of " + std::to_string(windows_.size()) + " windows");
      }
      const BlockRows rows = block_rows(windows_, tokens, begin);
      done = rows.tokens.size();
      if (begin == windows_.first_logits()) CAIRN_TRY_VOID(finish_contexts(sequences));
      CAIRN_TRY_VOID(exact_block(exact_sequence, rows));
      score(tokens, rows, exact_rows_, has_exact() ? &run_.exact.back() : nullptr);
      for (std::size_t r = 0; r < judged_.size(); ++r) {
        CAIRN_TRY_VOID(compute(*judged_[r], sequences[r], rows, judged_logits_));
        distributions(judged_logits_, rows.count, judged_rows_);
        score(tokens, rows, judged_rows_, &run_.recipes[r].windows.back());
      }
    }
    for (std::size_t r = 0; r < judged_.size(); ++r) run_.recipes[r].cost = judged_[r]->cost(sequences[r]);
    return {};
  }

  TextRun take() { return std::move(run_); }

  // After a stop: without the window that was begun.
  TextRun take_whole(std::size_t windows) {
    run_.stopped = true;
    if (has_exact()) run_.exact.resize(windows);
    for (JudgedText& text : run_.recipes) text.windows.resize(windows);
    return std::move(run_);
  }

 private:
  Status finish_contexts(std::vector<Sequence>& sequences) {
    for (std::size_t r = 0; r < judged_.size(); ++r) CAIRN_TRY_VOID(judged_[r]->finish_context(sequences[r], 0));
    return {};
  }

  bool has_exact() const { return exact_.engine != nullptr || exact_.file != nullptr; }

  Status compute(JudgedEngine& engine, Sequence& sequence, const BlockRows& rows, std::vector<float>& logits) const {
    // Logits are to be had of the last rows only; of a window's last block the very last one predicts nothing.
    const std::size_t behind = sequence.size() + rows.tokens.size() - (rows.first + rows.count);
    const auto wanted = static_cast<std::uint32_t>(rows.count == 0 ? 0 : rows.count + behind);
    const ForwardRows batch[] = {{&sequence, rows.tokens, wanted, logits.data()}};
    return engine.forward(batch);
  }

  Status exact_block(std::optional<Sequence>& sequence, const BlockRows& rows) {
    if (exact_.engine != nullptr) {
      CAIRN_TRY_VOID(compute(*exact_.engine, *sequence, rows, exact_logits_));
      for (std::size_t i = 0; exact_.save != nullptr && i < rows.count; ++i) {
        CAIRN_TRY_VOID(exact_.save->append(std::span(exact_logits_).subspan(i * vocab_, vocab_)));
      }
    } else if (exact_.file != nullptr) {
      for (std::size_t i = 0; i < rows.count; ++i) {
        CAIRN_TRY(const std::span<const float> row, exact_.file->next());
        std::ranges::copy(row, exact_logits_.begin() + static_cast<std::ptrdiff_t>(i * vocab_));
      }
    }
    if (has_exact()) distributions(exact_logits_, rows.count, exact_rows_);
    return {};
  }

  void distributions(std::span<const float> logits, std::size_t count, std::vector<LogProbabilities>& out) {
    out.resize(count);
    pool_->run(count, [&](std::size_t i, unsigned) { out[i].assign(logits.subspan(i * vocab_, vocab_)); });
  }

  void score(std::span<const TokenId> tokens, const BlockRows& rows, const std::vector<LogProbabilities>& mine,
             WindowScores* scores) {
    if (scores == nullptr) return;
    const std::size_t old = scores->size();
    scores->resize(old + rows.count);
    pool_->run(rows.count, [&](std::size_t i, unsigned) {
      TokenScore& score = (*scores)[old + i];
      score.nll = -mine[i][static_cast<std::size_t>(tokens[rows.first + i + 1])];
      if (!has_exact() || &mine == &exact_rows_) return;
      score.kl = exact_rows_[i].divergence_to(mine[i]);
      score.same_top = exact_rows_[i].likeliest() == mine[i].likeliest();
    });
  }

  const ExactSource& exact_;
  std::span<const std::unique_ptr<JudgedEngine>> judged_;
  const Windows& windows_;
  std::size_t vocab_ = 0;
  ThreadPool* pool_ = nullptr;
  std::vector<float> exact_logits_, judged_logits_;  // [kBlockTokens, vocab]
  std::vector<LogProbabilities> exact_rows_, judged_rows_;
  TextRun run_;
};

enum Figure : std::size_t { kPerplexity, kMean, kMedian, kP95, kP99, kMax, kSame, kExactPerplexity, kRatio, kFigures };

}  // namespace

Result<Windows> Windows::make(std::vector<TokenId> text, std::optional<TokenId> begin_token, const WindowSlices& plan) {
  if (plan.context < 2) return fail(ErrorCode::kInvalidArgument, "a window needs a context of at least 2 tokens");
  const bool overlap = plan.stride > 0 && plan.stride < plan.context;
  const std::uint32_t skip = plan.skip.value_or(overlap ? plan.context - plan.stride : plan.context / 2);
  if (skip >= plan.context - 1) {
    return fail(ErrorCode::kInvalidArgument, "skipping " + std::to_string(skip) + " of " +
                                                 std::to_string(plan.context) +
                                                 " tokens leaves none to predict; lower --skip");
  }
  if (text.size() < plan.context) {
    return fail(ErrorCode::kInvalidArgument, "the text has " + std::to_string(text.size()) +
                                                 " tokens, fewer than one window of " + std::to_string(plan.context) +
                                                 "; use a longer text or a smaller context");
  }
  Windows windows;
  windows.context_ = plan.context;
  windows.stride_ = plan.stride == 0 ? plan.context : plan.stride;
  windows.skip_ = skip;
  windows.begin_token_ = begin_token;
  windows.count_ = std::min((text.size() - plan.context) / windows.stride_ + 1, plan.max_windows);
  windows.text_ = std::move(text);
  return windows;
}

std::vector<TokenId> Windows::tokens(std::size_t window) const {
  const auto from = text_.begin() + static_cast<std::ptrdiff_t>(window * stride_);
  std::vector<TokenId> tokens(from, from + context_);
  if (begin_token_) tokens.front() = *begin_token_;
  return tokens;
}

Digest windows_digest(const Engine& exact, const Windows& windows) {
  Hasher hasher("cairn.reference.v1");
  hasher.digest(recipe_fingerprint(exact.recipe()));
  hasher.u32(windows.context()).u32(windows.first_logits()).u64(windows.size());
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const std::vector<TokenId> tokens = windows.tokens(w);
    hasher.bytes(std::as_bytes(std::span(tokens)));
  }
  return hasher.finish();
}

Result<TextRun> run_text(const ExactSource& exact, std::span<const std::unique_ptr<JudgedEngine>> judged,
                         const Windows& windows, const TextRunControl& control) {
  if (judged.empty() && exact.engine == nullptr) return fail(ErrorCode::kInvalidArgument, "there is nothing to judge");
  Runner runner(exact, judged, windows);
  for (std::size_t w = 0; w < windows.size(); ++w) {
    const Status done = runner.window(w, control.cancel);
    if (!done && done.error().code == ErrorCode::kCancelled && w > 0) return runner.take_whole(w);
    CAIRN_TRY_VOID(done);
    if (control.on_progress) control.on_progress(w + 1, windows.size());
  }
  return runner.take();
}

TextSummary summarise(std::span<const WindowScores> judged, std::span<const WindowScores> exact, std::uint64_t seed) {
  std::vector<double> kl;
  const auto figures = [&](std::span<const std::size_t> drawn, std::span<double> out) {
    kl.clear();
    double nll = 0, exact_nll = 0, sum = 0;
    std::size_t same = 0;
    for (const std::size_t w : drawn) {
      for (const TokenScore& score : judged[w]) {
        nll += score.nll;
        sum += score.kl;
        same += score.same_top ? 1 : 0;
        kl.push_back(score.kl);
      }
      if (exact.empty()) continue;
      for (const TokenScore& score : exact[w]) exact_nll += score.nll;
    }
    const auto tokens = static_cast<double>(kl.size());
    out[kPerplexity] = std::exp(nll / tokens);
    out[kMean] = sum / tokens;
    if (!exact.empty()) {
      out[kMedian] = quantile(kl, 0.5);
      out[kP95] = quantile(kl, 0.95);
      out[kP99] = quantile(kl, 0.99);
      out[kMax] = *std::ranges::max_element(kl);
    }
    out[kSame] = static_cast<double>(same) / tokens;
    out[kExactPerplexity] = exact.empty() ? 0 : std::exp(exact_nll / tokens);
    out[kRatio] = exact.empty() ? 1 : std::exp((nll - exact_nll) / tokens);
  };
  const std::vector<Estimate> of = bootstrap(judged.size(), kFigures, seed, figures);
  return {.windows = judged.size(),
          .tokens = judged.size() * judged.front().size(),
          .perplexity = of[kPerplexity],
          .kl_mean = of[kMean],
          .kl_median = of[kMedian],
          .kl_p95 = of[kP95],
          .kl_p99 = of[kP99],
          .kl_max = of[kMax],
          .same_top1 = of[kSame],
          .exact_perplexity = of[kExactPerplexity],
          .perplexity_ratio = of[kRatio]};
}

}  // namespace cairn
