// SPDX-License-Identifier: Apache-2.0
// Pins, listings and recipes.
#include <charconv>
#include <utility>

#include "cairn/store/redis/redis_tier.h"

namespace cairn::redis {
namespace {

using Kind = Request::Kind;

constexpr std::size_t kMaxRecipeBytes = 1 << 16;
constexpr std::size_t kMaxRecipes = 10'000;

std::int64_t pinned_until(const Reply& reply) {
  std::int64_t seconds = 0;
  const std::string& text = reply.text;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  return error == std::errc{} && end == text.data() + text.size() ? seconds : 0;
}

}  // namespace

BlockStatus RedisTier::pin(const Digest& key, std::int64_t until_s) {
  std::vector<Task> tasks(1);
  tasks[0].key = key;
  const Step step = [&](Node& node, Pipeline& pipeline, const Tasks& group) {
    Task& task = *group.front();
    const std::string header = header_key(key), pin = pin_key(key);
    pipeline.add({.task = &task, .kind = Kind::kExists, .words = commit_command(key)});
    // One key's new end; GT leaves alone what ends later or never.
    const auto extend = [&](const std::string& name) {
      std::vector<std::string> words;
      if (until_s > 0) {
        words = {"PEXPIREAT", name, std::to_string(until_s) + "000", "GT"};
      } else if (options_.ttl.count() > 0) {
        words = {"PEXPIRE", name, std::to_string(options_.ttl.count()) + "000"};
      } else {
        words = {"PERSIST", name};
      }
      pipeline.add({.task = &task, .kind = name == header ? Kind::kHeader : Kind::kIgnored, .words = std::move(words)});
    };
    pipeline.run([&](Request& request, Reply& reply) {
      if (reply.is(Reply::Kind::kError)) return refused(node, task, reply);
      if (request.kind == Kind::kExists) {
        const auto commit = Commit::read(std::as_bytes(std::span(reply.text)));
        if (!reply.is(Reply::Kind::kString) || !commit) return task.end(BlockStatus::kMiss);
        for (std::uint32_t slice = 0; slice < commit->slices; ++slice) {
          extend(slice_key(key, commit->tag, slice));
        }
        if (until_s > 0) {
          pipeline.add(
              {.task = &task, .words = {"SET", pin, std::to_string(until_s), "EXAT", std::to_string(until_s)}});
        } else {
          pipeline.add({.task = &task, .words = {"UNLINK", pin}});
        }
        extend(header);
      } else if (request.kind == Kind::kHeader) {
        task.end(reply.is(Reply::Kind::kInteger) ? BlockStatus::kOk : BlockStatus::kBroken);
      }
    });
  };
  work(tasks, deadline_in(options_.patience), step, [](Task&) {});
  return tasks[0].status;
}

Status RedisTier::scan(Node& node, std::string_view pattern, Deadline deadline,
                       const std::function<bool(Pipeline&, const std::vector<std::string>&)>& page,
                       const std::function<bool()>& after) {
  const auto failed = [&](std::string_view why) {
    return fail(ErrorCode::kIo, node.address().text() + ": " + std::string(why));
  };
  std::string cursor = "0";
  do {
    if (passed(deadline)) return failed("out of time");
    {
      auto lease = node.borrow(deadline);
      if (!lease) return failed(lease.error() == BlockStatus::kTimeout ? "out of time" : "no connection");
      Pipeline pipeline(lease->link(), window_, deadline);
      pipeline.add({.words = {"SCAN", cursor, "MATCH", std::string(pattern), "COUNT", "256"}, .bytes = 1 << 15});
      std::vector<std::string> names;
      bool understood = false;
      const bool answered = pipeline.run([&](Request&, Reply& reply) {
        if (reply.items.size() != 2 || !reply.items[0].is(Reply::Kind::kString)) return;
        cursor = reply.items[0].text;
        understood = !cursor.empty() && cursor.size() <= 20;
        for (Reply& name : reply.items[1].items) names.push_back(std::move(name.text));
      });
      if (!answered || !understood) return failed("no answer to SCAN");
      if (!page(pipeline, names)) return failed("no answer");
    }
    if (!after()) return {};
  } while (cursor != "0");
  return {};
}

Status RedisTier::list(const std::function<bool(const StoredBlock&)>& visitor, Deadline deadline) {
  bool more = true;
  for (const auto& node : cluster_.masters()) {
    std::vector<StoredBlock> blocks;
    const auto page = [&](Pipeline& pipeline, const std::vector<std::string>& names) {
      for (const std::string& name : names) {
        const auto key = block_of_header_key(name);
        if (!key) continue;
        pipeline.add({.kind = Kind::kHeader, .words = {"GET", name}, .bytes = 2 * kDirectIoPage});
        pipeline.add({.kind = Kind::kExists, .words = {"GET", pin_key(*key)}});
      }
      bool shown = false;  // the header before this reply
      return pipeline.run([&](Request& request, Reply& reply) {
        if (request.kind == Kind::kExists) {
          if (shown) blocks.back().pinned_until_s = pinned_until(reply);
          return;
        }
        shown = false;
        const std::span<const std::byte> value = std::as_bytes(std::span(reply.text));
        if (!reply.is(Reply::Kind::kString) || value.size() < Commit::kBytes) return;
        const auto commit = Commit::read(value.last(Commit::kBytes));
        auto meta = BlockRecord::parse_header(value.first(value.size() - Commit::kBytes), 0);
        if (!meta) {
          if (const auto foreign = foreign_record(value.first(value.size() - Commit::kBytes))) {
            note_foreign(foreign->key, foreign->version);
          }
        }
        if (!commit || !meta || header_key(meta->key) != request.words[1]) return;
        blocks.push_back({*std::move(meta), commit->record_bytes + Commit::kBytes, 0});
        shown = true;
      });
    };
    const auto after = [&] {
      for (const StoredBlock& block : std::exchange(blocks, {})) {
        if (!(more = visitor(block))) break;
      }
      return more;
    };
    CAIRN_TRY_VOID(scan(*node, kHeaderPattern, deadline, page, after));
    if (!more) return {};
  }
  return {};
}

void RedisTier::describe_recipe(const Digest& recipe, const std::string& text) {
  if (text.empty() || text.size() > kMaxRecipeBytes) return;
  const std::string name = recipe_key(recipe);
  const Deadline deadline = deadline_in(options_.patience);
  const auto node = cluster_.node_for(slot_of(name));
  if (node == nullptr) return;
  auto lease = node->borrow(deadline);
  if (!lease) return;
  Pipeline pipeline(lease->link(), window_, deadline);
  Request request{.words = {"SET", name}, .value = text, .bytes = text.size()};
  const auto ttl_s = 2 * options_.ttl.count();
  if (ttl_s > 0) request.words.insert(request.words.end(), {"EX", std::to_string(ttl_s)});
  pipeline.add(std::move(request));
  (void)pipeline.run([](Request&, Reply&) {});
}

std::map<Digest, std::string> RedisTier::recipes() {
  std::map<Digest, std::string> recipes;
  const Deadline deadline = deadline_in(options_.patience);
  for (const auto& node : cluster_.masters()) {
    const auto page = [&](Pipeline& pipeline, const std::vector<std::string>& names) {
      for (const std::string& name : names) {
        if (recipe_of_key(name)) pipeline.add({.words = {"GET", name}, .bytes = kMaxRecipeBytes});
      }
      return pipeline.run([&](Request& request, Reply& reply) {
        const auto recipe = recipe_of_key(request.words[1]);
        if (!reply.is(Reply::Kind::kString) || reply.text.size() > kMaxRecipeBytes) return;
        if (recipe && recipes.size() < kMaxRecipes) recipes[*recipe] = std::move(reply.text);
      });
    };
    (void)scan(*node, kRecipePattern, deadline, page, [] { return true; });
  }
  return recipes;
}

}  // namespace cairn::redis
