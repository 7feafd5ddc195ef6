// SPDX-License-Identifier: Apache-2.0
// Writing blocks to Redis and removing them.
#include <algorithm>
#include <cstring>

#include "cairn/store/record/record_header.h"
#include "cairn/store/redis/redis_tier.h"
#include "cairn/store/residency.h"

namespace cairn {
namespace {

using Kind = RedisRequest::Kind;

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void RedisTier::prepare(RedisTask& task) const {
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
void RedisTier::add_slices(RedisPipeline& pipeline, RedisTask& task, const std::string& ttl_ms) const {
  task.slices_done = 0;
  const std::span<const std::byte> payload = task.from->bytes().subspan(task.value.size() - RedisCommit::kBytes);
  for (std::uint32_t slice = 0; slice < task.commit.slices; ++slice) {
    const std::size_t at = std::size_t{slice} * task.commit.slice_bytes;
    const auto part = payload.subspan(at, std::min<std::size_t>(task.commit.slice_bytes, payload.size() - at));
    RedisRequest request{.task = &task,
                         .kind = Kind::kSlice,
                         .words = {"SET", redis_slice_key(task.key, task.commit.tag, slice)},
                         .value = as_text(part),
                         .bytes = part.size()};
    if (!ttl_ms.empty()) request.words.insert(request.words.end(), {"PX", ttl_ms});
    pipeline.add(std::move(request));
  }
}

// Best effort. The header goes first: a block is not visible without its slices. One name a command: with several, a
// cluster refuses while it moves their slot.
void RedisTier::drop_keys(RedisPipeline& pipeline, const RedisTask& task, bool header) {
  const bool asking = task.ask != nullptr;
  const auto drop = [&](std::string name) { pipeline.add({.words = {"UNLINK", std::move(name)}, .asking = asking}); };
  if (header) {
    drop(redis_header_key(task.key));
    drop(redis_pin_key(task.key));
  }
  for (std::uint32_t slice = 0; slice < task.commit.slices; ++slice) {
    drop(redis_slice_key(task.key, task.commit.tag, slice));
  }
}

std::vector<BlockStatus> RedisTier::put(std::span<const std::shared_ptr<const BlockRecord>> records,
                                        Deadline deadline) {
  std::vector<BlockStatus> statuses(records.size(), BlockStatus::kBroken);
  std::vector<RedisTask> tasks(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = records[i]->meta().key;
    tasks[i].from = records[i].get();
  }
  const Step step = [&](RedisNode& node, RedisPipeline& pipeline, const Tasks& group) {
    put_step(node, pipeline, group);
  };
  work(tasks, deadline, step, [&](RedisTask& task) {
    statuses[task.index] = task.status;
    finished(task, false);
    if (task.status != BlockStatus::kOk || task.value.empty()) return;
    const std::lock_guard lock(mutex_);
    ++stats_.puts;
    stats_.bytes_written += task.from->size();
  });
  return statuses;
}

void RedisTier::put_step(RedisNode& node, RedisPipeline& pipeline, const Tasks& tasks) {
  for (RedisTask* const task : tasks) {
    const std::int64_t expires_s = task->from->meta().expires_s;
    if (expires_s != 0 && expires_s <= unix_seconds()) {
      task->settle(BlockStatus::kOk);  // written, and gone by now
    } else if (!task->absent) {
      pipeline.add({.task = task, .kind = Kind::kExists, .words = {"EXISTS", redis_header_key(task->key)}});
    }
  }
  const bool answered = pipeline.run([&](RedisRequest& request, RedisReply& reply) {
    RedisTask& task = *request.task;
    if (reply.is(RedisReply::Kind::kError)) return refused(node, task, reply);
    if (!reply.is(RedisReply::Kind::kInteger)) return task.settle(BlockStatus::kBroken);
    if (reply.integer != 0) return task.settle(BlockStatus::kOk);
    task.absent = true;
  });
  if (!answered) return;

  const auto write_header = [&](RedisTask& task) {
    RedisRequest request{.task = &task,
                         .kind = Kind::kHeader,
                         .words = {"SET", redis_header_key(task.key), "NX"},
                         .value = task.value,
                         .bytes = task.value.size()};
    const std::string ttl = expiry_ms(task.from->meta().expires_s, 0);
    if (!ttl.empty()) request.words.insert(request.words.end(), {"PX", ttl});
    pipeline.add(std::move(request));
  };
  std::size_t bytes = 0;
  for (RedisTask* const task : tasks) {
    if (task->settled || !task->absent) continue;
    if (bytes > 0 && bytes + task->from->size() > window_.size()) break;  // next time
    bytes += task->from->size();
    prepare(*task);
    add_slices(pipeline, *task, expiry_ms(task->from->meta().expires_s, kSliceExtraSeconds));
    if (task->commit.slices == 0) write_header(*task);
  }
  pipeline.run([&](RedisRequest& request, RedisReply& reply) {
    if (request.kind == Kind::kIgnored || request.task->over()) return;
    RedisTask& task = *request.task;
    if (reply.is(RedisReply::Kind::kError)) {
      refused(node, task, reply);
      task.absent = false;
    } else if (request.kind == Kind::kHeader && reply.is(RedisReply::Kind::kNil)) {
      // Another writer was first. Its slices may be these.
      task.value.clear();
      pipeline.add({.task = &task, .kind = Kind::kExists, .words = redis_commit_command(task.key)});
    } else if (request.kind == Kind::kExists) {
      const auto winner = RedisCommit::read(std::as_bytes(std::span(reply.text)));
      if (winner && winner->tag != task.commit.tag) drop_keys(pipeline, task, false);
      task.settle(BlockStatus::kOk);
    } else if (!reply.is(RedisReply::Kind::kStatus)) {
      task.settle(BlockStatus::kBroken);
    } else if (request.kind == Kind::kHeader) {
      task.settle(BlockStatus::kOk);
    } else if (++task.slices_done == task.commit.slices) {
      write_header(task);
    }
    const bool failed = task.settled && task.status != BlockStatus::kOk;
    if (failed) drop_keys(pipeline, task, false);
  });
}

std::vector<BlockStatus> RedisTier::erase(std::span<const Digest> keys, Deadline deadline) {
  std::vector<BlockStatus> statuses(keys.size(), BlockStatus::kBroken);
  std::vector<RedisTask> tasks(keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = keys[i];
  }
  const Step step = [&](RedisNode& node, RedisPipeline& pipeline, const Tasks& group) {
    erase_step(node, pipeline, group);
  };
  work(tasks, deadline, step, [&](RedisTask& task) {
    statuses[task.index] = task.status;
    if (task.status != BlockStatus::kOk) finished(task, false);
  });
  return statuses;
}

void RedisTier::erase_step(RedisNode& node, RedisPipeline& pipeline, const Tasks& tasks) {
  for (RedisTask* const task : tasks) {
    const std::string header = redis_header_key(task->key);
    pipeline.add({.task = task, .kind = Kind::kIgnored, .words = redis_commit_command(task->key)});
    pipeline.add({.task = task, .kind = Kind::kHeader, .words = {"UNLINK", header}});
  }
  pipeline.run([&](RedisRequest& request, RedisReply& reply) {
    if (request.task == nullptr) return;
    RedisTask& task = *request.task;
    if (request.kind == Kind::kIgnored) {
      const auto commit = RedisCommit::read(std::as_bytes(std::span(reply.text)));
      if (commit && reply.is(RedisReply::Kind::kString)) task.commit = *commit;
      return;
    }
    if (reply.is(RedisReply::Kind::kError)) return refused(node, task, reply);
    if (!reply.is(RedisReply::Kind::kInteger)) return task.settle(BlockStatus::kBroken);
    task.settle(BlockStatus::kOk);
    pipeline.add({.words = {"UNLINK", redis_pin_key(task.key)}, .asking = task.ask != nullptr});
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

}  // namespace cairn
