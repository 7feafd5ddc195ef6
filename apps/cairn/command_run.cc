// SPDX-License-Identifier: Apache-2.0
// cairn run: one answer to a prompt, or a chat.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "apps/cairn/chat_options.h"
#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
#include "apps/cairn/terminal.h"
#include "cairn/base/result.h"
#include "cairn/engine/engine.h"
#include "cairn/engine/generate.h"
#include "cairn/text/chat_template.h"
#include "cairn/text/conversation.h"
#include "cairn/text/sampler.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

// What `cairn run` was asked to do.
struct RunOptions {
  ModelOptions model;
  std::string prompt;
  std::string file;
  bool has_prompt = false;
  bool has_file = false;
  GenerationOptions generation;
  SamplerOptions sampler;
  std::string chat_template;  // empty: from the file
  std::string chat_kwargs;    // JSON
  std::string system;
  bool raw = false;
  bool stats = false;
  bool json = false;

  bool interactive() const { return !has_prompt && !has_file; }
};

// Progress while the prompt is read, text as it comes, Ctrl-C. Thread-compatible.
class AnswerView {
 public:
  // `show`: print the text at all.
  explicit AnswerView(bool show) : show_(show) {}

  // They refer to this view. on_step fails with kIo when standard output is closed; Ctrl-C cancels.
  GenerationHooks hooks();
  Status finish();  // prints a line break

 private:
  Status print(const std::string& text) const;

  Progress progress_{"Reading the prompt"};
  bool show_;
};

GenerationHooks AnswerView::hooks() {
  return {.prefill = {.on_progress = progress_.counter(), .cancel = &interrupt_flag()},
          .on_logits = [this](std::span<const float>) { progress_.finish(); },
          .on_step = [this](const GenerationStep& step) { return print(step.text); }};
}

Status AnswerView::finish() {
  progress_.finish();
  return print("\n");
}

Status AnswerView::print(const std::string& text) const {
  if (show_ && !(std::cout << text << std::flush)) {
    return fail(ErrorCode::kIo, "cannot write to standard output");
  }
  return {};
}

// "prompt 120 tokens, reused 64, first token 0.05 s, 12 tokens at 30.1 per second, KV 1.2 MiB"
std::string answer_figures(const Generated& answer) {
  return "prompt " + std::to_string(answer.prompt_tokens) + " tokens, reused " + std::to_string(answer.reused_tokens) +
         ", first token " + format_number(answer.first_token_s, 3) + " s, " + std::to_string(answer.ids.size()) +
         " tokens at " + format_number(answer.decode_rate(), 1) + " per second, KV " +
         format_bytes(static_cast<double>(answer.kv_bytes)) +
         (answer.policy.policy.empty() ? "" : "; policy " + policy_text(answer.policy));
}

// Where the answer was cut, people at a terminal are told why.
void tell_if_cut(const Generated& answer) {
  if (answer.stop != StopReason::kLength || isatty(STDERR_FILENO) != 1) return;
  std::cerr << "[cut after " << answer.ids.size() << " tokens; -n allows more]\n";
}

class Chat {
 public:
  Chat(Engine& engine, const RunOptions& options, Sampler& sampler, Conversation conversation)
      : engine_(engine), options_(options), sampler_(sampler), conversation_(std::move(conversation)) {}

  void clear() {
    conversation_.clear();
    accepted_ = 0;
    sequence_.reset();
  }

  Status turn(std::string text) {
    CAIRN_TRY_VOID(conversation_.ask(std::move(text)));
    // The template may write earlier turns anew. The sequence goes, and its blocks up to there are found again.
    if (sequence_ && conversation_.kept() < sequence_->size()) sequence_.reset();
    if (!sequence_) sequence_ = engine_.open_while_loading(conversation_.tokens());
    for (; accepted_ < conversation_.tokens().size(); ++accepted_) sampler_.accept(conversation_.tokens()[accepted_]);
    AnswerView view(true);
    CAIRN_TRY(const Generated answer,
              generate(engine_, *sequence_, conversation_.tokens(), sampler_, options_.generation, view.hooks()));
    CAIRN_TRY_VOID(view.finish());
    tell_if_cut(answer);
    if (options_.stats) std::cerr << '[' << answer_figures(answer) << "]\n";
    conversation_.answer(answer.text, answer.ids);
    accepted_ = conversation_.tokens().size();
    return {};
  }

  // After a turn that failed: what it left in the sequence is dropped, its blocks may still be found again.
  void take_back() {
    conversation_.retract();
    accepted_ = std::min(accepted_, conversation_.tokens().size());
    sequence_.reset();
  }

 private:
  Engine& engine_;
  const RunOptions& options_;
  Sampler& sampler_;
  Conversation conversation_;
  std::optional<Sequence> sequence_;
  std::size_t accepted_ = 0;  // tokens that the sampler has counted
};

constexpr const char* kChatHelp =
    "/clear forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C stops an answer.\n"
    "A text of several lines stands between two lines of \"\"\" each.\n";

// What a person wants to say: a line, or all lines between two that are \"\"\". Nothing at the end of input.
std::optional<std::string> next_turn(LineReader& input) {
  constexpr std::string_view kQuotes = "\"\"\"";
  std::optional<std::string> line = input.next();
  if (!line || *line != kQuotes) return line;
  std::string text;
  while ((line = input.next()) && *line != kQuotes) text += (text.empty() ? "" : "\n") + *line;
  return text;
}

// "/name" and nothing else: a slip rather than something to say.
bool looks_like_command(const std::string& line) {
  return line.size() > 1 && line.front() == '/' &&
         std::ranges::all_of(line.substr(1), [](unsigned char c) { return std::islower(c) != 0; });
}

// A chat that keeps its history and the keys and values of it.
// Reads turns from standard input until its end, /exit, or Ctrl-C at the prompt. Ctrl-C during an answer ends the
// answer. Errors: those of reading the template and of generating; a turn that does not fit is reported and taken back.
Status chat_loop(Engine& engine, const RunOptions& options, const ChatTemplate& chat_template, jinja::Dict kwargs,
                 Sampler& sampler) {
  const bool terminal = isatty(STDIN_FILENO) == 1;
  if (terminal) {
    const std::string name = std::filesystem::path(options.model.model).stem().string();
    std::cerr << "Chat with " << name << " (" << chat_template.name() << ", " << engine.context()
              << " tokens of context).\n"
              << kChatHelp;
  }
  InterruptScope scope;
  LineReader input;
  Chat chat(engine, options, sampler,
            {engine.tokenizer(), chat_template, options.system, {.kwargs = std::move(kwargs), .now = local_time()}});
  bool asked = false;
  while (true) {
    clear_interrupt();
    if (terminal) std::cerr << "> " << std::flush;
    std::optional<std::string> line = terminal ? next_turn(input) : input.next();
    if (!line || *line == "/exit") break;
    if (*line == "/clear") {
      chat.clear();
      continue;
    }
    if (line->empty()) continue;
    if (terminal && looks_like_command(*line)) {
      std::cerr << (*line == "/help" ? "" : "There is no " + *line + ". ") << kChatHelp;
      continue;
    }
    asked = true;
    const Status status = chat.turn(std::move(*line));
    if (status) continue;
    const ErrorCode code = status.error().code;
    if (!terminal || (code != ErrorCode::kTooLong && code != ErrorCode::kOutOfBudget)) return status;
    std::cerr << "cairn: " << status.error().message << " (/clear forgets the conversation)\n";
    chat.take_back();
  }
  if (terminal) {
    std::cerr << '\n';
  } else if (!asked && !interrupted()) {
    return fail(ErrorCode::kInvalidArgument,
                "nothing was asked: give a prompt with -p or -f, or lines on standard input");
  }
  return {};
}

Result<std::vector<TokenId>> prompt_tokens(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                                           jinja::Dict kwargs, const RunOptions& options, std::string prompt) {
  if (chat_template.is_plain() && options.system.empty()) return encode_prompt(tokenizer, prompt, {});
  Conversation conversation(tokenizer, chat_template, options.system,
                            {.kwargs = std::move(kwargs), .now = local_time()});
  CAIRN_TRY_VOID(conversation.ask(std::move(prompt)));
  return conversation.tokens();
}

Json answer_json(const Generated& answer, std::uint64_t seed) {
  Json json = {{"text", answer.text},
               {"stop", stop_reason_name(answer.stop)},
               {"prompt_tokens", answer.prompt_tokens},
               {"reused_tokens", answer.reused_tokens},
               {"generated_tokens", answer.ids.size()},
               {"ids", answer.ids},
               {"first_token_s", answer.first_token_s},
               {"tokens_per_s", answer.decode_rate()},
               {"kv_bytes", answer.kv_bytes},
               {"seed", seed}};
  const PolicyFigures& policy = answer.policy;
  if (!policy.policy.empty()) {
    json["policy"] = {{"name", policy.policy},
                      {"kept", policy.kept},
                      {"demoted", policy.demoted},
                      {"kv_bytes_freed", policy.bytes_freed},
                      {"kv_bytes_offloaded", policy.bytes_offloaded},
                      {"read", policy.read},
                      {"put_off", policy.put_off},
                      {"not_offloaded", policy.not_offloaded}};
  }
  return json;
}

Status answer_prompt(Engine& engine, const RunOptions& options, const std::vector<TokenId>& tokens) {
  AnswerView view(!options.json);
  InterruptScope scope;
  CAIRN_TRY(const Generated answer, generate(engine, tokens, options.sampler, options.generation, view.hooks()));
  CAIRN_TRY_VOID(view.finish());
  if (options.json) {
    const Json json = answer_json(answer, options.sampler.seed);
    std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  if (!options.json) tell_if_cut(answer);
  if (options.stats) {
    std::cerr << '[' << answer_figures(answer) << "]\n";
    if (engine.connector() != nullptr) std::cerr << '[' << store_figures(*engine.connector()) << "]\n";
  }
  if (answer.stop == StopReason::kCancelled) return fail(ErrorCode::kCancelled, "interrupted");
  return {};
}

Status run(RunOptions& options) {
  if (options.interactive() && options.json) {
    return fail(ErrorCode::kInvalidArgument, "--json needs a prompt: give -p or -f");
  }
  CAIRN_TRY(Sampler sampler, Sampler::make(options.sampler));
  std::string prompt = options.prompt;
  if (options.has_file) {
    CAIRN_TRY(std::string text, read_text(options.file));
    prompt = options.has_prompt ? std::move(text) + "\n\n" + prompt : std::move(text);
  }
  if (!options.interactive() && prompt.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty: give some text with -p or -f");
  }
  // Decided before the weights are loaded, since it may fail.
  CAIRN_TRY(const ChatTemplate chat_template, options.raw
                                                  ? Result<ChatTemplate>(ChatFamily::kPlain)
                                                  : choose_chat_template(options.chat_template, options.model.model));
  CAIRN_TRY(jinja::Dict kwargs, read_chat_kwargs(options.chat_kwargs, chat_template));
  options.generation.continues_text = chat_template.is_plain();
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model));
  CAIRN_TRY_VOID(check_offload(options.model, {&engine->policy(), 1}));
  CAIRN_TRY(const bool doubled_bos, probe_writes_bos_twice(engine->tokenizer(), chat_template, kwargs));
  if (doubled_bos) std::cerr << "cairn: " << kDoubledBos << '\n';
  Status status;
  if (options.interactive()) {
    status = chat_loop(*engine, options, chat_template, std::move(kwargs), sampler);
  } else {
    CAIRN_TRY(const std::vector<TokenId> tokens,
              prompt_tokens(engine->tokenizer(), chat_template, std::move(kwargs), options, std::move(prompt)));
    status = answer_prompt(*engine, options, tokens);
  }
  if (const std::uint64_t kept = engine->cache().stats().blocks_kept_raw; kept > 0) {
    std::cerr << "cairn: " << kept
              << " blocks of a layer held infinities or not-a-numbers and were kept uncompressed\n";
  }
  return status;
}

void add_sampler_options(CLI::App& command, SamplerOptions& options) {
  command.add_option("--temp", options.temperature, "Temperature; 0 always takes the likeliest token")
      ->capture_default_str();
  command.add_option("--top-k", options.top_k, "Draw from the k likeliest tokens; 0: all")->capture_default_str();
  command.add_option("--top-p", options.top_p, "Draw from the smallest set with this probability; 1: all")
      ->capture_default_str();
  command.add_option("--min-p", options.min_p, "Drop tokens below this share of the likeliest; 0: none")
      ->capture_default_str();
  command.add_option("--repeat-penalty", options.repetition_penalty, "Above 1: recent tokens become less likely")
      ->capture_default_str();
  command.add_option("--repeat-last-n", options.repetition_window, "How many tokens count as recent")
      ->capture_default_str();
  command.add_option("-s,--seed", options.seed, "The same seed gives the same answer")->capture_default_str();
}

}  // namespace

void add_run_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("run", "Answer a prompt, or chat when there is none");
  auto options = std::make_shared<RunOptions>();
  add_model_options(*command, options->model);
  add_policy_option(*command, options->model);
  add_store_options(*command, options->model);
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "The prompt; with -f it follows the file");
  CLI::Option* file = command->add_option("-f,--file", options->file, "Read the prompt from a file ('-' is stdin)");
  command->add_option("-n,--max-tokens", options->generation.max_tokens, "Longest answer in tokens")
      ->check(whole_number(1))
      ->capture_default_str();
  add_sampler_options(*command, options->sampler);
  CLI::Option* system =
      command->add_option("--system", options->system, "Instructions that stand before the conversation");
  CLI::Option* chat_template = add_chat_template_option(*command, options->chat_template);
  CLI::Option* chat_kwargs = add_chat_kwargs_option(*command, options->chat_kwargs);
  command->add_flag("--raw", options->raw, "Take the prompt as it is, without a chat template")
      ->excludes(chat_template)
      ->excludes(chat_kwargs)
      ->excludes(system);
  command->add_flag("--ignore-eos", options->generation.ignore_eos, "Go on where the model would end");
  command->add_flag("--stats", options->stats, "Tell token counts, reuse and speed on stderr");
  command->add_flag("--json", options->json, "Print one JSON object instead of text");
  command->footer(
      "A question about a document:\n  cairn run model.gguf -f report.txt -p 'What does it say about costs?'\n"
      "In a chat, Ctrl-C stops the answer; Ctrl-C at the prompt, Ctrl-D or /exit leaves; /clear forgets the history.");
  command->callback([options, prompt, file, &outcome] {
    options->has_prompt = prompt->count() > 0;
    options->has_file = file->count() > 0;
    outcome = run(*options);
  });
}

}  // namespace cairn::cli
