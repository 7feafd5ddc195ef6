// SPDX-License-Identifier: Apache-2.0
// Writing blocks to Redis, replacing and removing them.
#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>
#include <utility>

#include "cairn/store/record/record_header.h"
#include "cairn/store/redis/redis_tier.h"
#include "cairn/store/residency.h"

namespace cairn::redis {
namespace {

using Kind = Request::Kind;

constexpr std::string_view kGraceMs = "30000";

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void RedisTier::prepare(Task& task) const {
  const BlockRecord& record = *task.from;
  const std::size_t header_bytes = record_header_bytes(record.meta().parts.size());
  // The record may come from another tier, whose place it names.
  task.header = RecordBytes(header_bytes);
  std::memcpy(task.header.data(), record.bytes().data(), header_bytes);
  stamp_place(task.header.span(), 0);
  const std::size_t payload = record.size() - header_bytes;
  const std::size_t slice_bytes = std::max(options_.slice_bytes, (payload + kMaxSlices - 1) / kMaxSlices);
  task.commit = {.record_bytes = record.size(),
                 .tag = 0,
                 .slice_bytes = static_cast<std::uint32_t>(slice_bytes),
                 .slices = static_cast<std::uint32_t>((payload + slice_bytes - 1) / slice_bytes)};
  std::memcpy(&task.commit.tag, task.header.data() + header_bytes - sizeof task.commit.tag, sizeof task.commit.tag);
  const auto commit = task.commit.bytes();
  task.value = as_text(task.header.span());
  task.value += as_text(commit);
  task.header = {};
}

// Requires: prepare().
void RedisTier::add_slices(Pipeline& pipeline, Task& task, const std::string& ttl_ms) const {
  task.slices_done = 0;
  const std::span<const std::byte> payload = task.from->bytes().subspan(task.value.size() - Commit::kBytes);
  for (std::uint32_t slice = 0; slice < task.commit.slices; ++slice) {
    const std::size_t at = std::size_t{slice} * task.commit.slice_bytes;
    const auto part = payload.subspan(at, std::min<std::size_t>(task.commit.slice_bytes, payload.size() - at));
    Request request{.task = &task,
                    .kind = Kind::kSlice,
                    .words = {"SET", slice_key(task.key, task.commit.tag, slice)},
                    .value = as_text(part),
                    .bytes = part.size()};
    if (!ttl_ms.empty()) request.words.insert(request.words.end(), {"PX", ttl_ms});
    pipeline.add(std::move(request));
  }
}

// Best effort. The header goes first: a block is not visible without its slices. One name a command: with several, a
// cluster refuses while it moves their slot.
void RedisTier::drop_keys(Pipeline& pipeline, const Task& task, bool header) {
  const bool asking = task.ask != nullptr;
  const auto drop = [&](std::string name) { pipeline.add({.words = {"UNLINK", std::move(name)}, .asking = asking}); };
  if (header) {
    drop(header_key(task.key));
    drop(pin_key(task.key));
  }
  for (std::uint32_t slice = 0; slice < task.commit.slices; ++slice) {
    drop(slice_key(task.key, task.commit.tag, slice));
  }
}

// What a put and a replacement do differently; the slices are the same.
struct RedisTier::Writing {
  bool is_new = true;         // counts as a put, and is not written when its time has come
  std::string_view question;  // about the header's name, before anything is written
  // Whether to go on after its answer; else the task is ended.
  bool (*goes_on)(Task& task, std::int64_t answer);
  std::function<std::string(const Task&)> slice_ttl_ms;               // as PX takes it; empty for none
  std::function<std::vector<std::string>(const Task&)> header_words;  // after the header's name
  std::size_t header_replies = 1;                                     // 2: its reply is as long as the command
  std::function<void(Pipeline&, Task&, Request&, Reply&)> answered;   // neither an error nor about slices
};

std::vector<BlockStatus> RedisTier::write(Records records, Deadline deadline, const Writing& writing) {
  std::vector<BlockStatus> statuses(records.size(), BlockStatus::kBroken);
  std::vector<Task> tasks(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = records[i]->meta().key;
    tasks[i].from = records[i].get();
  }
  const Step step = [&](Node& node, Pipeline& pipeline, const Tasks& group) {
    write_step(node, pipeline, group, writing);
  };
  work(tasks, deadline, step, [&](Task& task) {
    statuses[task.index] = task.status;
    finished(task, false);
    if (task.status != BlockStatus::kOk || task.value.empty()) return;
    const std::lock_guard lock(mutex_);
    stats_.puts += writing.is_new;
    stats_.bytes_written += task.from->size();
  });
  return statuses;
}

void RedisTier::write_step(Node& node, Pipeline& pipeline, const Tasks& tasks, const Writing& writing) {
  for (Task* const task : tasks) {
    const std::int64_t expires_s = task->from->meta().expires_s;
    if (writing.is_new && expires_s != 0 && expires_s <= unix_seconds()) {
      task->end(BlockStatus::kOk);  // written, and gone by now
    } else if (!task->asked) {
      pipeline.add(
          {.task = task, .kind = Kind::kExists, .words = {std::string(writing.question), header_key(task->key)}});
    }
  }
  const bool answered = pipeline.run([&](Request& request, Reply& reply) {
    Task& task = *request.task;
    if (reply.is(Reply::Kind::kError)) return refused(node, task, reply);
    if (!reply.is(Reply::Kind::kInteger)) return task.end(BlockStatus::kBroken);
    task.asked = writing.goes_on(task, reply.integer);
  });
  if (!answered) return;

  const auto write_header = [&](Task& task) {
    Request request{.task = &task,
                    .kind = Kind::kHeader,
                    .words = {"SET", header_key(task.key)},
                    .value = task.value,
                    .bytes = writing.header_replies * task.value.size()};
    std::ranges::move(writing.header_words(task), std::back_inserter(request.words));
    pipeline.add(std::move(request));
  };
  std::size_t bytes = 0;
  for (Task* const task : tasks) {
    if (task->over() || !task->asked) continue;
    if (bytes > 0 && bytes + task->from->size() > window_.size()) break;  // next time
    bytes += task->from->size();
    prepare(*task);
    add_slices(pipeline, *task, writing.slice_ttl_ms(*task));
    if (task->commit.slices == 0) write_header(*task);
  }
  pipeline.run([&](Request& request, Reply& reply) {
    if (request.task == nullptr || request.task->over()) return;
    Task& task = *request.task;
    if (reply.is(Reply::Kind::kError)) {
      refused(node, task, reply);
      task.asked = false;
    } else if (request.kind != Kind::kSlice) {
      writing.answered(pipeline, task, request, reply);
    } else if (!reply.is(Reply::Kind::kStatus)) {
      task.end(BlockStatus::kBroken);
    } else if (++task.slices_done == task.commit.slices) {
      write_header(task);
    }
    const bool failed = task.ended && task.status != BlockStatus::kOk;
    if (failed) drop_keys(pipeline, task, false);
  });
}

std::vector<BlockStatus> RedisTier::put(Records records, Deadline deadline) {
  const Writing writing{
      .question = "EXISTS",
      .goes_on =
          [](Task& task, std::int64_t there) {
            if (there != 0) task.end(BlockStatus::kOk);
            return there == 0;
          },
      .slice_ttl_ms = [&](const Task& task) { return expiry_ms(task.from->meta().expires_s, kSliceExtraSeconds); },
      .header_words =
          [&](const Task& task) {
            const std::string ttl = expiry_ms(task.from->meta().expires_s, 0);
            return ttl.empty() ? std::vector<std::string>{"NX"} : std::vector<std::string>{"NX", "PX", ttl};
          },
      .answered =
          [](Pipeline& pipeline, Task& task, Request& request, Reply& reply) {
            if (request.kind == Kind::kExists) {
              const auto winner = Commit::read(std::as_bytes(std::span(reply.text)));
              if (winner && winner->tag != task.commit.tag) drop_keys(pipeline, task, false);
              task.end(BlockStatus::kOk);
            } else if (reply.is(Reply::Kind::kNil)) {
              // Another writer was first. Its slices may be these.
              task.value.clear();
              pipeline.add({.task = &task, .kind = Kind::kExists, .words = commit_command(task.key)});
            } else {
              task.end(reply.is(Reply::Kind::kStatus) ? BlockStatus::kOk : BlockStatus::kBroken);
            }
          }};
  return write(records, deadline, writing);
}

// Another record of a block in the place of the one that is there. Its slices have names of their own, so one command
// that changes the header changes the block; the old slices stay for who has just read the old header.
std::vector<BlockStatus> RedisTier::replace(Records records, Deadline deadline) {
  const Writing writing{
      .is_new = false,
      .question = "PTTL",
      .goes_on =
          [](Task& task, std::int64_t lives_ms) {
            task.lives_ms = lives_ms;
            if (lives_ms == -2) task.end(BlockStatus::kMiss);
            return lives_ms != -2;
          },
      .slice_ttl_ms =
          [](const Task& task) {
            return task.lives_ms < 0 ? "" : std::to_string(task.lives_ms + 1000 * kSliceExtraSeconds);
          },
      .header_words =
          [](const Task&) {
            return std::vector<std::string>{"XX", "GET", "KEEPTTL"};
          },
      .header_replies = 2,
      .answered =
          [](Pipeline& pipeline, Task& task, Request&, Reply& reply) {
            task.end(reply.is(Reply::Kind::kString) ? BlockStatus::kOk : BlockStatus::kMiss);
            const std::span<const std::byte> before = std::as_bytes(std::span(reply.text));
            // Nothing was there any more, or nothing that has slices.
            if (task.status != BlockStatus::kOk || before.size() < Commit::kBytes) return;
            const auto old = Commit::read(before.last(Commit::kBytes));
            if (!old || old->tag == task.commit.tag) return;
            for (std::uint32_t slice = 0; slice < old->slices; ++slice) {
              pipeline.add({.words = {"PEXPIRE", slice_key(task.key, old->tag, slice), std::string(kGraceMs), "LT"},
                            .asking = task.ask != nullptr});
            }
          }};
  return write(records, deadline, writing);
}

std::vector<BlockStatus> RedisTier::erase(std::span<const Digest> keys, Deadline deadline) {
  std::vector<BlockStatus> statuses(keys.size(), BlockStatus::kBroken);
  std::vector<Task> tasks(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = keys[i];
  }
  const Step step = [&](Node& node, Pipeline& pipeline, const Tasks& group) { erase_step(node, pipeline, group); };
  work(tasks, deadline, step, [&](Task& task) {
    statuses[task.index] = task.status;
    if (task.status != BlockStatus::kOk) finished(task, false);
  });
  return statuses;
}

void RedisTier::erase_step(Node& node, Pipeline& pipeline, const Tasks& tasks) {
  for (Task* const task : tasks) {
    const std::string header = header_key(task->key);
    pipeline.add({.task = task, .kind = Kind::kIgnored, .words = commit_command(task->key)});
    pipeline.add({.task = task, .kind = Kind::kHeader, .words = {"UNLINK", header}});
  }
  pipeline.run([&](Request& request, Reply& reply) {
    if (request.task == nullptr) return;
    Task& task = *request.task;
    if (request.kind == Kind::kIgnored) {
      const auto commit = Commit::read(std::as_bytes(std::span(reply.text)));
      if (commit && reply.is(Reply::Kind::kString)) task.commit = *commit;
      return;
    }
    if (reply.is(Reply::Kind::kError)) return refused(node, task, reply);
    if (!reply.is(Reply::Kind::kInteger)) return task.end(BlockStatus::kBroken);
    task.end(BlockStatus::kOk);
    pipeline.add({.words = {"UNLINK", pin_key(task.key)}, .asking = task.ask != nullptr});
    drop_keys(pipeline, task, false);
  });
}

void RedisTier::report_corrupt(const Digest& key) {
  {
    const std::lock_guard lock(mutex_);
    ++stats_.corrupt;
  }
  (void)erase(std::span(&key, 1), deadline_in(options_.patience));
}

}  // namespace cairn::redis
