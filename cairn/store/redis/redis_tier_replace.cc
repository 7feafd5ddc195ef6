// SPDX-License-Identifier: Apache-2.0
// Another record of a block in the place of the one that is there. Its slices have names of their own, so one command
// that changes the header changes the block; the old slices stay for who has just read the old header.
#include "cairn/store/redis/redis_tier.h"

namespace cairn {
namespace {

using Kind = RedisRequest::Kind;

constexpr std::string_view kGraceMs = "30000";

}  // namespace

std::vector<BlockStatus> RedisTier::replace(std::span<const std::shared_ptr<const BlockRecord>> records,
                                            Deadline deadline) {
  std::vector<BlockStatus> statuses(records.size(), BlockStatus::kBroken);
  std::vector<RedisTask> tasks(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    tasks[i].index = i;
    tasks[i].key = records[i]->meta().key;
    tasks[i].from = records[i].get();
  }
  const Step step = [&](RedisNode& node, RedisPipeline& pipeline, const Tasks& group) {
    replace_step(node, pipeline, group);
  };
  work(tasks, deadline, step, [&](RedisTask& task) {
    statuses[task.index] = task.status;
    finished(task, false);
    if (task.status != BlockStatus::kOk) return;
    const std::lock_guard lock(mutex_);
    stats_.bytes_written += task.from->size();
  });
  return statuses;
}

void RedisTier::replace_step(RedisNode& node, RedisPipeline& pipeline, const Tasks& tasks) {
  for (RedisTask* const task : tasks) {
    pipeline.add({.task = task, .kind = Kind::kExists, .words = {"PTTL", redis_header_key(task->key)}});
  }
  const bool answered = pipeline.run([&](RedisRequest& request, RedisReply& reply) {
    RedisTask& task = *request.task;
    if (reply.is(RedisReply::Kind::kError)) return refused(node, task, reply);
    if (!reply.is(RedisReply::Kind::kInteger)) return task.settle(BlockStatus::kBroken);
    task.lives_ms = reply.integer;
    if (reply.integer == -2) task.settle(BlockStatus::kMiss);
  });
  if (!answered) return;

  const auto write_header = [&](RedisTask& task) {
    pipeline.add({.task = &task,
                  .kind = Kind::kHeader,
                  .words = {"SET", redis_header_key(task.key), "XX", "GET", "KEEPTTL"},
                  .value = task.value,
                  .bytes = 2 * task.value.size()});
  };
  std::size_t bytes = 0;
  for (RedisTask* const task : tasks) {
    if (task->over()) continue;
    if (bytes > 0 && bytes + task->from->size() > window_.size()) break;  // next time
    bytes += task->from->size();
    prepare(*task);
    const bool lasts = task->lives_ms < 0;
    add_slices(pipeline, *task, lasts ? "" : std::to_string(task->lives_ms + 1000 * kSliceExtraSeconds));
    if (task->commit.slices == 0) write_header(*task);
  }
  pipeline.run([&](RedisRequest& request, RedisReply& reply) {
    if (request.task == nullptr || request.task->over()) return;
    RedisTask& task = *request.task;
    if (reply.is(RedisReply::Kind::kError)) {
      refused(node, task, reply);
    } else if (request.kind == Kind::kHeader) {
      task.settle(reply.is(RedisReply::Kind::kString) ? BlockStatus::kOk : BlockStatus::kMiss);
      const std::span<const std::byte> before = std::as_bytes(std::span(reply.text));
      if (task.status != BlockStatus::kOk || before.size() < RedisCommit::kBytes) {
        // Nothing was there any more, or nothing that has slices.
      } else if (const auto old = RedisCommit::read(before.last(RedisCommit::kBytes));
                 old && old->tag != task.commit.tag) {
        for (std::uint32_t slice = 0; slice < old->slices; ++slice) {
          pipeline.add({.words = {"PEXPIRE", redis_slice_key(task.key, old->tag, slice), std::string(kGraceMs), "LT"},
                        .asking = task.ask != nullptr});
        }
      }
    } else if (!reply.is(RedisReply::Kind::kStatus)) {
      task.settle(BlockStatus::kBroken);
    } else if (++task.slices_done == task.commit.slices) {
      write_header(task);
    }
    if (task.settled && task.status != BlockStatus::kOk) drop_keys(pipeline, task, false);
  });
}

}  // namespace cairn
