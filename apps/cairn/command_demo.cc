// SPDX-License-Identifier: Apache-2.0
// cairn demo: two questions about one document, and a check that the cache changed nothing but the time.
#include <CLI/CLI.hpp>
#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/terminal.h"
#include "cairn/engine/generate.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxAnswerTokens = 24;

struct DemoOptions {
  ModelOptions model;
  std::string document;
  std::vector<std::string> questions = {"What is the code of river?", "What is the special magic number for Dublin?"};
  bool json = false;
};

struct Answer {
  Generated generated;
  std::string text;                        // without the space in front
  std::vector<std::vector<float>> logits;  // that each token was drawn from
};

// The likeliest tokens up to the end of the line.
Result<Answer> ask(Engine& engine, const std::string& prompt) {
  Answer out;
  Progress progress("Reading the document");
  GenerationHooks hooks;
  hooks.prefill.on_progress = progress.counter();
  hooks.on_logits = [&](std::span<const float> logits) { out.logits.emplace_back(logits.begin(), logits.end()); };
  CAIRN_TRY(out.generated, generate(engine, engine.tokenizer().encode(prompt), {.temperature = 0},
                                    {.max_tokens = kMaxAnswerTokens, .stop = {"\n"}, .continues_text = true}, hooks));
  out.text = out.generated.text;
  out.text.erase(0, out.text.find_first_not_of(' '));
  return out;
}

bool same_bits(const Answer& a, const Answer& b) {
  if (a.logits.size() != b.logits.size()) return false;
  for (std::size_t i = 0; i < a.logits.size(); ++i) {
    if (a.logits[i].size() != b.logits[i].size() ||
        std::memcmp(a.logits[i].data(), b.logits[i].data(), a.logits[i].size() * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

Json answer_json(const std::string& question, const Answer& answer) {
  return {{"question", question},
          {"answer", answer.text},
          {"prompt_tokens", answer.generated.prompt_tokens},
          {"reused_tokens", answer.generated.reused_tokens},
          {"first_token_s", answer.generated.first_token_s},
          {"tokens_per_s", answer.generated.decode_rate()},
          {"kv_bytes", answer.generated.kv_bytes}};
}

std::vector<std::string> table_row(const std::string& what, const Generated& answer) {
  return {what,
          std::to_string(answer.prompt_tokens),
          std::to_string(answer.reused_tokens),
          format_number(answer.first_token_s * 1000, 1) + " ms",
          format_number(answer.decode_rate(), 0),
          format_bytes(static_cast<double>(answer.kv_bytes))};
}

Status run_demo(const DemoOptions& options) {
  CAIRN_TRY(std::string document, read_text(options.document));
  CAIRN_TRY(const std::unique_ptr<Engine> engine, load_engine(options.model));
  const std::size_t document_tokens = engine->tokenizer().encode(document).size();
  // People read each answer as it comes; JSON is one object at the end.
  if (!options.json) std::cout << "Document: " << options.document << ", " << document_tokens << " tokens\n\n";
  Json report = {{"format", "cairn.demo.v1"}, {"document", options.document}, {"document_tokens", document_tokens}};
  std::vector<std::vector<std::string>> rows = {{"", "prompt tokens", "reused", "first token", "tokens/s", "KV bytes"}};
  std::string prompt;
  Answer warm;
  for (const std::string& question : options.questions) {
    prompt = document + "Question: " + question + "\nAnswer:";
    CAIRN_TRY(warm, ask(*engine, prompt));
    if (!options.json) std::cout << "Question: " << question << "\nAnswer:   " << warm.text << "\n\n";
    report["answers"].push_back(answer_json(question, warm));
    rows.push_back(table_row((warm.generated.reused_tokens == 0 ? "cold: " : "warm: ") + question, warm.generated));
  }
  if (warm.generated.reused_tokens == 0) {
    return fail(ErrorCode::kInvalidArgument,
                "nothing was reused: ask at least two questions about a document of at least " +
                    std::to_string(kBlockTokens) + " tokens");
  }
  engine->cache().clear();
  CAIRN_TRY(const Answer cold, ask(*engine, prompt));
  if (cold.generated.reused_tokens != 0) return fail(ErrorCode::kInternal, "the cleared cache still gave tokens");
  rows.push_back(table_row("cold: " + options.questions.back(), cold.generated));
  const bool identical = same_bits(warm, cold);
  const double sooner = cold.generated.first_token_s / warm.generated.first_token_s;
  if (options.json) {
    report["cold"] = answer_json(options.questions.back(), cold);
    report["compared_logits"] = warm.logits.size() * warm.logits.front().size();
    report["bit_identical"] = identical;
    report["first_token_times_sooner"] = sooner;
    std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    std::cout << format_table(rows) << '\n';
  }
  if (!identical) {
    if (!options.json) {
      std::cout << "MISMATCH: the logits of the last question differ with and without the cache.\n";
    }
    return fail(ErrorCode::kInternal,
                "a cached prefix changed the logits; please report this with 'cairn bench' output");
  }
  if (options.json) return {};
  std::cout << "The last question, answered from the cache and again from nothing: " << warm.logits.size() << " x "
            << warm.logits.front().size() << " logits compared byte for byte, all bit-identical.\n"
            << "First token " << format_number(sooner, 1) << " times sooner with the document in the cache.\n";
  return {};
}

}  // namespace

void add_demo_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("demo", "Ask questions about one document and show what the cache saves");
  auto options = std::make_shared<DemoOptions>();
  add_model_options(*command, options->model);
  command->add_option("--document", options->document, "Text that every question is about")->required();
  command->add_option("--question", options->questions, "A question; may be given several times")
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  command->callback([options, &outcome] { outcome = run_demo(*options); });
}

}  // namespace cairn::cli
