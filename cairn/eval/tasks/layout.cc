// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/layout.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/material.h"

namespace cairn::tasks {
namespace {

// In shares of the context. What is added later (the blank line at the end, the numbers of documents) must not carry a
// question over the edge of its fifth.
constexpr double kMargin = 0.01;

// Interpolation closes in on the amount within a few steps; where the tokens jump about it, good enough ends it.
constexpr int kMaxProbes = 16;
constexpr double kFullEnough = 0.99;
// Short contexts hold few lines, and whether these fit and can be placed is a matter of luck: more than one draw.
constexpr int kDrawsOfAFill = 16;

struct Probe {
  Draft draft;
  std::size_t amount = 0, tokens = 0;
};

std::unexpected<Error> refuse(const Material& material, const std::string& why) {
  return fail(ErrorCode::kInvalidArgument, std::string(material.task) + ": " + why);
}

Status check_spec(const SessionSpec& spec, const Material& material) {
  CAIRN_CHECK(spec.count_tokens);
  if (spec.turns < 1 || spec.turns > kMaxTurns) {
    return refuse(material,
                  "a session has 1 to " + std::to_string(kMaxTurns) + " turns, not " + std::to_string(spec.turns));
  }
  if (spec.rule && !material.takes_rule) return refuse(material, "this task takes no rule; leave it out of that run");
  if (spec.context_tokens < kMinContextTokens) {
    return refuse(material, "a context of " + std::to_string(spec.context_tokens) + " tokens is too small; ask for " +
                                std::to_string(kMinContextTokens) + " or more");
  }
  return {};
}

// The largest amount that fits, as far as interpolation finds it, if it is good enough.
Result<Probe> search(const SessionSpec& spec, const Material& material, std::string_view instruction,
                     const SeededRandom& random) {
  const auto probe = [&](std::size_t amount) {
    Probe p{material.draft(random, amount), amount, 0};
    p.tokens = spec.count_tokens(std::string(instruction) + p.draft.context);
    return p;
  };
  const std::size_t budget = spec.context_tokens;
  Probe best = probe(material.smallest);
  if (best.tokens > budget) {
    return refuse(material, "the smallest session takes " + std::to_string(best.tokens) + " tokens, more than the " +
                                std::to_string(budget) + " asked for; ask for a longer context");
  }
  double slope = static_cast<double>(best.tokens) / static_cast<double>(std::max<std::size_t>(1, best.amount));
  std::size_t beyond = material.largest + 1;  // an amount that does not fit, or is not there
  for (int i = 0; i < kMaxProbes && best.amount + 1 < beyond; ++i) {
    if (static_cast<double>(best.tokens) >= kFullEnough * static_cast<double>(budget)) break;
    const double missing = static_cast<double>(budget - best.tokens) / std::max(slope, 1e-3);
    const double step = std::min(missing, static_cast<double>(beyond));  // keeps the conversion in range
    Probe next = probe(std::clamp(best.amount + static_cast<std::size_t>(step), best.amount + 1, beyond - 1));
    slope = (static_cast<double>(next.tokens) - static_cast<double>(best.tokens)) /
            static_cast<double>(next.amount - best.amount);
    if (next.tokens > budget) {
      beyond = next.amount;
    } else {
      best = std::move(next);
    }
  }
  if (!best.draft.placed) {
    return refuse(material, "a context of " + std::to_string(budget) + " tokens is too small to ask for " +
                                std::to_string(spec.turns) + " things at all depths; ask for a longer one");
  }
  if (static_cast<double>(best.tokens) < kMinFill * static_cast<double>(budget)) {
    return refuse(material, "its material fills only " + std::to_string(best.tokens) + " of " + std::to_string(budget) +
                                " tokens; ask for a shorter context");
  }
  return best;
}

void add_rule(const std::string& word, std::vector<Turn>& turns) {
  for (Turn& turn : turns) {
    // An answer keeps the blank in front that its query leaves to it.
    turn.answer = turn.answer.starts_with(' ') ? " " + word + turn.answer : word + " " + turn.answer;
    turn.begins_with = word;
    turn.lead.clear();  // the word comes first
  }
}

}  // namespace

std::vector<std::uint32_t> draw_depths(std::size_t turns, SeededRandom& random) {
  std::vector<std::uint32_t> order(kFifths), depths;
  std::iota(order.begin(), order.end(), 0u);
  random.shuffle(order);
  for (std::size_t turn = 0; turn < turns; ++turn) depths.push_back(order[turn % kFifths]);
  return depths;
}

std::uint32_t depth_of(std::size_t at, std::size_t size) {
  CAIRN_CHECK(at < size);
  return static_cast<std::uint32_t>(at * kFifths / size);
}

bool safely_inside(std::size_t at, std::size_t size, std::uint32_t depth) {
  const double share = static_cast<double>(at) / static_cast<double>(size);
  const double low = static_cast<double>(depth) / kFifths, high = static_cast<double>(depth + 1) / kFifths;
  return share >= (depth == 0 ? 0 : low + kMargin) && share < (depth + 1 == kFifths ? 1 : high - kMargin);
}

TextUnit unit_of(std::string text) {
  const std::size_t middle = text.size() / 2;
  return {std::move(text), middle};
}

std::optional<std::vector<std::size_t>> try_place(std::span<const TextUnit> units,
                                                  std::span<const std::optional<std::uint32_t>> wanted,
                                                  SeededRandom& random) {
  CAIRN_CHECK(units.size() == wanted.size());
  std::array<std::vector<std::size_t>, kFifths> fifths;
  std::array<std::size_t, kFifths> filled{};
  std::vector<std::size_t> free;
  std::size_t total = 0;
  const auto put = [&](std::size_t unit, std::size_t fifth) {
    fifths[fifth].push_back(unit);
    filled[fifth] += units[unit].text.size();
  };
  for (std::size_t i = 0; i < units.size(); ++i) {
    total += units[i].text.size();
    wanted[i] ? put(i, *wanted[i]) : free.push_back(i);
  }
  random.shuffle(free);
  for (const std::size_t unit : free) {
    put(unit, static_cast<std::size_t>(std::ranges::min_element(filled) - filled.begin()));
  }
  std::vector<std::size_t> order;
  std::size_t at = 0;
  for (auto& fifth : fifths) {
    random.shuffle(fifth);
    for (const std::size_t unit : fifth) {
      if (wanted[unit] && !safely_inside(at + units[unit].focus, total, *wanted[unit])) return std::nullopt;
      at += units[unit].text.size();
      order.push_back(unit);
    }
  }
  return order;
}

std::optional<Placement> place_questions(std::span<const TextUnit> units, std::size_t turns, SeededRandom& random) {
  CAIRN_CHECK(turns <= units.size());
  std::vector<std::optional<std::uint32_t>> wanted(units.size());
  for (int i = 0; i < kPlacementTries; ++i) {
    const std::vector<std::uint32_t> depths = draw_depths(turns, random);
    std::ranges::copy(depths, wanted.begin());
    if (auto order = try_place(units, wanted, random)) return Placement{*std::move(order), depths};
  }
  return std::nullopt;
}

Draft draft_of(std::span<const TextUnit> units, std::vector<Turn> questions, SeededRandom& random) {
  Draft draft{.context = {}, .turns = std::move(questions)};
  const std::optional<Placement> placement = place_questions(units, draft.turns.size(), random);
  draft.placed = placement.has_value();
  for (std::size_t i = 0; i < units.size(); ++i) draft.context += units[placement ? placement->order[i] : i].text;
  for (std::size_t i = 0; placement && i < draft.turns.size(); ++i) draft.turns[i].depth = placement->depths[i];
  draft.context += "\n";
  return draft;
}

Draft draft_in_prose(std::vector<TextUnit> units, std::size_t sentences, std::vector<Turn> questions,
                     SeededRandom& random) {
  for (TextUnit& unit : units) std::ranges::replace(unit.text, '\n', ' ');
  while (sentences-- > 0) units.push_back(unit_of(std::string(random.pick(filler_sentences())) + " "));
  return draft_of(units, std::move(questions), random);
}

Result<EvalSession> fill_session(const SessionSpec& spec, const Material& material) {
  CAIRN_TRY_VOID(check_spec(spec, material));
  SeededRandom random(spec.seed, material.task, spec.index, spec.context_tokens);
  const std::string word(random.pick(common_words()));
  std::string instruction;
  if (spec.rule) {
    instruction = "Rule: every answer starts with the word " + word + ".\n";
  } else if (material.has_instruction) {
    instruction = "Answer the questions from the text below.\n";
  }
  Result<Probe> found;
  for (int i = 0; i < kDrawsOfAFill; ++i) {
    found = search(spec, material, instruction, SeededRandom(random.next()));
    if (found) break;
  }
  CAIRN_TRY(Probe best, std::move(found));
  std::vector<Turn> turns = std::move(best.draft.turns);
  CAIRN_CHECK(turns.size() == spec.turns);
  if (spec.rule) add_rule(word, turns);
  for (Turn& turn : turns) {
    turn.max_tokens =
        static_cast<std::uint32_t>(std::ceil(1.5 * static_cast<double>(spec.count_tokens(turn.answer)))) + 4;
  }
  return EvalSession{.task = std::string(material.task),
                     .index = spec.index,
                     .context_tokens = spec.context_tokens,
                     .instruction = std::move(instruction),
                     .context = std::move(best.draft.context),
                     .turns = std::move(turns)};
}

}  // namespace cairn::tasks
