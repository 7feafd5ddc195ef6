// SPDX-License-Identifier: Apache-2.0
#include "cairn/eval/tasks/functions.h"

#include <numeric>
#include <string_view>

#include "cairn/base/check.h"
#include "cairn/eval/tasks/question.h"
#include "cairn/eval/words.h"

namespace cairn {
namespace {

struct Synonyms {
  std::string_view comment, question;
};

constexpr Synonyms kVerbs[] = {{"sort", "order"}, {"drop", "remove"}, {"count", "tally"}, {"merge", "join"},
                               {"print", "show"}, {"save", "store"},  {"copy", "clone"},  {"split", "divide"}};
constexpr Synonyms kAdjectives[] = {{"small", "little"}, {"large", "big"},     {"old", "ancient"}, {"new", "fresh"},
                                    {"empty", "blank"},  {"first", "initial"}, {"last", "final"},  {"fast", "quick"}};
constexpr Synonyms kNouns[] = {{"names", "labels"}, {"numbers", "figures"}, {"files", "papers"},    {"words", "terms"},
                               {"users", "people"}, {"lines", "rows"},      {"images", "pictures"}, {"dates", "days"}};

std::string three_words(std::string_view a, std::string_view b, std::string_view c) {
  return std::string(a) + " " + std::string(b) + " " + std::string(c);
}

}  // namespace

std::vector<Function> make_functions(std::span<const std::size_t> body_words, SeededRandom& random) {
  std::vector<std::size_t> descriptions(kDescriptions);
  std::iota(descriptions.begin(), descriptions.end(), std::size_t{0});
  random.shuffle(descriptions);
  std::vector<Function> functions;
  for (std::size_t i = 0; i < body_words.size(); ++i) {
    Function function;
    if (i < kDescriptions) {
      const Synonyms& verb = kVerbs[descriptions[i] / 64];
      const Synonyms& adjective = kAdjectives[descriptions[i] / 8 % 8];
      const Synonyms& noun = kNouns[descriptions[i] % 8];
      function.comment = three_words(verb.comment, adjective.comment, noun.comment);
      function.description = three_words(verb.question, adjective.question, noun.question);
    }
    const std::string name(random.pick(common_words()));
    function.code = "def " + name + ": " + join_words(draw_words(body_words[i], random));
    functions.push_back(std::move(function));
  }
  return functions;
}

std::string function_lines(const Function& function) {
  return (function.comment.empty() ? "" : "# " + function.comment + "\n") + function.code + "\n";
}

Turn ask_function(std::span<const Function> functions, std::size_t asked) {
  const Function& function = functions[asked];
  CAIRN_CHECK(!function.comment.empty());
  Turn turn = make_question("Which code will " + function.description + "?", function.code, {function.code},
                            Metric::kNearestBody);
  for (const Function& each : functions) turn.candidates.push_back(each.code);
  return turn;
}

}  // namespace cairn
