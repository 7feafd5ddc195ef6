// SPDX-License-Identifier: Apache-2.0
// cairn store: the command, and explain: for each block of a prompt, where it is or why it is not.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/cairn/commands.h"
#include "apps/cairn/input.h"
#include "apps/cairn/model_options.h"
#include "apps/cairn/options.h"
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

void add_store_command(CLI::App& app, Status& outcome) {
  CLI::App* command = app.add_subcommand("store", "Look into a store of KV blocks, check it, change it");
  command->require_subcommand(1);
  add_store_stat_command(*command, outcome);
  add_store_ls_command(*command, outcome);
  add_store_verify_command(*command, outcome);
  add_store_explain_command(*command, outcome);
  add_store_pin_command(*command, outcome);
  add_store_move_command(*command, outcome);
  add_store_compress_command(*command, outcome);
  add_store_clear_command(*command, outcome);
  add_store_gc_command(*command, outcome);
  add_store_doctor_command(*command, outcome);
}

void add_store_argument(CLI::App& command, StoreCommand& options) {
  command.add_option("store", options.store, "A folder or redis://HOST")->required();
  command.add_option("--timeout", options.timeout_s, "Most seconds to wait for the store")
      ->check(whole_number(1, 86400))
      ->capture_default_str();
  command.add_flag("--json", options.json, "Print JSON");
}

Result<std::unique_ptr<Tier>> open_named(const StoreCommand& options, Access access) {
  if (options.store.starts_with("ram:")) {
    return fail(ErrorCode::kInvalidArgument, "memory ends with its process: name a folder or redis://HOST");
  }
  const bool folder = options.store.find("://") == std::string::npos;
  std::error_code error;
  if (folder && access != Access::kCreate && !std::filesystem::exists(options.store + "/cairn-store", error)) {
    return fail(ErrorCode::kNotFound, "there is no store in '" + options.store + "'");
  }
  StoreConfig config = options.config;
  config.read_only = access == Access::kRead;
  config.disk_bytes = UINT64_MAX / 4;  // these commands never evict
  CAIRN_TRY(auto tier, open_tier(options.store, config));
  if (access != Access::kRead && tier->read_only() == ReadOnly::kInUse) {
    return fail(ErrorCode::kIo, "'" + options.store + "' is in use by another process: try again when it has ended");
  }
  return tier;
}

void warn_of_foreign(const Tier& tier) {
  if (const std::string foreign = foreign_warning(tier); !foreign.empty()) std::cerr << "cairn: " << foreign << '\n';
}

Working::Working(const StoreCommand& options, const char* what)
    : progress_(what),
      watch_{.patience = std::chrono::seconds(options.timeout_s),
             .progress = [this](double share) { progress_.update(share); },
             .stopped = [] { return interrupted(); }} {}

std::string time_text(std::int64_t unix_s) {
  if (unix_s == 0) return "-";
  const auto time = static_cast<std::time_t>(unix_s);
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%F %T", &parts);
  return text;
}

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
