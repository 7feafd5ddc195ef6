// SPDX-License-Identifier: Apache-2.0
// Reading from Redis: blocks, headers of a group in one go, then the slices of as many blocks as the window holds;
// pins, listings and recipes.
#include <charconv>
#include <cstring>
#include <utility>

#include "cairn/store/record/record_header.h"
#include "cairn/store/redis/redis_tier.h"
#include "cairn/store/residency.h"

namespace cairn::redis {
namespace {

// A header's value is asked for before its length is known.
constexpr std::size_t kUsualHeaderBytes = 2 * kDirectIoPage;

std::size_t header_bytes_of(const Task& task) {
  return task.value.size() - Commit::kBytes;
}

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

std::vector<BlockStatus> RedisTier::contains(std::span<const Digest> keys, Deadline deadline) {
  std::vector<BlockStatus> statuses(keys.size(), BlockStatus::kMiss);
  std::vector<Task> tasks(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = keys[i];
  }
  const Step step = [&](Node& node, Pipeline& pipeline, const Tasks& group) {
    for (Task* const task : group) {
      pipeline.add({.task = task, .kind = Kind::kExists, .words = {"EXISTS", header_key(task->key)}});
    }
    pipeline.run([&](Request& request, Reply& reply) {
      Task& task = *request.task;
      if (reply.is(Reply::Kind::kError)) return refused(node, task, reply);
      const bool there = reply.is(Reply::Kind::kInteger) && reply.integer == 1;
      const bool absent = reply.is(Reply::Kind::kInteger) && reply.integer == 0;
      task.end(there ? BlockStatus::kOk : absent ? BlockStatus::kMiss : BlockStatus::kBroken);
    });
  };
  work(tasks, deadline, step, [&](Task& task) {
    statuses[task.index] = task.status;
    if (task.status == BlockStatus::kTimeout || task.status == BlockStatus::kBroken) finished(task, false);
  });
  return statuses;
}

void RedisTier::get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) {
  std::vector<Task> tasks(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = keys[i];
  }
  const Step step = [&](Node& node, Pipeline& pipeline, const Tasks& group) { get_step(node, pipeline, group); };
  work(tasks, deadline, step, [&](Task& task) {
    finished(task, true);
    if (task.record != nullptr) {
      const std::lock_guard lock(mutex_);
      stats_.bytes_read += task.record->size();
    }
    sink(task.index, task.status, std::move(task.record));
  });
}

// A header's value has come: it is verified before anything is allocated by it.
void RedisTier::take_header(Task& task, Pipeline& pipeline, Reply& reply) {
  if (reply.is(Reply::Kind::kNil)) return task.end(BlockStatus::kMiss);
  if (!reply.is(Reply::Kind::kString)) return task.end(BlockStatus::kBroken);
  const std::span<const std::byte> value = std::as_bytes(std::span(reply.text));
  const auto damaged = [&](BlockStatus status) {
    task.end(status);
    drop_keys(pipeline, task, true);
  };
  if (value.size() < kDirectIoPage + Commit::kBytes) return damaged(BlockStatus::kCorrupt);
  const auto header_bytes = value.size() - Commit::kBytes;
  const auto commit = Commit::read(value.last(Commit::kBytes));
  const auto length = BlockRecord::length_of(value.first(header_bytes));
  const auto meta = BlockRecord::parse_header(value.first(header_bytes), 0);
  if (const auto foreign = foreign_record(value.first(header_bytes)); foreign && foreign->key == task.key) {
    if (commit) task.commit = *commit;  // its slices go as well
    note_foreign(task.key, foreign->version);
    return damaged(BlockStatus::kMiss);
  }
  if (!commit || !length || !meta) return damaged(BlockStatus::kCorrupt);
  const std::uint64_t payload = *length - std::min<std::uint64_t>(*length, header_bytes);
  std::uint64_t seal;
  std::memcpy(&seal, value.data() + header_bytes - sizeof seal, sizeof seal);
  if (meta->key != task.key || commit->record_bytes != *length || commit->tag != seal ||
      header_bytes != record_header_bytes(meta->parts.size()) ||
      commit->slices != (payload + commit->slice_bytes - 1) / commit->slice_bytes) {
    return damaged(BlockStatus::kCorrupt);
  }
  task.commit = *commit;
  if (meta->expires_s != 0 && meta->expires_s <= unix_seconds()) return damaged(BlockStatus::kExpired);
  task.value = std::move(reply.text);
}

void RedisTier::get_step(Node& node, Pipeline& pipeline, const Tasks& tasks) {
  for (Task* const task : tasks) {
    if (!task->value.empty()) continue;
    task->bytes = {};
    task->absent = false;
    pipeline.add(
        {.task = task, .kind = Kind::kHeader, .words = {"GET", header_key(task->key)}, .bytes = kUsualHeaderBytes});
  }
  const bool answered = pipeline.run([&](Request& request, Reply& reply) {
    if (request.kind != Kind::kHeader) return;
    Task& task = *request.task;
    if (reply.is(Reply::Kind::kError)) {
      refused(node, task, reply);
      // A name that holds something else would keep every put from writing.
      if (task.ended && task.status == BlockStatus::kMiss) drop_keys(pipeline, task, true);
      return;
    }
    take_header(task, pipeline, reply);
  });
  if (!answered) return;

  std::size_t bytes = 0;
  for (Task* const task : tasks) {
    if (task->ended || task->value.empty()) continue;
    const std::size_t record_bytes = task->commit.record_bytes, header_bytes = header_bytes_of(*task);
    if (bytes > 0 && bytes + record_bytes > window_.size()) break;  // next time
    bytes += record_bytes;
    task->bytes = RecordBytes(record_bytes);
    task->slices_done = 0;
    std::memcpy(task->bytes.data(), task->value.data(), header_bytes);
    const Commit& commit = task->commit;
    for (std::uint32_t slice = 0; slice < commit.slices; ++slice) {
      const std::size_t at = header_bytes + std::size_t{slice} * commit.slice_bytes;
      const std::span<std::byte> into =
          task->bytes.span().subspan(at, std::min<std::size_t>(commit.slice_bytes, record_bytes - at));
      pipeline.add({.task = task,
                    .kind = Kind::kSlice,
                    .words = {"GET", slice_key(task->key, commit.tag, slice)},
                    .into = into,
                    .bytes = into.size()});
    }
  }
  const auto finish = [&](Task& task) {
    auto record = BlockRecord::parse(std::move(task.bytes), 0, &task.key);
    task.end(record ? BlockStatus::kOk : BlockStatus::kCorrupt);
    if (record) task.record = *std::move(record);
  };
  for (Task* const task : tasks) {
    if (!task->ended && task->bytes.size() > 0 && task->commit.slices == 0) finish(*task);
  }
  pipeline.run([&](Request& request, Reply& reply) {
    if (request.task == nullptr || request.task->over()) return;
    Task& task = *request.task;
    if (reply.is(Reply::Kind::kError)) {
      refused(node, task, reply);
      if (task.again) task.value.clear();  // from the start, perhaps elsewhere
    } else if (request.kind == Kind::kExists) {
      const auto now = Commit::read(std::as_bytes(std::span(reply.text)));
      if (now && now->tag != task.commit.tag) {
        task.value.clear();
        retry(task, false);
      } else {
        task.end(BlockStatus::kMiss);
      }
    } else if (reply.is(Reply::Kind::kNil)) {
      // Evicted, or of a record that another one has replaced since: then its header is another.
      if (!std::exchange(task.absent, true)) {
        pipeline.add({.task = &task, .kind = Kind::kExists, .words = commit_command(task.key)});
      }
    } else if (!reply.is(Reply::Kind::kString)) {
      return task.end(BlockStatus::kBroken);
    } else if (!reply.placed || reply.bytes != request.into.size()) {
      task.end(BlockStatus::kCorrupt);
    } else if (++task.slices_done == task.commit.slices) {
      finish(task);
    }
    // What can be read no more makes room, and lets the next put write the block anew.
    const bool unreadable = task.status == BlockStatus::kMiss || task.status == BlockStatus::kCorrupt;
    if (task.ended && unreadable) drop_keys(pipeline, task, true);
  });
}

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
