// SPDX-License-Identifier: Apache-2.0
#include "cairn/text/tokenizer_families.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>

#include "cairn/base/check.h"
#include "cairn/base/utf8.h"

namespace cairn::text {
namespace {

// White space is the Unicode property, which PCRE2's own \s is not (U+180E). Possessive quantifiers stand where giving
// back can never help, so that no run of characters costs more than one pass.
#define CAIRN_WS "\\p{White_Space}"
#define CAIRN_NOT_WS "\\P{White_Space}"
#define CAIRN_SPACES CAIRN_WS "+(?!" CAIRN_NOT_WS ")|" CAIRN_WS "++"
#define CAIRN_OTHERS " ?[^" CAIRN_WS "\\p{L}\\p{N}]++"
#define CAIRN_ANY_CASE_CONTRACTIONS "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++"

constexpr const char* kGpt2 = "'(?:[stmd]|re|ve|ll)| ?\\p{L}++| ?\\p{N}++|" CAIRN_OTHERS "|" CAIRN_SPACES;
constexpr const char* kLlama3 =
    CAIRN_ANY_CASE_CONTRACTIONS "|\\p{N}{1,3}+|" CAIRN_OTHERS "[\\r\\n]*+|" CAIRN_WS "*[\\r\\n]++|" CAIRN_SPACES;
constexpr const char* kQwen2 =
    CAIRN_ANY_CASE_CONTRACTIONS "|\\p{N}|" CAIRN_OTHERS "[\\r\\n]*+|" CAIRN_WS "*[\\r\\n]++|" CAIRN_SPACES;
// GPT-4o's and Mistral's: a word is letters that may be large and then letters that may be small, so that "camelCase"
// is two. Many letters and all marks are neither and count as both; what was published backtracks over them, this does
// not.
#define CAIRN_LARGE "[\\p{Lu}\\p{Lt}]"
#define CAIRN_NEITHER "[\\p{Lm}\\p{Lo}\\p{M}]"
#define CAIRN_NOT_SMALL "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define CAIRN_NOT_LARGE "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CAIRN_BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define CAIRN_WORD "(?:" CAIRN_NOT_SMALL "*+\\p{Ll}" CAIRN_NOT_LARGE "*+|(?:" CAIRN_LARGE "*+" CAIRN_NEITHER "++)++)"
#define CAIRN_CAPITALS CAIRN_NOT_SMALL "++"
#define CAIRN_CONTRACTION "(?:'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL]))?+"
#define CAIRN_REST CAIRN_OTHERS "[\\r\\n/]*+|" CAIRN_WS "*[\\r\\n]++|" CAIRN_SPACES
constexpr const char* kGpt4o = CAIRN_BEFORE CAIRN_WORD CAIRN_CONTRACTION
    "|" CAIRN_BEFORE CAIRN_CAPITALS CAIRN_CONTRACTION "|\\p{N}{1,3}+|" CAIRN_REST;
constexpr const char* kTekken = CAIRN_BEFORE CAIRN_WORD "|" CAIRN_BEFORE CAIRN_CAPITALS "|\\p{N}|" CAIRN_REST;
constexpr const char* kOneDigit = "\\p{N}";
// DeepSeek cuts in several stages, each within the pieces of the one before. V2's letters are those with a case, in the
// alphabets that were known when it was trained.
constexpr const char* kLineEnd = "[\\r\\n]";
constexpr const char* kDeepSeekLetters = CAIRN_WS
    "?(?:(?![\\x{560}-\\x{588}\\x{10C7}-\\x{10FF}\\x{1C80}-\\x{1C8F}\\x{2D00}-\\x{2D2D}\\x{A790}-\\x{A7FF}\\x{AB30}-"
    "\\x{AB68}\\x{10570}-\\x{105BC}\\x{16E40}-\\x{16E7F}\\x{1D400}-\\x{1DFFF}])[\\p{Lu}\\p{Ll}\\p{Lt}])++";
constexpr const char* kDeepSeekSigns =
    CAIRN_WS "?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]++";
constexpr const char* kLastSpaces = "(?<!" CAIRN_WS ")" CAIRN_WS "++\\z";
constexpr const char* kDeepSeekAsian = "[\\x{800}-\\x{9FA5}\\x{AC00}-\\x{D7FF}]++";
constexpr const char* kDigits = "\\p{N}++";
constexpr const char* kThreeDigits = "\\p{N}{1,3}+";
constexpr const char* kDeepSeek3Asian = "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{30FF}]++";
constexpr const char* kDeepSeek3 =
    "[!-/:-@\\[-`{-~][A-Za-z]++|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]++| ?[\\p{P}\\p{S}]++[\\r\\n]*+|" CAIRN_WS
    "*[\\r\\n]++|" CAIRN_SPACES;

struct Spec {
  std::array<std::string_view, 4> names;  // the first is the canonical one
  std::array<const char*, 6> stages;
  bool takes_whole_tokens = false;
  bool adds_bos_by_default = false;
};

constexpr std::array kSpecs = {
    Spec{.names = {"llama-bpe", "llama3", "llama-v3"},
         .stages = {kLlama3},
         .takes_whole_tokens = true,
         .adds_bos_by_default = true},
    Spec{.names = {"qwen2", "deepseek-r1-qwen"}, .stages = {kQwen2}},
    Spec{.names = {"gpt-2", "olmo", "phi-2", "mpt"}, .stages = {kGpt2}},
    Spec{.names = {"smollm", "refact", "starcoder", "command-r"}, .stages = {kOneDigit, kGpt2}},
    Spec{.names = {"dbrx", "smaug-bpe"}, .stages = {kLlama3}},
    Spec{.names = {"gpt-4o", "llama4"}, .stages = {kGpt4o}},
    Spec{.names = {"tekken"}, .stages = {kTekken}, .takes_whole_tokens = true, .adds_bos_by_default = true},
    Spec{.names = {"deepseek-llm"},
         .stages = {kLineEnd, kDeepSeekLetters, kDeepSeekSigns, kLastSpaces, kDeepSeekAsian, kDigits}},
    Spec{.names = {"deepseek-v3"}, .stages = {kThreeDigits, kDeepSeek3Asian, kDeepSeek3}},
};

std::string supported_names() {
  std::string list;
  for (const Spec& spec : kSpecs) {
    for (const std::string_view name : spec.names) {
      if (!name.empty()) list += (list.empty() ? "" : ", ") + std::string(name);
    }
  }
  return list;
}

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
using Match = std::unique_ptr<pcre2_match_data, FreeMatch>;

// Appends the matches of `code` in `text` and what lies between them. Requires: `text` is UTF-8.
void cut(const pcre2_code* code, pcre2_match_data* match, std::string_view text,
         std::vector<std::string_view>& pieces) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  std::size_t end = 0;
  while (end < text.size()) {
    int found = pcre2_match(code, subject, text.size(), end, PCRE2_NO_UTF_CHECK, match, nullptr);
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
      // The compiled matcher has a small fixed stack, the interpreter has not.
      found = pcre2_match(code, subject, text.size(), end, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, nullptr);
    }
    CAIRN_CHECK(found > 0 || found == PCRE2_ERROR_NOMATCH);
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(match);
    const std::size_t match_begin = found > 0 ? span[0] : text.size();
    const std::size_t match_end = found > 0 ? span[1] : text.size();
    CAIRN_CHECK(match_begin >= end && (match_end > match_begin || found < 0));
    if (match_begin > end) pieces.push_back(text.substr(end, match_begin - end));
    if (match_end > match_begin) pieces.push_back(text.substr(match_begin, match_end - match_begin));
    end = match_end;
  }
}

std::size_t valid_length(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size()) {
    const std::size_t next = utf8_char_length(text.substr(length));
    if (next == 0) break;
    length += next;
  }
  return length;
}

}  // namespace

void PreTokenizer::FreeCode::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

Result<PreTokenizer> PreTokenizer::make(std::string_view name) {
  if (name.empty()) {
    return fail(ErrorCode::kCorrupt,
                "tokenizer.ggml.pre is missing: convert the model with a current converter (supported: " +
                    supported_names() + ")");
  }
  const auto spec =
      std::ranges::find_if(kSpecs, [&](const Spec& s) { return std::ranges::find(s.names, name) != s.names.end(); });
  if (spec == kSpecs.end()) {
    return fail(ErrorCode::kUnsupported,
                "tokenizer.ggml.pre is \"" + printable_start(name, 40) + "\": supported are " + supported_names());
  }
  PreTokenizer pre;
  pre.name_ = spec->names[0];
  pre.takes_whole_tokens_ = spec->takes_whole_tokens;
  pre.adds_bos_by_default_ = spec->adds_bos_by_default;
  for (const char* stage : spec->stages) {
    if (stage == nullptr) break;
    int error = 0;
    PCRE2_SIZE where = 0;
    auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(stage), PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                               &error, &where, nullptr);
    if (code == nullptr) {
      return fail(ErrorCode::kInternal, "PCRE2 refuses the pattern of pre-tokenizer " + std::string(pre.name_) +
                                            " (error " + std::to_string(error) + "): PCRE2 10.40 or newer is needed");
    }
    pre.stages_.emplace_back(code);
    // Systems that forbid executable memory refuse this; matching then runs interpreted.
    static_cast<void>(pcre2_jit_compile(code, PCRE2_JIT_COMPLETE));
  }
  return pre;
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  const Match match(pcre2_match_data_create(1, nullptr));
  CAIRN_CHECK(match != nullptr);
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const std::size_t valid = valid_length(text);
    std::vector<std::string_view> run;
    if (valid > 0) run.push_back(text.substr(0, valid));
    for (const auto& stage : stages_) {
      std::vector<std::string_view> finer;
      for (const std::string_view piece : run) cut(stage.get(), match.get(), piece, finer);
      run = std::move(finer);
    }
    pieces.insert(pieces.end(), run.begin(), run.end());
    text.remove_prefix(valid);
    if (text.empty()) break;
    pieces.push_back(text.substr(0, 1));
    text.remove_prefix(1);
  }
  return pieces;
}

}  // namespace cairn::text
