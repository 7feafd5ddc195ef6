// SPDX-License-Identifier: Apache-2.0
// cairn store explain: for each block of a prompt, where it is or why it is not.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/store/store_commands.h"
#include "apps/cairn/terminal.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ExplainOptions : StoreCommand {
  ModelOptions model;
  std::string prompt, file, tenant;
};

// The prompt's blocks as other recipes name them.
upkeep::OtherRecipes other_recipes(const Engine& engine, const ExplainOptions& options,
                                   std::span<const TokenId> tokens) {
  const auto key = [&options, tokens](const Digest& recipe, std::size_t block) {
    Digest of = chain_root(recipe, options.tenant);
    for (std::size_t b = 0; b <= block; ++b) of = block_key(of, tokens.subspan(b * kBlockTokens, kBlockTokens));
    return of;
  };
  const auto difference = [mine = recipe_text(engine.recipe())](const std::string& theirs) {
    return explain_difference(mine, theirs);
  };
  return {.mine = recipe_fingerprint(engine.recipe()), .key = key, .difference = difference};
}

Status explain(ExplainOptions& options) {
  std::string prompt = options.prompt;
  if (!options.file.empty()) {
    CAIRN_TRY(prompt, read_text(options.file));
  }
  if (prompt.empty()) return fail(ErrorCode::kInvalidArgument, "the prompt is empty: give some text with -p or -f");
  std::optional<StoreKey> store_key;
  if (!options.config.key_file.empty()) {
    CAIRN_TRY(store_key, StoreKey::from_file(options.config.key_file));
  }
  CAIRN_TRY(const auto tier, open_named(options, Access::kRead));
  CAIRN_TRY(const auto engine, load_engine(options.model));
  const std::vector<TokenId> tokens = engine->tokenizer().encode(prompt);
  const std::size_t blocks = tokens.empty() ? 0 : (tokens.size() - 1) / kBlockTokens;
  std::vector<Digest> keys;
  Digest key = chain_root(recipe_fingerprint(engine->recipe()), options.tenant);
  for (std::size_t b = 0; b < blocks; ++b) {
    key = block_key(key, std::span<const TokenId>(tokens).subspan(b * kBlockTokens, kBlockTokens));
    keys.push_back(key);
  }
  const std::vector<upkeep::Explained> explained = upkeep::explain(
      *tier, keys, store_key ? &*store_key : nullptr, other_recipes(*engine, options, tokens), options.deadline());
  const auto usable = static_cast<std::size_t>(std::ranges::count(explained, true, &upkeep::Explained::usable));
  if (options.json) {
    Json json{{"store", tier->name()},
              {"tokens", tokens.size()},
              {"usable_tokens", usable * kBlockTokens},
              {"recipe", recipe_fingerprint(engine->recipe()).hex()},
              {"blocks", Json::array()}};
    for (std::size_t b = 0; b < explained.size(); ++b) {
      json["blocks"].push_back({{"first_token", b * kBlockTokens},
                                {"key", explained[b].key.hex()},
                                {"status", block_status_name(explained[b].status)},
                                {"why", explained[b].why}});
    }
    std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return {};
  }
  std::cout << usable * kBlockTokens << " of " << tokens.size() << " tokens come from " << tier->name()
            << "; a prompt's last token and its open block are always computed\n\n";
  // Blocks with the same answer in one line.
  std::vector<std::vector<std::string>> rows = {{"tokens", "first key", "answer"}};
  for (std::size_t b = 0; b < explained.size();) {
    std::size_t end = b + 1;
    while (end < explained.size() && explained[end].why == explained[b].why) ++end;
    rows.push_back({std::to_string(b * kBlockTokens) + " to " + std::to_string(end * kBlockTokens - 1),
                    explained[b].key.hex().substr(0, 16), explained[b].why});
    b = end;
  }
  if (rows.size() > 1) std::cout << format_table(rows);
  return {};
}

}  // namespace

void add_store_explain_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("explain", "Where each block of a prompt is, or why it is not there");
  auto options = std::make_shared<ExplainOptions>();
  add_store_argument(*command, *options);
  add_model_options(*command, options->model);
  CLI::Option* prompt = command->add_option("-p,--prompt", options->prompt, "The prompt, as `run --raw` takes it");
  command->add_option("-f,--file", options->file, "Read it from a file ('-' is stdin)")->excludes(prompt);
  command->add_option("--tenant", options->tenant, "Whose prompt it is");
  command->add_option("--store-key", options->config.key_file, "The key that a run would use");
  command->callback([options, &outcome] { outcome = explain(*options); });
}

}  // namespace cairn::cli
