// SPDX-License-Identifier: Apache-2.0
// A session in tokens: its context, and what each turn adds, in the form that the session has.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/eval/session.h"
#include "cairn/text/tokenizer.h"

namespace cairn {

struct TurnTokens {
  std::vector<TokenId> query;       // up to where the answer begins; for a choice, all that its candidates begin with
  std::vector<TokenId> asked;       // the question and the gold answer, which the next question of a story follows
  std::vector<TokenId> candidates;  // the first token in which each differs; empty unless the metric is kChoice
};

struct SessionTokens {
  std::vector<TokenId> context;  // empty: there is none
  std::size_t pinned = 0;        // tokens of it up to the instruction's end
  std::vector<TurnTokens> turns;
};

// `with_context` false leaves the instruction alone. Errors: kInvalidArgument (a choice without options), kUnsupported
// (a chat template that writes earlier turns anew when one is added).
Result<SessionTokens> tokens_of(const Tokenizer& tokenizer, const EvalSession& session, bool with_context = true);

// Tokens that the session grows to in its longest mode, the last answer at its cap included. Errors: as tokens_of.
Result<std::size_t> session_tokens(const Tokenizer& tokenizer, const EvalSession& session);

}  // namespace cairn
