// SPDX-License-Identifier: Apache-2.0
// Reading blocks from Redis: headers of a group in one go, then the slices of as many blocks as the window holds.
#include <cstring>
#include <utility>

#include "cairn/store/record/record_header.h"
#include "cairn/store/redis/redis_tier.h"
#include "cairn/store/residency.h"

namespace cairn::redis {
namespace {

using Kind = Request::Kind;

// A header's value is asked for before its length is known.
constexpr std::size_t kUsualHeaderBytes = 2 * kDirectIoPage;

std::size_t header_bytes_of(const Task& task) {
  return task.value.size() - Commit::kBytes;
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

}  // namespace cairn::redis
