// SPDX-License-Identifier: Apache-2.0
#include "cairn/cache/token_policy.h"

#include <algorithm>
#include <utility>

#include "cairn/cache/demotion.h"
#include "cairn/cache/rest_of_values.h"
#include "cairn/policy/budget_profile.h"
#include "cairn/policy/query_forms.h"
#include "cairn/policy/reader.h"
#include "cairn/policy/scorer.h"

namespace cairn {

std::size_t reusable_tokens(const PolicySpec& policy, std::size_t prompt_tokens) {
  // What follows the first chunk is computed over what is left of it.
  const std::size_t most = policy.chunk == 0 ? prompt_tokens : std::min<std::size_t>(prompt_tokens, policy.chunk);
  const std::size_t before_window = most - std::min<std::size_t>(most, policy.window);
  if (policy.reads_less() && policy.reader->window) return before_window;
  if (policy.scorer == nullptr) return prompt_tokens;
  if (policy.scorer->needs.queries) return 0;
  switch (policy.scorer->needs.probes) {
    case Probes::kNone:
    case Probes::kReplay: return most;
    case Probes::kLast: return before_window;
    case Probes::kTenth:
    case Probes::kAll: return 0;
  }
  return 0;
}

std::size_t tokens_until_action(const PolicySpec& policy, std::size_t prompt_tokens, std::size_t held,
                                std::size_t wanted) {
  const bool in_prompt = held < prompt_tokens;
  if (in_prompt) wanted = std::min(wanted, prompt_tokens - held);
  // Once the prompt has ended the next block border may be where it acts.
  const std::size_t step = in_prompt ? policy.chunk : policy.every == 0 ? 0 : kBlockTokens;
  return step == 0 ? wanted : std::min(wanted, step - held % step);
}

}  // namespace cairn

namespace cairn::cache {
namespace {

// The pages that some KV head reads, in order, and the open ones; which head reads what of them. Gives how many boxes
// it is over all heads.
std::size_t narrow(AttendRows& rows, std::uint32_t kv_heads, ReadSelection& into) {
  into.by_page.assign(rows.pages.size() * kv_heads, 0);
  std::size_t count = rows.more_pages.size() * kBlockBoxes * kv_heads;
  for (std::uint32_t h = 0; h < kv_heads; ++h) {
    const std::vector<std::uint32_t>& chosen = into.chosen[into.chosen.size() == 1 ? 0 : h];
    count += chosen.size();
    for (const std::uint32_t box : chosen) {
      into.by_page[box / kBlockBoxes * kv_heads + h] |= static_cast<std::uint8_t>(1u << box % kBlockBoxes);
    }
  }
  into.pages.clear();
  into.reads.clear();
  for (std::size_t b = 0; b < rows.pages.size(); ++b) {
    const std::span heads = std::span(into.by_page).subspan(b * kv_heads, kv_heads);
    if (std::ranges::all_of(heads, [](std::uint8_t boxes) { return boxes == 0; })) continue;
    into.pages.push_back(rows.pages[b]);
    into.reads.insert(into.reads.end(), heads.begin(), heads.end());
  }
  into.reads.insert(into.reads.end(), rows.more_pages.size() * kv_heads, kAllBoxes);
  rows.pages = into.pages;
  rows.reads = into.reads.data();
  return count;
}

// For each query head, what its queries of the window become: [heads, head_dim].
std::vector<float> probes_of(const std::vector<const float*>& window, const AttendLayer& how) {
  const std::size_t dim = how.shape.head_dim;
  std::vector<float> probes(how.heads * dim);
  for (std::size_t head = 0; head < how.heads; ++head) {
    std::vector<const float*> own(window);
    for (const float*& q : own) q += head * dim;
    probe_query(own, how.shape.head_dim, probes.data() + head * dim);
  }
  return probes;
}

// Pages beyond the keys, and those that are no longer where their keys say since a block before them was dropped, have
// no place there.
ShelfPlace place_on_shelf(const AskingRow& row, std::span<const PageView> pages, CacheCore& core) {
  if (!core.index) return {};
  std::size_t known = std::min(row.keys.size(), pages.size());
  const auto in_place = [&](std::size_t b) {
    return pages[b].positions[0] == static_cast<std::int64_t>(b * kBlockTokens);
  };
  while (known > 0 && !in_place(known - 1)) --known;
  return {&core.shelf, &*core.index, row.keys.first(known), static_cast<std::uint32_t>(row.table)};
}

}  // namespace

std::vector<bool> touched_tables(std::span<const LayerSpec> layers) {
  std::vector<bool> touched;
  std::vector<std::size_t> table_of;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const bool owns = layers[l].kv_map == l;
    table_of.push_back(owns ? touched.size() : table_of[layers[l].kv_map]);
    if (owns) touched.push_back(true);
    if (layers[l].window != 0) touched[table_of[l]] = false;
  }
  return touched;
}

Status TokenPolicy::check(const PolicySpec& spec, const KvCacheOptions& options) {
  const auto refuse = [&](const std::string& why) {
    return fail(ErrorCode::kUnsupported, "policy '" + spec.text + "': " + why);
  };
  const std::vector<LayerForms> tables = CacheCore::tables_of(options);
  for (const LayerForms& forms : tables) {
    if (forms.reads_mass()) {
      return refuse("codec '" + std::string(forms.keys.closed.codec->name) +
                    "' goes by the attention of every token; take a codec that does not");
    }
    if (spec.scorer != nullptr && spec.scorer->needs.values && !forms.values.exists()) {
      return refuse("it goes by values, which lie in the keys of this model");
    }
  }
  if (spec.punctuation < 1 && options.is_punctuation == nullptr) {
    return refuse("it goes by punctuation, and nobody says which tokens are that");
  }
  if (spec.offloads && options.offload.bytes == 0) {
    return refuse("there is nowhere to offload to; name a place with --offload");
  }
  const std::vector<bool> touched = touched_tables(options.layers);
  CAIRN_TRY_VOID(check_profile_layers(spec, static_cast<std::size_t>(std::ranges::count(touched, true))));
  std::vector<LayerForms> thinned;
  for (std::size_t t = 0; t < tables.size(); ++t) {
    if (touched[t]) thinned.push_back(tables[t]);
  }
  if (thinned.empty()) return refuse("every layer of this model has a window, and keeps only what that reaches");
  if (spec.demote.empty()) return {};
  const Result<const Codec*> codec = find_codec(spec.demote);
  if (!codec) return refuse(codec.error().message);
  const Status fits = check_demotion(**codec, thinned);
  return fits ? fits : refuse(fits.error().message);
}

TokenPolicy::TokenPolicy(const PolicySpec& spec, const CacheCore& core) : spec_(spec), recent_queries_(spec.window) {
  report_.policy = spec.text;
  const Probes probes = spec.scorer != nullptr ? spec.scorer->needs.probes : Probes::kNone;
  const MassRule rule = spec.scorer != nullptr ? spec.scorer->needs.mass : MassRule::kSum;
  const std::vector<bool> touched = touched_tables(core.options.layers);
  for (const LayerForms& forms : core.tables) {
    tables_.push_back({.touched = touched[tables_.size()],
                       .probes = ProbeQueries(probes, rule, spec.window),
                       .moments = QueryMoments(forms.spec.rope, spec.sinks),
                       .boxes = ReadScores(spec, forms.spec.shape)});
  }
  if (spec.group > 1) form_groups(core);
  if (!spec.layer_pairs) return;
  for (std::size_t t = 1; t < tables_.size(); ++t) {
    const bool alike = core.tables[t].spec.shape.kv_heads == core.tables[t - 1].spec.shape.kv_heads;
    tables_[t].chooses = !(tables_[t - 1].touched && tables_[t - 1].chooses && alike);
  }
}

// Neighbours among the tables that it touches. KV heads that choose for themselves have none to take after in a layer
// with another number of them, which begins a group of its own.
void TokenPolicy::form_groups(const CacheCore& core) {
  std::size_t members = 0;
  std::uint32_t kv_heads = 0;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    if (!tables_[t].touched) continue;
    const std::uint32_t own = core.tables[t].spec.shape.kv_heads;
    tables_[t].follows = members > 0 && members < spec_.group && (!spec_.per_head || own == kv_heads);
    members = tables_[t].follows ? members + 1 : 1;
    kv_heads = own;
  }
}

bool TokenPolicy::observes(std::size_t table) const {
  if (!tables_[table].touched || tables_[table].follows || spec_.scorer == nullptr) return false;
  if (spec_.scorer->needs.probes == Probes::kReplay) return tables_[table].probes.counts_all();
  return spec_.sees_queries() && (!prompt_ended() || (spec_.every != 0 && !spec_.ages()));
}

void TokenPolicy::observe(std::size_t table, std::uint32_t layer, const AttendRows& rows, const AttendLayer& how,
                          ThreadPool& pool) {
  if (spec_.scorer->needs.queries) tables_[table].moments.observe(layer, rows, how, pool);
  tables_[table].probes.observe(layer, rows, how, pool);
}

bool TokenPolicy::wants_replay(std::size_t tokens) const {
  return !prompt_ended() && !is_planned_at(tokens) && spec_.scorer != nullptr &&
         spec_.scorer->needs.probes == Probes::kReplay && spec_.keep < 1;
}

std::size_t TokenPolicy::begin_replays(std::size_t tokens) {
  if (replayed_of_ == tokens) return replayed_;
  for (Table& table : tables_) table.probes.forget_replays();
  replayed_of_ = tokens;
  return replayed_ = 0;
}

void TokenPolicy::begin_replay() {
  for (Table& table : tables_) table.probes.begin_replay();
}

void TokenPolicy::absorb_replay(const TokenPolicy& twin, std::size_t tokens, std::size_t repeated) {
  replayed_of_ = tokens;
  replayed_ = repeated;
  for (std::size_t t = 0; t < tables_.size(); ++t) tables_[t].probes.absorb(twin.tables_[t].probes);
}

void TokenPolicy::end_prompt(std::size_t tokens) {
  prompt_tokens_ = tokens;
  if (spec_.every != 0 && !spec_.ages()) return;
  for (Table& table : tables_) table.moments.let_go();
}

bool TokenPolicy::counted_from(std::int32_t position) const {
  if (recent_queries_.lacks_before(position)) return true;
  return std::ranges::any_of(
      tables_, [=](const Table& table) { return table.counted_from(position) || table.probes.lacks_before(position); });
}

void TokenPolicy::forget_plan_from(std::size_t token) {
  if (token >= planned_tokens_) return;
  planned_.clear();
  planned_at_ = planned_tokens_ = 0;
}

void TokenPolicy::trim(std::size_t tokens) {
  if (tokens < prompt_tokens_) end_prompt(0);
  forget_plan_from(tokens);
  if (tokens < planned_at_) planned_at_ = 0;  // what is left of the plan stays, but at this size none was made
  forget_from(static_cast<std::int32_t>(tokens), tokens / kBlockTokens);
}

void TokenPolicy::forget_from(std::int32_t position, std::size_t block) {
  recent_queries_.forget_from(position);
  if (static_cast<std::size_t>(position) < replayed_of_) replayed_ = replayed_of_ = 0;
  for (Table& table : tables_) {
    table.probes.forget_from(position);
    table.boxes.shrink(block);
  }
}

void TokenPolicy::roll_back(std::int32_t position, std::size_t block) {
  lost_ = lost_ || std::ranges::any_of(tables_, [=](const Table& table) { return table.counted_from(position); });
  recent_queries_.roll_back();
  shared_choices_.clear();
  forget_from(position, block);
}

void TokenPolicy::end_pass() {
  recent_queries_.commit();
  for (Table& table : tables_) table.probes.commit();
  shared_choices_.clear();
}

std::size_t TokenPolicy::box_bytes() const {
  std::size_t bytes = 0;
  for (const Table& table : tables_) bytes += table.boxes.bytes();
  return bytes;
}

std::size_t TokenPolicy::query_bytes() const {
  std::size_t bytes = recent_queries_.bytes();
  for (const Table& table : tables_) bytes += table.moments.bytes();
  return bytes;
}

Status TokenPolicy::choose(const AskingRow& row, const AttendRows& rows, const AttendLayer& how, CacheCore& core,
                           ThreadPool& pool, ReadSelection& into) {
  Table& table = tables_[row.table];
  AttendRows asking = rows;
  std::vector<float> probes;
  if (remembers(row.table)) {
    probes = probes_of(recent_queries_.window(row.layer), how);
    asking.q = probes.data();
  }
  const std::size_t blocks = rows.pages.size();
  const std::uint32_t kv_heads = how.shape.kv_heads;
  if (table.boxes.blocks() < blocks) {
    const ShelfPlace place = place_on_shelf(row, rows.pages, core);
    table.boxes.take_from_shelf(blocks, place);
    const std::size_t taken = table.boxes.blocks(), growth = table.boxes.growth(blocks);
    CAIRN_TRY(Reservation room, core.make_room(growth));
    table.boxes.cover(rows.pages, blocks, how.basis, room, pool);
    table.boxes.put_on_shelf(taken, place);
  }
  const std::size_t boxes = blocks * kBlockBoxes, scores = table.boxes.scores() ? boxes : 0;
  const std::uint32_t choices = spec_.per_head ? kv_heads : 1;
  into.scores.resize(scores * kv_heads);
  into.chosen.resize(choices);
  const auto choose_for = [&](std::size_t h) {
    const std::uint64_t place = (row.table << 8 | h) << 32 | static_cast<std::uint32_t>(*rows.positions);
    choose_boxes(spec_,
                 {.scores = std::span(into.scores).subspan(h * scores, scores),
                  .boxes = boxes,
                  .open_boxes = rows.more_pages.size() * kBlockBoxes,
                  .seed = place},
                 into.chosen[h]);
  };
  if (scores > 0) table.boxes.score(spec_, asking, how, pool, into.scratch, into.scores);
  if (spec_.per_head) {
    pool.run(kv_heads, [&](std::size_t h, unsigned) { choose_for(h); });
  } else {
    for (std::size_t i = scores; i < into.scores.size(); ++i) into.scores[i % scores] += into.scores[i];
    choose_for(0);
  }
  return {};
}

Result<bool> TokenPolicy::select(const AskingRow& row, AttendRows& rows, const AttendLayer& how, CacheCore& core,
                                 ThreadPool& pool, ReadSelection& into) {
  const std::size_t boxes = rows.pages.size() * kBlockBoxes, open = rows.more_pages.size() * kBlockBoxes;
  const std::uint32_t kv_heads = how.shape.kv_heads;
  report_.boxes_offered += (boxes + open) * kv_heads;
  const auto known = shared_choices_.find(row.slot);
  const bool is_known = !tables_[row.table].chooses && known != shared_choices_.end() &&
                        known->second.table + 1 == row.table && known->second.boxes == boxes;
  if (!cairn::selects(spec_, boxes, open)) {
    report_.boxes_read += (boxes + open) * kv_heads;
    if (known != shared_choices_.end()) shared_choices_.erase(known);
    return false;
  }
  if (is_known) {
    into.chosen = known->second.chosen;
  } else {
    CAIRN_TRY_VOID(choose(row, rows, how, core, pool, into));
    if (spec_.layer_pairs) shared_choices_[row.slot] = {row.table, boxes, into.chosen};
  }
  const std::span pages = rows.pages;
  report_.boxes_read += narrow(rows, kv_heads, into);
  if (const ValueMeans* means = tables_[row.table].boxes.value_means(); means != nullptr) {
    into.rest.resize(std::size_t{how.heads} * (1 + how.shape.value_dim()));
    rest_of_values({.rule = spec_.rest,
                    .means = *means,
                    .weights = into.scratch.weights,
                    .pages = pages,
                    .reads = into.by_page,
                    .position = *rows.positions},
                   how, pool, into.rest);
    rows.rest = into.rest.data();
  }
  return true;
}

}  // namespace cairn::cache
