// SPDX-License-Identifier: Apache-2.0
// The shapes of load, as plans for rounds, and the text that they are made of. A plan is the same for all servers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/random.h"
#include "cairn/base/result.h"
#include "cairn/trace/trace.h"

namespace cairn::load {

// Made-up text of common words, the same for the same seed: `words` words, each behind a blank, so that texts can be
// joined without changing their tokens.
std::string made_words(SeededRandom random, std::size_t words);

// What the server's tokenizer makes of a text.
using TokenCounter = std::function<Result<std::size_t>(const std::string& text)>;

// Text by the number of its words: text(n) is a prefix of text(n + 1).
using TextOfWords = std::function<std::string(std::size_t words)>;

struct SizedText {
  std::string text;
  std::size_t words = 0;
  std::size_t tokens = 0;
};

// A prefix of about `tokens` tokens, at most a hundredth off unless words are that long; fewer when `max_words` words
// are not enough. `tokens_per_word` is a first guess; without a counter it is all there is. Requires:
// tokens_per_word > 0.
Result<SizedText> sized_text(const TextOfWords& text, std::size_t max_words, std::size_t tokens, double tokens_per_word,
                             const TokenCounter& count);

// The first words of `text` with what stands between them; all of it when it has no more.
std::string first_words(std::string_view text, std::size_t words);
std::size_t count_words(std::string_view text);

// Texts are made when they are needed: a trace at full length is larger than memory. Any thread may make them.
struct TurnSpec {
  std::function<std::string()> text{};
  std::size_t max_tokens = 0;
};

// The turns of one user, each asked when the one before is answered, with all that was said before in front of it.
struct ConversationSpec {
  std::size_t client = 0;
  double due_s = 0;          // when the first turn is sent
  bool long_prompt = false;  // sent when every other conversation has got `lead_pieces` pieces of text, or has ended
  std::string system{};      // a message before the first turn; empty: none
  std::vector<TurnSpec> turns{};
};

struct RoundSpec {
  std::vector<TurnSpec> warm_up{};  // asked before, one after the other; not measured
  std::vector<ConversationSpec> conversations{};
  std::size_t lead_pieces = 0;

  std::size_t requests() const {
    std::size_t sum = 0;
    for (const ConversationSpec& conversation : conversations) sum += conversation.turns.size();
    return sum;
  }
};

enum class WorkloadKind {
  kDocument,      // many ask about one document
  kSeparate,      // each asks about a document of its own
  kChat,          // conversations of several turns
  kInterference,  // a long prompt comes while others get their answers
  kTrace,         // requests at recorded times
};

const char* workload_name(WorkloadKind kind);  // "document"

struct WorkloadOptions {
  WorkloadKind kind = WorkloadKind::kDocument;
  std::size_t clients = 8;
  std::size_t max_tokens = 64;
  std::string document{};  // text; empty: made up
  std::size_t document_tokens = 1024;
  bool cut_document = false;  // a given document to document_tokens
  bool warm = false;          // the shared document is asked about once before the round
  std::size_t turns = 4, turn_tokens = 64;
  std::size_t system_tokens = 0;  // of chats: a system message that all of them share
  std::size_t long_tokens = 8192;
  std::size_t lead_tokens = 16;  // what every stream has got when the long prompt is sent
  std::uint64_t seed = 1;
  double speed = 1;       // of a trace's clock
  double scale = 1;       // of a trace's lengths
  std::size_t limit = 0;  // first requests of a trace; 0: all
};

// Texts are made once, so that rounds differ in nothing but the salt in front of them. Immutable, thread-safe.
class Workload {
 public:
  // `tokens_per_word` holds for made_words. Errors: those of the counter; kInvalidArgument.
  static Result<Workload> make(WorkloadOptions options, double tokens_per_word, const TokenCounter& count,
                               std::shared_ptr<const Trace> trace);

  // Rounds of different salts share no beginning.
  RoundSpec round(const std::string& salt) const;

  // Of the documents that were made or cut; 0 where there is none.
  std::size_t document_tokens() const { return document_tokens_; }

 private:
  Status make_documents(const TokenCounter& count);
  RoundSpec document_round(const std::string& salt) const;
  RoundSpec chat_round(const std::string& salt) const;
  RoundSpec interference_round(const std::string& salt) const;
  RoundSpec trace_round(const std::string& salt) const;

  WorkloadOptions options_;
  double tokens_per_word_ = 1;
  std::vector<std::string> documents_;
  std::size_t document_tokens_ = 0;
  std::shared_ptr<const Trace> trace_;
};

}  // namespace cairn::load
