// SPDX-License-Identifier: Apache-2.0
// cairn run: one answer to a prompt, or a chat.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/run.h"
#include "apps/cairn/store_options.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

// Decided before the weights are loaded, since it may fail.
Result<ChatFamily> chat_family(const RunOptions& options) {
  if (options.raw) return ChatFamily::kPlain;
  if (!options.chat_template.empty()) return parse_chat_family(options.chat_template);
  CAIRN_TRY(const GgufFile file, GgufFile::open(options.model.model));
  CAIRN_TRY(const std::string chat_template, file.get_or<std::string>("tokenizer.chat_template", ""));
  return detect_chat_family(chat_template);
}

std::vector<TokenId> prompt_tokens(const Tokenizer& tokenizer, ChatFamily family, const RunOptions& options,
                                   std::string prompt) {
  if (family == ChatFamily::kPlain && options.system.empty()) return tokenizer.encode(prompt);
  Conversation conversation(tokenizer, family, options.system);
  conversation.ask(std::move(prompt));
  return conversation.tokens();
}

Json answer_json(const Generated& answer, std::uint64_t seed) {
  return {{"text", answer.text},
          {"stop", stop_reason_name(answer.stop)},
          {"prompt_tokens", answer.prompt_tokens},
          {"reused_tokens", answer.reused_tokens},
          {"generated_tokens", answer.ids.size()},
          {"ids", answer.ids},
          {"first_token_s", answer.first_token_s},
          {"tokens_per_s", answer.decode_rate()},
          {"kv_bytes", answer.kv_bytes},
          {"seed", seed}};
}

Status answer_prompt(Engine& engine, const RunOptions& options, ChatFamily family, std::string prompt) {
  const std::vector<TokenId> tokens = prompt_tokens(engine.tokenizer(), family, options, std::move(prompt));
  AnswerView view(!options.json);
  InterruptScope scope;
  CAIRN_TRY(const Generated answer, generate(engine, tokens, options.sampler, options.generation, view.hooks()));
  CAIRN_TRY_VOID(view.finish());
  if (options.json) {
    const Json json = answer_json(answer, options.sampler.seed);
    std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  }
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
    CAIRN_TRY(prompt, read_text(options.file));
  }
  if (!options.interactive() && prompt.empty()) {
    return fail(ErrorCode::kInvalidArgument, "the prompt is empty: give some text with -p or -f");
  }
  CAIRN_TRY(const ChatFamily family, chat_family(options));
  options.generation.continues_text = family == ChatFamily::kPlain;
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model));
  const Status status = options.interactive() ? chat_loop(*engine, options, family, sampler)
                                              : answer_prompt(*engine, options, family, std::move(prompt));
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
  add_store_options(*command, options->model.store);
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "The prompt");
  CLI::Option* file = command->add_option("-f,--file", options->file, "Read the prompt from a file ('-' is stdin)");
  command->add_option("-n,--max-tokens", options->generation.max_tokens, "Longest answer in tokens")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_sampler_options(*command, options->sampler);
  command->add_option("--system", options->system, "Instructions that stand before the conversation");
  CLI::Option* chat_template =
      command->add_option("--chat-template", options->chat_template,
                          "chatml, llama3, mistral, zephyr or plain; default: what the file says");
  command->add_flag("--raw", options->raw, "Take the prompt as it is, without a chat template")
      ->excludes(chat_template);
  command->add_flag("--ignore-eos", options->generation.ignore_eos, "Go on where the model would end");
  command->add_flag("--stats", options->stats, "Tell token counts, reuse and speed on stderr");
  command->add_flag("--json", options->json, "Print one JSON object instead of text");
  prompt->excludes(file);
  command->footer(
      "In a chat, Ctrl-C stops the answer; Ctrl-C at the prompt, Ctrl-D or /exit leaves; /clear forgets the history.");
  command->callback([options, prompt, file, &outcome] {
    options->has_prompt = prompt->count() > 0;
    options->has_file = file->count() > 0;
    outcome = run(*options);
  });
}

}  // namespace cairn::cli
