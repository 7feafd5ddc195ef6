// SPDX-License-Identifier: Apache-2.0
// Stored blocks in Redis 7, one server or a cluster, shared by all that reach it. names.h says how a block lies
// there.
//
// What a server answers is checked like what a disk holds: a missing slice is a miss, damage is kCorrupt, and both are
// removed there so that the next put writes the block again. contains() asks for headers alone, and Redis may have
// evicted a slice: a get can still miss then. A put is pipelined: header there already? slices, and after all of them
// were acknowledged the header (SET NX). What a put that failed leaves behind is invisible and goes with its TTL.
//
// Server settings: maxmemory with allkeys-lru, and client-output-buffer-limit above `window_bytes` (docs/store.md).
#pragma once

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "cairn/store/redis/cluster.h"
#include "cairn/store/redis/link.h"
#include "cairn/store/tier.h"

namespace cairn::redis {

struct RedisTierOptions {
  std::string url = {};                              // names.h
  std::string password_file = {};                    // first line; used where the URL has no password
  std::chrono::seconds ttl{86'400};                  // 0: none; the URL's ttl goes first
  std::size_t slice_bytes = kMaxSliceBytes;          // of what is written; 1 to 1 MiB
  std::size_t window_bytes = std::size_t{16} << 20;  // in flight to all servers; Redis counts it towards maxmemory
  std::size_t connections = 2;                       // to each server
  std::chrono::milliseconds connect_timeout{1'000};
  std::chrono::milliseconds silence{5'000};   // a server that says nothing for so long is broken
  std::chrono::milliseconds patience{1'000};  // of what has no deadline: pin, recipes
  BreakerOptions breaker = {};                // of each server
};

// Thread-safe: operations share the connections and the window, and wait for them no longer than until their deadlines.
// Records that were handed out own their bytes and may outlive the tier.
class RedisTier final : public Tier {
 public:
  // Connects once. Without a password in URL or file, CAIRN_REDIS_PASSWORD is taken. kInvalidArgument for options or a
  // login that are wrong, kUnsupported for rediss://, kIo when the server cannot be reached, those of read_file; one
  // line, never with a password.
  static Result<std::unique_ptr<RedisTier>> open(RedisTierOptions options);

  std::string name() const override { return name_; }
  bool durable() const override { return true; }  // it survives this process, not the server's
  std::vector<BlockStatus> contains(std::span<const Digest> keys, Deadline deadline) override;
  void get(std::span<const Digest> keys, Deadline deadline, const GetSink& sink) override;
  std::vector<BlockStatus> put(std::span<const std::shared_ptr<const BlockRecord>> records, Deadline deadline) override;
  std::vector<BlockStatus> replace(std::span<const std::shared_ptr<const BlockRecord>> records,
                                   Deadline deadline) override;
  std::vector<BlockStatus> erase(std::span<const Digest> keys, Deadline deadline) override;
  // Redis has no pins: all keys of the block get a TTL not shorter than that, which volatile-ttl eviction respects as
  // well; allkeys-* policies may evict them. Unpinning gives back the tier's TTL.
  BlockStatus pin(const Digest& key, std::int64_t until_s) override;
  void report_corrupt(const Digest& key) override;
  // Errors: kIo when a server fails or the deadline comes first.
  Status list(const std::function<bool(const StoredBlock&)>& visitor, Deadline deadline) override;
  // Kept twice as long as blocks.
  void describe_recipe(const Digest& recipe, const std::string& text) override;
  std::map<Digest, std::string> recipes() override;
  // Only what this process has met: another format version.
  Gone what_became_of(const Digest& key) override;
  // How many blocks others keep there is not known: blocks, bytes and budget are 0.
  TierStats stats() const override;

 private:
  using Records = std::span<const std::shared_ptr<const BlockRecord>>;
  using Tasks = std::vector<Task*>;
  // What an operation does for blocks of one server. Tasks that it neither ends nor gives a try are done again.
  using Step = std::function<void(Node&, Pipeline&, const Tasks&)>;

  RedisTier(RedisTierOptions options, const Url& url);
  std::shared_ptr<Node> node_of(const Task& task) const;
  void work(std::vector<Task>& tasks, Deadline deadline, const Step& step, const std::function<void(Task&)>& done);
  void run_group(const std::shared_ptr<Node>& node, const Tasks& group, Deadline deadline, const Step& step);
  void refused(Node& node, Task& task, const Reply& reply);
  void retry(Task& task, bool wait);
  std::string expiry_ms(std::int64_t expires_s, std::int64_t extra_s) const;
  void finished(Task& task, bool reading);
  void note_foreign(const Digest& key, std::uint32_t version);

  void get_step(Node& node, Pipeline& pipeline, const Tasks& tasks);
  void take_header(Task& task, Pipeline& pipeline, Reply& reply);
  struct Writing;
  std::vector<BlockStatus> write(Records records, Deadline deadline, const Writing& writing);
  void write_step(Node& node, Pipeline& pipeline, const Tasks& tasks, const Writing& writing);
  void prepare(Task& task) const;
  void add_slices(Pipeline& pipeline, Task& task, const std::string& ttl_ms) const;
  void erase_step(Node& node, Pipeline& pipeline, const Tasks& tasks);
  static void drop_keys(Pipeline& pipeline, const Task& task, bool header);
  // Names that match, page by page: `page` may use the connection, `after` is called without one and may end it.
  Status scan(Node& node, std::string_view pattern, Deadline deadline,
              const std::function<bool(Pipeline&, const std::vector<std::string>&)>& page,
              const std::function<bool()>& after);

  RedisTierOptions options_;
  std::string name_;
  Cluster cluster_;
  CreditWindow window_;
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  TierStats stats_;
  EvictionHistory gone_;
};

// RedisTier::open() as a tier. kUnsupported in a build without Redis (CAIRN_REDIS=OFF), which has nothing else of this
// header.
Result<std::unique_ptr<Tier>> open_tier(RedisTierOptions options);

}  // namespace cairn::redis

namespace cairn {

using redis::RedisTier;
using redis::RedisTierOptions;

}  // namespace cairn
