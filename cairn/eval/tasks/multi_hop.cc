// SPDX-License-Identifier: Apache-2.0
// S3: which variables hold a value, where one is copied from the other. The lines of the chains lie in prose.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/material.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::tasks {
namespace {

constexpr std::size_t kHops = 1;
constexpr std::size_t kLinks = kHops + 1;  // lines of a chain: the value to a variable, then from one to the next
constexpr std::size_t kMaxChains = 12;     // more than there are turns, where the context is long
constexpr std::size_t kTokensPerChain = 120;

struct Chain {
  std::string value;
  std::vector<std::string> names;
};

std::string draw_new(std::string_view prefix, std::size_t digits, std::set<std::string>& taken, SeededRandom& random) {
  while (true) {
    std::string name = std::string(prefix) + draw_digits(digits, random);
    if (taken.insert(name).second) return name;
  }
}

std::vector<Chain> draw_chains(std::size_t count, SeededRandom& random) {
  std::set<std::string> taken;
  std::vector<Chain> chains(count);
  for (Chain& chain : chains) {
    chain.value = draw_new("", 4, taken, random);
    while (chain.names.size() < kLinks) chain.names.push_back(draw_new("X", 3, taken, random));
  }
  return chains;
}

std::string link_line(const Chain& chain, std::size_t link) {
  return "COPY " + (link == 0 ? chain.value : chain.names[link - 1]) + " TO " + chain.names[link] + ".\n";
}

// The links of a chain are about equally long, so they may trade places: the first one gets the first of the places of
// its chain.
void sort_links(std::vector<std::size_t>& order, std::size_t chains) {
  for (std::size_t chain = 0; chain < chains; ++chain) {
    std::size_t link = chain * kLinks;
    for (std::size_t& unit : order) {
      if (unit / kLinks == chain && unit < chains * kLinks) unit = link++;
    }
  }
}

struct Places {
  std::vector<std::size_t> order;
  std::vector<std::uint32_t> depths;  // of the link that is asked for, of every asked chain
};

// The first link of a turn's chain lies in the fifth that is asked for, the others there or anywhere behind; or the
// last link does, and the others there or before.
std::optional<Places> place_chains(std::span<const TextUnit> units, std::size_t chains, std::size_t turns,
                                   bool asks_last, SeededRandom& random) {
  std::vector<std::optional<std::uint32_t>> wanted(units.size());
  for (int i = 0; i < kPlacementTries; ++i) {
    const std::vector<std::uint32_t> depths = draw_depths(turns, random);
    for (std::size_t unit = 0; unit < chains * kLinks; ++unit) {
      if (unit / kLinks >= turns) continue;
      const std::uint32_t depth = depths[unit / kLinks];
      const std::size_t asked = asks_last ? kLinks - 1 : 0, first = asks_last ? 0 : depth,
                        choices = asks_last ? depth + 1 : kFifths - depth;
      wanted[unit] = unit % kLinks == asked ? depth : static_cast<std::uint32_t>(first + random.below(choices));
    }
    if (auto order = try_place(units, wanted, random)) {
      sort_links(*order, chains);
      return Places{*std::move(order), depths};
    }
  }
  return std::nullopt;
}

// Sentences that follow each other make a paragraph, which is a line of its own.
std::string text_of(std::span<const TextUnit> units, std::span<const std::size_t> order, std::size_t links) {
  std::string text;
  for (const std::size_t unit : order) {
    if (unit < links && text.ends_with(' ')) text.back() = '\n';
    text += units[unit].text;
  }
  if (text.ends_with(' ')) text.back() = '\n';
  return text + "\n";
}

Turn ask_names(const Chain& chain) {
  std::string names;
  for (const std::string& name : chain.names) names += (names.empty() ? "" : " ") + name;
  return make_question("Which variables hold " + chain.value + "?", names, chain.names, Metric::kRecall);
}

// What small models can read: "The code of river is the code of lamp.", "The code of lamp is 4567."
std::string link_in_words(const Chain& chain, std::size_t link) {
  return "The code of " + chain.names[link] + " is " +
         (link + 1 < kLinks ? "the code of " + chain.names[link + 1] : chain.value) + ".\n";
}

std::vector<Chain> draw_chains_of_words(std::size_t count, SeededRandom& random) {
  const std::vector<std::string> words = draw_keys(count * kLinks, random);
  std::vector<Chain> chains = draw_chains(count, random);
  for (std::size_t i = 0; i < chains.size() * kLinks; ++i) chains[i / kLinks].names[i % kLinks] = words[i];
  return chains;
}

// The first hop stands in the assistant's turn, the second is asked for: a model of 135 M does not take both.
Turn ask_last_hop(const Chain& chain) {
  std::string lead;
  for (std::size_t link = 0; link < kLinks; ++link) lead += link_in_words(chain, link);
  lead.resize(lead.rfind(chain.value) - 1);
  std::ranges::replace(lead, '\n', ' ');
  return led_by(
      lead, make_question("What is the code of " + chain.names[0] + "?", chain.value, {chain.value}, Metric::kExact));
}

Draft draft_multi_hop(SeededRandom random, std::size_t sentences, const SessionSpec& spec) {
  const std::size_t roomy = spec.prose ? 0 : std::min<std::size_t>(kMaxChains, spec.context_tokens / kTokensPerChain);
  const std::size_t count = std::max<std::size_t>(spec.turns, roomy);
  const std::vector<Chain> chains = spec.prose ? draw_chains_of_words(count, random) : draw_chains(count, random);
  std::vector<TextUnit> units;
  for (const Chain& chain : chains) {
    for (std::size_t link = 0; link < kLinks; ++link) {
      units.push_back(unit_of(spec.prose ? link_in_words(chain, link) : link_line(chain, link)));
    }
  }
  const std::size_t links = units.size();
  for (std::size_t i = 0; i < sentences; ++i) {
    units.push_back(unit_of(std::string(random.pick(filler_sentences())) + " "));
  }
  Draft draft;
  for (std::size_t turn = 0; turn < spec.turns; ++turn)
    draft.turns.push_back(spec.prose ? ask_last_hop(chains[turn]) : ask_names(chains[turn]));
  auto places = place_chains(units, chains.size(), spec.turns, spec.prose, random);
  draft.placed = places.has_value();
  if (!places) {
    places.emplace();
    for (std::size_t i = 0; i < units.size(); ++i) places->order.push_back(i);
    places->depths.resize(spec.turns);
  }
  draft.context = text_of(units, places->order, links);
  for (std::size_t turn = 0; turn < spec.turns; ++turn) draft.turns[turn].depth = places->depths[turn];
  return draft;
}

}  // namespace

Result<EvalSession> make_multi_hop(const SessionSpec& spec) {
  return fill_session(spec, {.task = "S3", .smallest = 1, .draft = [&](SeededRandom random, std::size_t sentences) {
                               return draft_multi_hop(random, sentences, spec);
                             }});
}

}  // namespace cairn::tasks
