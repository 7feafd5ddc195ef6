// SPDX-License-Identifier: Apache-2.0
// What contexts are made of. Words: everyday English ones of four to eight lower-case letters, for keys, lines, labels
// and function bodies; each occurs once, in alphabetical order. Sentences: plain prose that says nothing about any
// question. Adding or removing one changes every session that is drawn from them. People, made up: where they live,
// what they do, how old they are and who their friend is; and facts about them, one after the other on one line, with
// questions for some.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/eval/tasks/layout.h"

namespace cairn::tasks {

std::span<const std::string_view> common_words();

// `count` different words in random order. Requires: count <= common_words().size().
std::vector<std::string_view> draw_words(std::size_t count, SeededRandom& random);

// `count` different keys in random order: single words as long as they last, else all of them pairs of words.
std::vector<std::string> draw_keys(std::size_t count, SeededRandom& random);

std::string join_words(std::span<const std::string_view> words);

std::string draw_digits(std::size_t count, SeededRandom& random);

// Single sentences, each with its full stop.
std::span<const std::string_view> filler_sentences();

enum class Relation : std::uint8_t { kHome, kJob, kAge, kFriend };
inline constexpr Relation kRelations[] = {Relation::kHome, Relation::kJob, Relation::kAge, Relation::kFriend};

struct Person {
  std::string name, home, job;
  int age = 0;
  std::size_t friend_index = 0;  // no one is their own friend, and each is the friend of one
};

inline constexpr int kMinAge = 18, kMaxAge = 90;
inline constexpr std::size_t kMaxPeople = 500;

// All names differ and none contains another; the usual names are used up first. Requires: 2 <= count <= kMaxPeople.
std::vector<Person> make_people(std::size_t count, SeededRandom& random);

std::span<const std::string_view> usual_names();
std::span<const std::string_view> cities();
std::span<const std::string_view> jobs();

// "Paris", "teacher", "42" or "Boris".
std::string relation_value(std::span<const Person> people, std::size_t person, Relation relation);
// "Anna lives in Paris.", or a paraphrase.
std::string relation_fact(std::span<const Person> people, std::size_t person, Relation relation, SeededRandom& random);
// "Where does WHO live?"
std::string relation_question(std::string_view who, Relation relation);

// friends[i] for everybody, as one random cycle. Requires: count > 1.
std::vector<std::size_t> draw_friends(std::size_t count, SeededRandom& random);

struct Statement {
  std::string text;    // with what separates it from the next
  std::size_t id = 0;  // the task's name for it
};

// Asks for the statement with this id; different statements need different questions.
using Ask = std::function<Turn(std::size_t id)>;

// Half of the sessions keep the order (all of a person together), the others shuffle. Every turn asks for a statement
// in its fifth, and none is asked for twice.
Draft draft_statements(std::vector<Statement> statements, std::size_t turns, const Ask& ask, SeededRandom& random);

}  // namespace cairn::tasks
