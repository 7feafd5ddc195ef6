// SPDX-License-Identifier: Apache-2.0
// cairn store explain: for each block of a prompt, where it is or why it is not.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/cairn/model_options.h"
#include "apps/cairn/store/store_commands.h"
#include "apps/cairn/terminal.h"
#include "apps/cairn/input.h"
#include "cairn/gguf/gguf.h"

namespace cairn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ExplainOptions : StoreCommand {
  ModelOptions model;
  std::string prompt, file, tenant;
};

struct Explained {
  std::size_t block = 0;
  Digest key;
  BlockStatus status = BlockStatus::kMiss;
  std::string why;
};

// The first line of two recipes' descriptions that differs, as "codec_plan: k1v1*6 here, k35v35*6 there".
std::string first_difference(const std::string& here, const std::string& there) {
  std::istringstream a(here), b(there);
  std::string ours, theirs;
  while (std::getline(a, ours) && std::getline(b, theirs)) {
    if (ours == theirs) continue;
    const std::size_t colon = theirs.find(": ");
    return ours + " here, " + (colon == std::string::npos ? theirs : theirs.substr(colon + 2)) + " there";
  }
  return "its description is the same";
}

std::string gone_text(Gone gone, const TierStats& stats) {
  switch (gone) {
    case Gone::kEvicted: return "evicted to make room";
    case Gone::kExpired: return "its time had come";
    case Gone::kDamaged: return "it was damaged, and erased";
    case Gone::kErased: return "erased or moved on request";
    case Gone::kForeign:
      return stats.foreign > 0 ? format_version_text(stats.foreign_version)
                               : "another format version; this build reads version " + std::to_string(kRecordVersion);
    case Gone::kUnknown: break;
  }
  return "never stored, as far as the store remembers";
}

// Whether the same tokens are there under another recipe.
std::string other_recipe(Tier& tier, const Engine& engine, const ExplainOptions& options,
                         std::span<const TokenId> tokens, std::size_t block) {
  const Digest mine = recipe_fingerprint(engine.recipe());
  for (const auto& [recipe, text] : tier.recipes()) {
    if (recipe == mine) continue;
    Digest key = chain_root(recipe, options.tenant);
    for (std::size_t b = 0; b <= block; ++b) key = block_key(key, tokens.subspan(b * kBlockTokens, kBlockTokens));
    if (tier.contains({&key, 1}, options.deadline())[0] == BlockStatus::kOk) {
      return "held under another recipe: " + first_difference(recipe_text(engine.recipe()), text);
    }
  }
  return {};
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
  std::vector<Explained> explained(blocks);
  bool reachable = true;
  for (std::size_t b = 0; b < blocks; ++b) {
    explained[b] = {.block = b, .key = keys[b], .status = BlockStatus::kMiss, .why = {}};
  }
  tier->get(keys, options.deadline(),
            [&](std::size_t b, BlockStatus status, std::shared_ptr<const BlockRecord> record) {
              if (status == BlockStatus::kOk && !record->sound()) status = BlockStatus::kCorrupt;
              if (status == BlockStatus::kOk)
                explained[b].why = record->unreadable_with(store_key ? &*store_key : nullptr);
              explained[b].status = status;
            });
  std::size_t usable = 0;
  for (Explained& block : explained) {
    switch (block.status) {
      case BlockStatus::kOk:
        if (!block.why.empty()) break;
        block.why = reachable ? "here" : "here, but unreachable: a block before it is missing";
        usable += reachable;
        continue;
      case BlockStatus::kMiss:
        if (tier->what_became_of(block.key) != Gone::kForeign) {
          block.why = other_recipe(*tier, *engine, options, tokens, block.block);
        }
        if (block.why.empty()) block.why = gone_text(tier->what_became_of(block.key), tier->stats());
        break;
      case BlockStatus::kExpired: block.why = "its time had come"; break;
      case BlockStatus::kCorrupt: block.why = "a checksum does not hold: it will be computed and stored anew"; break;
      default: block.why = "the store does not answer: " + std::string(block_status_name(block.status)); break;
    }
    reachable = false;
  }
  if (options.json) {
    Json json{{"store", tier->name()},
              {"tokens", tokens.size()},
              {"usable_tokens", usable * kBlockTokens},
              {"recipe", recipe_fingerprint(engine->recipe()).hex()},
              {"blocks", Json::array()}};
    for (const Explained& block : explained) {
      json["blocks"].push_back({{"first_token", block.block * kBlockTokens},
                                {"key", block.key.hex()},
                                {"status", block_status_name(block.status)},
                                {"why", block.why}});
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
