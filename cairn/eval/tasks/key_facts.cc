// SPDX-License-Identifier: Apache-2.0
// S10: which facts of a document are marked as key facts. S11: the same with needles between, by turns.
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cairn/eval/tasks/layout.h"
#include "cairn/eval/tasks/material.h"
#include "cairn/eval/tasks/task_table.h"

namespace cairn::tasks {
namespace {

constexpr std::size_t kMinLines = 2, kMaxLines = 6, kUsualLines = 5;  // of a document
constexpr std::size_t kMaxKeyFacts = 4;
constexpr double kKeyShare = 0.45;
constexpr std::size_t kFactTries = 50;  // to say something new about one person; then it is the next one's turn
constexpr std::size_t kNeedleDigits = 5;
constexpr double kNeedleShare = 0.8;  // of the documents are followed by a needle, while there are cities

struct Document {
  std::vector<std::string> lines;
  std::vector<std::string> key_facts;  // in the order of their lines
  std::string city, number;            // of its needle; empty: none
};

// Different facts as far as they go: one that two documents share would be half right for the wrong one.
Document draw_document(std::size_t lines, std::set<std::string>& taken, SeededRandom& random) {
  const std::vector<Person> people = make_people(kMaxLines, random);
  const std::span<const Relation> kinds(kRelations);
  Document document;
  std::vector<bool> is_key;
  for (std::size_t i = 0; i < lines; ++i) is_key.push_back(random.unit() < kKeyShare);
  if (!std::ranges::count(is_key, true)) is_key[random.below(lines)] = true;
  for (std::size_t i = 0; i < lines; ++i) {
    std::string fact;
    bool is_new = false;
    for (std::size_t tries = 0; tries < kFactTries * kMaxLines && !is_new; ++tries) {
      fact = relation_fact(people, (i + tries / kFactTries) % kMaxLines, random.pick(kinds), random);
      is_new = taken.insert(fact).second;
    }
    const bool key = is_key[i] && document.key_facts.size() < kMaxKeyFacts;
    document.lines.push_back((key ? "* " : "- ") + fact + "\n");
    if (key) document.key_facts.push_back(fact);
  }
  return document;
}

// Sizes that sum to `lines`: as equal as they can be, then a line moved here and there.
std::vector<std::size_t> draw_sizes(std::size_t lines, std::size_t documents, SeededRandom& random) {
  std::vector<std::size_t> sizes(documents);
  for (std::size_t i = 0; i < documents; ++i) sizes[i] = lines * (i + 1) / documents - lines * i / documents;
  for (std::size_t i = 0; i < documents / 2; ++i) {
    std::size_t& from = sizes[random.below(documents)];
    std::size_t& to = sizes[random.below(documents)];
    if (from <= kMinLines || to >= kMaxLines) continue;
    --from;
    ++to;
  }
  return sizes;
}

std::string needle_line(const Document& document) {
  return "The special magic number for " + document.city + " is " + document.number + ".\n";
}

std::string text_of(const Document& document, std::size_t number) {
  std::string text = "## Document " + std::to_string(number) + "\n";
  for (const std::string& line : document.lines) text += line;
  return document.city.empty() ? text : text + needle_line(document);
}

Turn ask_facts(const Document& document, std::size_t number) {
  std::string facts;
  for (const std::string& fact : document.key_facts) facts += (facts.empty() ? "" : " ") + fact;
  return make_question("List the key facts of document " + std::to_string(number) + ".", facts, document.key_facts,
                       Metric::kFactF1);
}

Turn ask_needle(const Document& document) {
  return make_question("What is the special magic number for " + document.city + "?", document.number,
                       {document.number}, Metric::kExact);
}

// Turn i asks for document i as drawn; documents get their numbers from where they are placed.
Draft draft_documents(SeededRandom random, std::size_t lines, std::size_t turns, bool needles) {
  const std::size_t count = std::max(std::max<std::size_t>(turns, kFifths), lines / kUsualLines);
  const auto asks_needle = [&](std::size_t turn) { return needles && turn % 2 == 1; };
  std::vector<std::string> places(cities().begin(), cities().end());
  random.shuffle(places);
  std::set<std::string> taken;
  std::vector<Document> documents;
  std::vector<TextUnit> units;
  for (const std::size_t size : draw_sizes(lines, count, random)) {
    const std::size_t i = documents.size();
    documents.push_back(draw_document(size, taken, random));
    Document& document = documents.back();
    const bool has_needle = i < turns ? asks_needle(i) || random.unit() < kNeedleShare : random.unit() < kNeedleShare;
    if (needles && has_needle && !places.empty()) {
      document.city = std::move(places.back());
      document.number = draw_digits(kNeedleDigits, random);
      places.pop_back();
    }
    units.push_back(unit_of(text_of(document, count)));
    if (i < turns && asks_needle(i)) units[i].focus = units[i].text.size() - needle_line(document).size() / 2;
  }
  Draft draft;
  auto placement = place_questions(units, turns, random);
  draft.placed = placement.has_value();
  if (!placement) {
    placement.emplace();
    for (std::size_t i = 0; i < count; ++i) placement->order.push_back(i);
    placement->depths.resize(turns);
  }
  draft.turns.resize(turns);
  for (std::size_t position = 0; position < count; ++position) {
    const std::size_t i = placement->order[position], number = position + 1;
    draft.context += text_of(documents[i], number);
    if (i >= turns) continue;
    draft.turns[i] = asks_needle(i) ? ask_needle(documents[i]) : ask_facts(documents[i], number);
    draft.turns[i].depth = placement->depths[i];
    if (needles) draft.turns[i].column = asks_needle(i) ? "needle" : "facts";
  }
  draft.context += "\n";
  return draft;
}

// Needles alone, under words instead of cities, and prose.
Draft draft_needles_in_prose(SeededRandom random, std::size_t sentences, std::size_t turns) {
  std::vector<TextUnit> units;
  std::vector<Turn> questions;
  for (const std::string& key : draw_keys(turns, random)) {
    const Document document{.lines = {}, .key_facts = {}, .city = key, .number = draw_digits(kNeedleDigits, random)};
    units.push_back(unit_of(needle_line(document)));
    questions.push_back(led_by("The special magic number for " + key + " is", ask_needle(document)));
    questions.back().column = "needle";
  }
  return draft_in_prose(std::move(units), sentences, std::move(questions), random);
}

Result<EvalSession> make_facts(const SessionSpec& spec, std::string_view task, bool needles) {
  return fill_session(spec, {.task = task,
                             .smallest = kMinLines * std::max<std::size_t>(spec.turns, kFifths),
                             .largest = 3000,  // fewer than half of the facts that can be said of the usual people
                             .draft = [&](SeededRandom random, std::size_t lines) {
                               if (spec.prose && needles) return draft_needles_in_prose(random, lines, spec.turns);
                               return draft_documents(random, lines, spec.turns, needles);
                             }});
}

}  // namespace

Result<EvalSession> make_key_facts(const SessionSpec& spec) {
  return make_facts(spec, "S10", false);
}
Result<EvalSession> make_facts_needles(const SessionSpec& spec) {
  return make_facts(spec, "S11", true);
}

}  // namespace cairn::tasks
