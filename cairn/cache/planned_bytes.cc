// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/planned_bytes.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cairn/cache/demotion.h"
#include "cairn/cache/packing.h"
#include "cairn/cache/read_scores.h"
#include "cairn/cache/token_policy.h"

namespace cairn::cache {
namespace {

std::size_t whole_blocks(std::size_t tokens) {
  return (tokens + kBlockTokens - 1) / kBlockTokens;
}

// The layers of one cache under one policy.
class Planner {
 public:
  Planner(const CacheCore& core, const PolicySpec& policy, const PlannedGrowth& growth)
      : core_(core),
        policy_(policy),
        rows_(growth.rows),
        stays_(policy.prompt_stays ? whole_blocks(growth.prompt) * kBlockTokens : 0),
        packs_(touched_tables(core.options.layers)),
        demoted_form_(demoted_form(policy)) {
    const LayerForms* first = nullptr;
    for (std::size_t t = 0; t < core.tables.size(); ++t) {
      if (!packs_[t]) continue;
      const LayerForms& forms = core.tables[t];
      if (first == nullptr) first = &forms;
      alike_ = alike_ && forms.open_bytes() == first->open_bytes() && forms.closed_bytes() == first->closed_bytes();
      ++packed_layers_;
    }
  }

  // Of all layers: those that pack hold what `kept` tokens left there and `since` tokens that came afterwards; others
  // what they hold of `tokens`.
  std::size_t bytes(std::size_t kept, std::size_t since, std::size_t tokens) const {
    std::size_t bytes = 0;
    for (std::size_t t = 0; t < core_.tables.size(); ++t) {
      const std::size_t held = packs_[t] ? blocks_after(t, kept) * kBlockTokens + since : tokens;
      const std::size_t own = whole_bytes(core_.tables[t], core_.options.plan, held, rows_);
      bytes += packs_[t] && kept > 0 ? with_demoted(t, own, kept, tokens) : own;
    }
    return bytes;
  }

  // Of the layer that needs most to pack what stays of `tokens` tokens.
  std::size_t room(std::size_t tokens) const {
    std::size_t most = 0;
    for (std::size_t t = 0; t < core_.tables.size(); ++t) {
      if (!packs_[t]) continue;
      const std::size_t all = whole_blocks(std::min(tokens, fullest(t, tokens)));
      const std::size_t blocks = all - std::min(all, stays_ / kBlockTokens);
      const std::size_t sinks = std::min<std::size_t>(blocks, core_.options.plan.sink_blocks);
      const std::size_t own = packing_bytes(core_.tables[t], blocks, core_.tables[t].encodes() ? sinks : blocks);
      most = std::max(most, with_demoted(t, own, tokens, tokens));
    }
    return most;
  }

  // Of the last of `tokens` tokens, those that are in memory while the others lie beside the budget: the blocks that a
  // pass touches, and what finds no room there.
  std::size_t in_memory(std::size_t tokens) const {
    if (!policy_.offloads || core_.options.plan.exact_prefill) return tokens;
    const std::size_t recent = (core_.options.plan.recent_blocks + std::size_t{1}) * kBlockTokens;
    const std::size_t place = core_.offload->budget(), sinks = core_.options.plan.sink_blocks;
    const std::size_t open = std::max<std::size_t>(block_bytes(true), 1);
    const std::size_t of_sinks = std::min(sinks, place / open);
    const std::size_t others =
        of_sinks < sinks ? 0 : (place - sinks * open) / std::max<std::size_t>(block_bytes(false), 1);
    const std::size_t away = (of_sinks + others) * kBlockTokens;
    return std::min(tokens, std::max(tokens - std::min(tokens, away), rows_ + recent));
  }

  // Bytes beside the budget once this many tokens have moved there. Sinks move in their open form.
  std::size_t beside(std::size_t tokens) const {
    const std::size_t blocks = tokens / kBlockTokens;
    const std::size_t sinks = std::min<std::size_t>(blocks, core_.options.plan.sink_blocks);
    return sinks * block_bytes(true) + (blocks - sinks) * block_bytes(false);
  }

  // What a read selection holds beside the pages to choose among them.
  std::size_t boxes(std::size_t tokens) const {
    std::size_t bytes = 0;
    for (std::size_t t = 0; t < core_.tables.size(); ++t) {
      if (packs_[t]) bytes += ReadScores(policy_, core_.tables[t].spec.shape).growth(tokens / kBlockTokens);
    }
    return bytes;
  }

 private:
  // Of the tables that a policy may touch.
  std::size_t block_bytes(bool open) const {
    std::size_t bytes = 0;
    for (std::size_t t = 0; t < core_.tables.size(); ++t) {
      if (packs_[t]) bytes += open ? core_.tables[t].open_bytes() : core_.tables[t].closed_bytes();
    }
    return bytes;
  }

  // With what retentions of `kept` tokens have demoted. Nothing is demoted where that saves nothing, so it is never
  // more than `tokens` take in the layer's own form.
  std::size_t with_demoted(std::size_t table, std::size_t own, std::size_t kept, std::size_t tokens) const {
    if (demoted_form_ == kClosedForm) return own;
    const LayerForms& forms = core_.tables[table];
    const std::size_t whole = whole_bytes(forms, core_.options.plan, tokens, rows_);
    const bool uniform = !policy_.moves_between_layers() && policy_.budget == BudgetRule::kUniform;
    const bool again = policy_.chunk != 0 || policy_.every != 0;
    // Each time heads that keep unlike numbers may leave pages half empty.
    if (again && (!uniform || policy_.ages())) return whole;
    // Uniform budgets are used up, but for a unit. Each retention may leave a page of its own half empty.
    const auto times_of = [&](std::size_t step) { return step == 0 ? 0 : kept / step; };
    const std::size_t times = 1 + times_of(policy_.chunk) + times_of(policy_.every);
    const std::size_t goes = kept - std::min(kept, stays_), stay = wanted(goes);
    const std::size_t demoted = uniform ? goes - stay + std::min<std::size_t>(stay, policy_.unit) : goes;
    const std::size_t pages = demoted / kBlockTokens + (policy_.unit == 1 ? 1 : 2) * times;
    return std::min(whole, own + pages * demoted_bytes(forms, demoted_form_));
  }

  std::size_t wanted(std::size_t tokens) const {
    return static_cast<std::size_t>(std::llround(policy_.keep * static_cast<double>(tokens)));
  }

  // What `keep` gives a list of tokens, protected ones included.
  std::size_t base(std::size_t tokens) const {
    const std::size_t goes = tokens - std::min(tokens, stays_);
    const std::size_t stay = std::size_t{policy_.sinks} + policy_.recent + kBlockTokens - 1;  // and an open tail
    return std::min(stays_ + std::max(wanted(goes), stay), tokens);
  }

  // The most that any head of a layer keeps.
  std::size_t fullest(std::size_t table, std::size_t tokens) const {
    if (policy_.profile != nullptr) return base(tokens) * packed_layers_;
    switch (policy_.budget) {
      case BudgetRule::kUniform: return base(tokens);
      case BudgetRule::kAda: return base(tokens) * core_.tables[table].spec.shape.kv_heads;
      case BudgetRule::kPyramid:
      case BudgetRule::kPrefix:
      case BudgetRule::kSlope:
      case BudgetRule::kEntropy: return base(tokens) * packed_layers_;
      case BudgetRule::kGlobal: break;
    }
    return tokens;
  }

  // Blocks of a layer after a retention, on the mean over layers that share a budget.
  std::size_t blocks_after(std::size_t table, std::size_t tokens) const {
    const bool by_layer = policy_.profile != nullptr || policy_.budget != BudgetRule::kGlobal;
    const bool shared = by_layer && policy_.moves_between_layers();
    const std::size_t most = tokens / kBlockTokens;
    if (shared && alike_) return std::min(most, whole_blocks(base(tokens)) + 1);  // each layer rounds up
    return std::min(most, whole_blocks(fullest(table, tokens)));
  }

  const CacheCore& core_;
  const PolicySpec& policy_;
  const std::size_t rows_;
  const std::size_t stays_;        // first tokens that no retention looks at
  const std::vector<bool> packs_;  // by table
  const std::uint32_t demoted_form_;
  std::size_t packed_layers_ = 0;
  bool alike_ = true;
};

// While tokens are decoded: what the last retention left, and what came since. Retentions that are put off for lack of
// room leave more, until a pass finds none either.
std::size_t answer_bytes(const Planner& planner, const PolicySpec& policy, const PlannedGrowth& growth) {
  const std::size_t to = growth.to, prompt = growth.prompt;
  const std::size_t since_prompt = to - prompt / kBlockTokens * kBlockTokens;
  const std::size_t first = whole_blocks(prompt + policy.every) * kBlockTokens;
  if (policy.every == 0 || policy.keep == 1 || to < first) return planner.bytes(prompt, since_prompt, to);
  // What stays grows from one to the next, so the last one says the most.
  const std::size_t last = first + (to - first) / policy.every * policy.every;
  const std::size_t afterwards = planner.bytes(last, to - last, to);
  if (growth.from >= last) return afterwards;
  const std::size_t before = last == first ? planner.bytes(prompt, first - prompt / kBlockTokens * kBlockTokens, last)
                                           : planner.bytes(last - policy.every, policy.every, last);
  return std::max(afterwards, before + planner.room(last));
}

}  // namespace

std::size_t whole_bytes(const LayerForms& layer, const CodecPlan& plan, std::size_t tokens, std::size_t rows) {
  const std::size_t tail = tokens % kBlockTokens != 0 ? 1 : 0;
  const std::size_t full = std::min(tokens / kBlockTokens, layer.max_blocks() - tail);
  const std::size_t stay = std::min<std::size_t>(full, std::size_t{plan.sink_blocks} + plan.recent_blocks);
  const std::size_t open = (plan.exact_prefill ? full : stay) + tail;
  // A tail that is open takes as much as the block before it did beyond its closed form.
  const std::size_t in_both_forms = plan.exact_prefill || tail != 0 || full == stay ? 0 : 1;
  std::size_t bytes = open * layer.open_bytes();
  bytes += (full - stay) * (plan.exact_prefill ? layer.closing_bytes() : layer.closed_bytes());
  if (full > stay && plan.sink_blocks == 0) bytes += layer.first_extra();
  bytes += in_both_forms * (layer.open_bytes() + layer.closing_bytes() - layer.closed_bytes());
  const std::size_t behind = tokens / kBlockTokens - full;
  bytes += std::min(behind, (rows - 1 + kBlockTokens - 1) / kBlockTokens) * layer.open_bytes();
  // The last block before a window that ends with it is there while the next is encoded.
  if (behind > 0 && tail != 0 && layer.window % kBlockTokens == 1) bytes += layer.closing_bytes();
  return bytes;
}

PlannedBytes planned_bytes(const CacheCore& core, const PolicySpec& policy, const PlannedGrowth& growth) {
  const Planner planner(core, policy, growth);
  const std::size_t to = growth.to, prompt = growth.prompt;
  PlannedBytes planned;
  const bool packs = policy.scorer != nullptr && policy.keep < 1 && !policy.prompt_stays && prompt > 0;
  const std::size_t chunk = policy.chunk == 0 ? prompt : policy.chunk;
  const std::size_t first = packs ? std::min(chunk, prompt) : to + 1;  // where tokens go for the first time
  if (growth.from < first) {
    const std::size_t reached = std::min(first, to);
    const bool thins = policy.prompt_stays && to >= prompt;
    planned.whole =
        thins ? answer_bytes(planner, policy, growth) : planner.bytes(0, planner.in_memory(reached), reached);
    planned.beside = planner.beside(reached - planner.in_memory(reached));
    if (to >= first) {
      planned.whole += planner.room(first);
      if (growth.replayed > 0) {
        const std::size_t all = first + growth.replayed;
        const std::size_t second_tail = planner.bytes(0, 1, 1);  // beside the prompt's own
        planned.whole = std::max(planned.whole, planner.bytes(0, all, all) + second_tail);
      }
    }
  }
  if (policy.reads_less() && to >= prompt) planned.whole += planner.boxes(to);
  if (to < first) return planned;
  // What a chunk leaves grows from one to the next, so the last two of those that are still to come say the most.
  const std::size_t end = std::min(to, prompt);
  const std::size_t last = (end - 1) / chunk * chunk;
  for (const std::size_t begin : {last - std::min(last, chunk), last}) {
    const std::size_t next = std::min(begin + chunk, prompt), reached = std::min(next, to);
    if (begin < first || growth.from >= next) continue;
    const std::size_t room = reached == next ? planner.room(next) : 0;
    planned.packed = std::max(planned.packed, planner.bytes(begin, reached - begin, reached) + room);
  }
  if (to >= prompt) planned.packed = std::max(planned.packed, answer_bytes(planner, policy, growth));
  return planned;
}

}  // namespace cairn::cache
