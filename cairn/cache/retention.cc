// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/retention.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <utility>
#include <vector>

#include "cairn/cache/demotion.h"
#include "cairn/cache/kept_prefixes.h"
#include "cairn/cache/packing.h"
#include "cairn/cache/token_policy.h"
#include "cairn/codec/codec.h"
#include "cairn/policy/aging.h"
#include "cairn/policy/retention.h"
#include "cairn/policy/scorer.h"

namespace cairn::cache {
namespace {

// What a scorer is shown of one table, and the memory of it.
struct Evidence {
  std::vector<std::int32_t> positions;
  std::vector<float> keys, values, mass;
  std::vector<std::uint32_t> seen_by;
};

// [kv_heads, slots]; kNoToken where a slot is empty or hidden. What was demoted is no token any more that could stay or
// go: it counts as if it were gone.
std::vector<std::int32_t> positions_of(const LayerTable& table) {
  const std::span<const PageView> pages = table.views();
  const std::uint32_t kv_heads = table.forms().spec.shape.kv_heads;
  const std::size_t slots = pages.size() * kBlockTokens;
  std::vector<std::int32_t> positions(kv_heads * slots, kNoToken);
  for (std::uint32_t h = 0; h < kv_heads; ++h) {
    for (std::size_t p = 0; p < pages.size(); ++p) {
      if (table.entry(p).is_demoted()) continue;
      for (std::uint32_t t = 0; t < pages[p].count; ++t) {
        const std::int32_t position = pages[p].positions[std::size_t{h} * pages[p].head_stride + t];
        if (position != kHiddenPosition) positions[h * slots + p * kBlockTokens + t] = position;
      }
    }
  }
  return positions;
}

// What the pages of one slot decode to, [kv_heads, slots, head_dim], in the basis of the model.
std::vector<float> rows_of(const LayerTable& table, PageSlot slot, ThreadPool& pool) {
  const std::span<const PageView> pages = table.views();
  const PageShape shape = table.forms().spec.shape;
  const Basis basis = basis_of(table.forms().of(slot).closed);  // open pages lie in it too
  const std::size_t slots = pages.size() * kBlockTokens, dim = shape.head_dim, width = shape.values_per_token();
  std::vector<float> rows(slots * width, 0.0f);
  pool.run(pages.size(), [&](std::size_t p, unsigned) {
    const PageView& page = pages[p];
    const bool keys = slot == PageSlot::kKeys;
    const PageFormat& format = keys ? *page.key_format : *page.value_format;
    std::vector<float> tokens(page.count * width);
    format.codec->decode(format, keys ? page.keys : page.values, page.count, tokens.data());
    basis.turn_tokens_back(tokens);
    for (std::uint32_t t = 0; t < page.count; ++t) {
      for (std::uint32_t h = 0; h < shape.kv_heads; ++h) {
        std::copy_n(tokens.data() + t * width + h * dim, dim, rows.data() + (h * slots + p * kBlockTokens + t) * dim);
      }
    }
  });
  return rows;
}

std::uint64_t hash_of(std::span<const TokenId> tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), std::uint64_t{0xcbf29ce484222325u},
                         [](std::uint64_t hash, TokenId id) {
                           return (hash ^ static_cast<std::uint64_t>(id)) * std::uint64_t{0x100000001b3u};
                         });
}

// By position: whether the token is punctuation. Empty where the policy does not ask.
std::vector<std::uint8_t> punctuation_of(const SequenceState& state) {
  std::vector<std::uint8_t> marks;
  if (state.policy->spec().punctuation == 1) return marks;
  for (const TokenId id : state.tokens) marks.push_back(state.core->options.is_punctuation(id) ? 1 : 0);
  return marks;
}

// What all layers of a sequence are scored by.
struct Whole {
  std::uint32_t layers = 0;
  std::vector<std::uint8_t> punctuation;
  std::uint64_t seed = 0;
};

LayerScores scores_of(SequenceState& state, std::size_t number, std::uint32_t layer, const Whole& whole,
                      ThreadPool& pool) {
  TokenPolicy& policy = *state.policy;
  const LayerTable& table = state.tables[number];
  const PageShape shape = table.forms().spec.shape;
  const ScorerNeeds& needs = policy.spec().scorer->needs;
  const std::span<const PageView> pages = table.views();
  Evidence own;
  own.positions = positions_of(table);
  if (needs.keys) own.keys = rows_of(table, PageSlot::kKeys, pool);
  if (needs.values) own.values = rows_of(table, PageSlot::kValues, pool);
  ProbeQueries& probes = policy.tables()[number].probes;
  if (needs.probes != Probes::kNone) {
    probes.count_last(pages, pool);
    probes.read(shape.kv_heads, pages, own.mass, own.seen_by);
  }
  const QueryGaussians queries = needs.queries ? policy.tables()[number].moments.read(shape) : QueryGaussians{};
  const auto pointer = [](const auto& vector) { return vector.empty() ? nullptr : vector.data(); };
  return score_layer({.layer = layer,
                      .layers = whole.layers,
                      .shape = shape,
                      .slots = pages.size() * kBlockTokens,
                      .positions = own.positions.data(),
                      .keys = pointer(own.keys),
                      .values = pointer(own.values),
                      .mass = pointer(own.mass),
                      .seen_by = pointer(own.seen_by),
                      .probes = probes.probes(),
                      .queries = needs.queries ? &queries : nullptr,
                      .punctuation = whole.punctuation,
                      .seed = whole.seed},
                     policy.spec());
}

// Its tokens, all with the same score.
LayerScores held_layer(const SequenceState& state, std::size_t number) {
  const LayerTable& table = state.tables[number];
  LayerScores layer;
  layer.kv_heads = table.forms().spec.shape.kv_heads;
  layer.positions = positions_of(table);
  layer.slots = layer.fixed_from = layer.positions.size() / layer.kv_heads;
  layer.scores.assign(layer.positions.size(), 0.0f);
  return layer;
}

std::size_t full_blocks(const LayerTable& table) {
  return table.blocks() - (table.tail_tokens() != 0 ? 1 : 0);
}

// The slots under a KV head that hold a token, before slot `end`.
std::size_t tokens_before(const LayerScores& scores, std::size_t kv_head, std::size_t end) {
  const std::span row = std::span(scores.positions).subspan(kv_head * scores.slots, end);
  return row.size() - static_cast<std::size_t>(std::ranges::count(row, kNoToken));
}

std::size_t bytes_of(const LayerTable& table) {
  std::size_t bytes = 0;
  for (std::size_t b = 0; b < table.blocks(); ++b) {
    for (const PageSlot slot : table.forms().slots()) bytes += table.entry(b).page(slot).bytes();
  }
  return bytes;
}

// What a plan keeps from slot `first` on, counted from there.
LayerKeep keep_from(const LayerKeep& keep, std::size_t first) {
  LayerKeep rest = keep;
  for (std::vector<std::uint32_t>& slots : rest.heads) {
    std::erase_if(slots, [=](std::uint32_t slot) { return slot < first; });
    for (std::uint32_t& slot : slots) slot -= static_cast<std::uint32_t>(first);
  }
  return rest;
}

// Tokens that were demoted before, each once for every KV head.
std::size_t demoted_tokens(const LayerTable& table) {
  std::size_t count = 0;
  for (std::size_t b = 0; b < table.blocks(); ++b) {
    const PageView& view = table.views()[b];
    for (std::uint32_t h = 0; table.entry(b).is_demoted() && h < table.forms().spec.shape.kv_heads; ++h) {
      const std::span positions(view.positions + std::size_t{h} * view.head_stride, view.count);
      count += view.count - static_cast<std::size_t>(std::ranges::count(positions, kHiddenPosition));
    }
  }
  return count;
}

// Whether all of it stays. Counts what does, of the `tokens` of the sequence, and what is demoted instead; `demoted`
// tokens were before.
bool keeps_all(const LayerKeep& keep, const LayerScores& scores, const PolicySpec& policy, std::size_t tokens,
               std::size_t demoted, PolicyReport& report) {
  bool all = true;
  PolicyReport::LayerKept& layer = report.layers.emplace_back();
  layer.before = scores.kv_heads * tokens;
  for (std::size_t h = 0; h < scores.kv_heads; ++h) {
    const std::size_t held = tokens_before(scores, h, scores.fixed_from);
    const std::size_t tail = tokens_before(scores, h, scores.slots) - held;
    const std::size_t kept = keep.heads[keep.shared() ? 0 : h].size();
    layer.kept += kept + tail;
    if (!policy.demote.empty()) demoted += held - kept;
    all = all && kept == held;
  }
  report.tokens_before += layer.before;
  report.tokens_kept += layer.kept;
  report.tokens_demoted += demoted;
  return all;
}

std::size_t tokens_of(const LayerKeep& keep, std::size_t kv_heads) {
  std::size_t tokens = 0;
  for (const std::vector<std::uint32_t>& slots : keep.heads) tokens += slots.size();
  return keep.shared() ? tokens * kv_heads : tokens;
}

// Of a layer some tokens that were to be demoted stay.
void stay_instead(PolicyReport& report, const PlannedPack& planned, std::size_t tokens) {
  report.tokens_kept += tokens;
  report.tokens_demoted -= tokens;
  report.layers[planned.layer].kept += tokens;
}

// Whether demoting what does not stay saves something; otherwise it stays. What no code can stand for stays in any
// case.
bool can_demote(SequenceState& state, PlannedPack& planned, const PackedRange& range, Packing& packing,
                ThreadPool& pool) {
  const LayerTable& table = state.tables[planned.table];
  const std::size_t kv_heads = table.forms().spec.shape.kv_heads;
  PolicyReport& report = state.policy->report();
  if (saves_bytes(table, packing) && !planned.kept_raw) {
    const std::size_t before = tokens_of(planned.keep, kv_heads);
    planned.kept_raw = keep_unencodable(table, range, planned.keep, pool);
    if (const std::size_t more = tokens_of(planned.keep, kv_heads) - before; more > 0) {
      stay_instead(report, planned, more);
      packing = packing_of(table, range, planned.keep, demoted_form(state.policy->spec()));
    }
  }
  if (saves_bytes(table, packing)) return true;
  stay_instead(report, planned, tokens_of(packing.parts.back().slots, kv_heads));
  return false;
}

Status pack_table(SequenceState& state, PlannedPack& planned, ThreadPool& pool) {
  LayerTable& table = state.tables[planned.table];
  const std::uint32_t form = demoted_form(state.policy->spec());
  const PackedRange range = {planned.first, planned.end, state.core->options.plan.sink_blocks};
  Packing packing = packing_of(table, range, planned.keep, form);
  if (form != kClosedForm) {
    if (!can_demote(state, planned, range, packing, pool)) return {};
    for (const PageSlot slot : table.forms().slots()) {
      CAIRN_TRY_VOID(state.core->pool->declare(table.forms().of(slot).page_bytes(form)));
    }
  }
  CAIRN_TRY(Reservation room, state.core->make_room(packing_bytes(table.forms(), packing)));
  const std::size_t before = bytes_of(table);
  pack(table, packing, room, pool);
  state.core->blocks_kept_raw += planned.kept_raw.value_or(0);
  state.policy->tables()[planned.table].probes.pack(packing.sources(), table.forms().spec.shape.kv_heads, planned.first,
                                                    planned.end, packing.blocks());
  state.policy->report().bytes_freed += before - std::min(before, bytes_of(table));
  state.intact = false;
  state.packed_tokens = state.policy->planned_tokens();
  return {};
}

// What is left of a plan.
Status carry_out(SequenceState& state, ThreadPool& pool) {
  std::deque<PlannedPack>& planned = state.policy->planned();
  for (; !planned.empty(); planned.pop_front()) CAIRN_TRY_VOID(pack_table(state, planned.front(), pool));
  return {};
}

std::vector<std::size_t> touched_numbers(SequenceState& state) {
  std::vector<std::size_t> numbers;
  for (std::size_t t = 0; t < state.tables.size(); ++t) {
    if (state.policy->tables()[t].touched) numbers.push_back(t);
  }
  return numbers;
}

std::vector<LayerScores> scored_layers(SequenceState& state, std::span<const std::size_t> numbers, ThreadPool& pool) {
  const Whole whole = {.layers = static_cast<std::uint32_t>(numbers.size()),
                       .punctuation = punctuation_of(state),
                       .seed = hash_of(state.tokens)};
  std::vector<LayerScores> layers;
  std::size_t leader = 0;
  for (std::uint32_t l = 0; l < numbers.size(); ++l) {
    if (state.policy->tables()[numbers[l]].follows) {
      LayerScores held = held_layer(state, numbers[l]);
      layers.push_back(follow_scores(layers[leader], std::move(held.positions), held.kv_heads));
    } else {
      leader = l;
      layers.push_back(scores_of(state, numbers[l], l, whole, pool));
    }
  }
  return layers;
}

std::vector<LayerScores> held_layers(const SequenceState& state, std::span<const std::size_t> numbers) {
  std::vector<LayerScores> layers;
  for (const std::size_t number : numbers) layers.push_back(held_layer(state, number));
  return layers;
}

RetentionPlan plan_by_age(TokenPolicy& policy, std::span<const std::size_t> numbers,
                          std::span<const LayerScores> layers) {
  RetentionPlan plan;
  for (std::size_t l = 0; l < numbers.size(); ++l) {
    plan.layers.push_back(keep_by_age(policy.spec(), layers[l], policy.tables()[numbers[l]].prompt_kept));
  }
  return plan;
}

Status plan(SequenceState& state, ThreadPool& pool) {
  TokenPolicy& policy = *state.policy;
  if (policy.is_lost()) {
    return fail(ErrorCode::kUnsupported, "policy '" + policy.spec().text +
                                             "' counts the attention of every query, and one of this sequence's passes "
                                             "was taken back: compute the prompt anew");
  }
  const std::vector<std::size_t> numbers = touched_numbers(state);
  const bool by_age = policy.prompt_ended() && policy.spec().ages();
  std::vector<LayerScores> layers = by_age ? held_layers(state, numbers) : scored_layers(state, numbers, pool);
  for (std::size_t l = 0; l < numbers.size(); ++l) {
    LayerScores& scores = layers[l];
    scores.fixed_from = full_blocks(state.tables[numbers[l]]) * kBlockTokens;
    if (policy.spec().prompt_stays) {
      scores.fixed_before =
          std::min(scores.fixed_from, (policy.prompt_tokens() + kBlockTokens - 1) / kBlockTokens * kBlockTokens);
    }
  }
  const RetentionPlan plan = by_age ? plan_by_age(policy, numbers, layers) : plan_retention(policy.spec(), layers);
  PolicyReport& report = policy.report();
  report.layers.clear();
  report.tokens_before = report.tokens_kept = report.tokens_demoted = 0;
  for (std::size_t l = 0; l < numbers.size(); ++l) {
    const std::size_t demoted = demoted_tokens(state.tables[numbers[l]]);
    if (keeps_all(plan.layers[l], layers[l], policy.spec(), state.tokens.size(), demoted, report)) continue;
    policy.planned().push_back({.table = numbers[l],
                                .keep = keep_from(plan.layers[l], layers[l].fixed_before),
                                .first = layers[l].fixed_before / kBlockTokens,
                                .end = layers[l].fixed_from / kBlockTokens,
                                .layer = l});
  }
  policy.set_planned_at(state.tokens.size());
  return {};
}

// One retention at most for each size of the sequence, however often it is tried: a second plan would go by what the
// first one left.
Status retain(SequenceState& state, ThreadPool& pool) {
  CAIRN_TRY_VOID(carry_out(state, pool));
  if (!state.policy->is_planned_at(state.tokens.size())) {
    CAIRN_TRY_VOID(plan(state, pool));
    CAIRN_TRY_VOID(carry_out(state, pool));
  }
  publish_kept(state);
  return {};
}

}  // namespace

Status end_prompt(SequenceState& state, ThreadPool& pool) {
  if (!state.policy) return {};
  state.policy->leave_prompt();
  if (state.policy->prompt_ended() || state.tokens.empty()) return {};
  if (!state.policy->spec().reads_less() && !state.policy->spec().prompt_stays) CAIRN_TRY_VOID(retain(state, pool));
  state.owes_retention = false;
  if (state.policy->spec().ages()) {
    const std::vector<std::size_t> numbers = touched_numbers(state);
    auto kept = prompt_kept(state.policy->spec(), held_layers(state, numbers), state.tokens.size());
    for (std::size_t l = 0; l < numbers.size(); ++l) {
      state.policy->tables()[numbers[l]].prompt_kept = std::move(kept[l]);
    }
  }
  state.policy->end_prompt(state.tokens.size());
  return {};
}

void retain_if_due(SequenceState& state, ThreadPool& pool) {
  if (!state.policy) return;
  const PolicySpec& spec = state.policy->spec();
  const std::size_t size = state.tokens.size();
  if (!state.policy->prompt_ended()) {
    state.owes_retention = spec.chunk != 0 && size % spec.chunk == 0 && !retain(state, pool);
    return;
  }
  // Full blocks alone are packed, so it waits for the first block border after it is due.
  if (spec.every == 0 || size % kBlockTokens != 0) return;
  const bool due = state.policy->decoded_since_plan(size) >= spec.every;
  if (!due && state.policy->planned().empty()) return;
  const Status retained = due ? retain(state, pool) : carry_out(state, pool);
  if (retained) return;
  if (retained.error().code == ErrorCode::kOutOfBudget) {
    ++state.policy->report().put_off;
  } else {
    state.owes_retention = true;
  }
}

Status retain_if_owed(SequenceState& state, ThreadPool& pool) {
  if (!state.owes_retention) return {};
  CAIRN_TRY_VOID(retain(state, pool));
  state.owes_retention = false;
  return {};
}

}  // namespace cairn::cache
