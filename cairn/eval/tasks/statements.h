// SPDX-License-Identifier: Apache-2.0
// Facts about people, one after the other on one line, and questions for some of them. What S5, S6 and S7 share.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/eval/tasks/fill.h"

namespace cairn {

struct Statement {
  std::string text;    // with what separates it from the next
  std::size_t id = 0;  // the task's name for it
};

// Asks for the statement with this id; different statements need different questions.
using Ask = std::function<Turn(std::size_t id)>;

// Half of the sessions keep the order (all of a person together), the others shuffle. Every turn asks for a statement
// in its fifth, and none is asked for twice.
Draft draft_statements(std::vector<Statement> statements, std::size_t turns, const Ask& ask, SeededRandom& random);

}  // namespace cairn
