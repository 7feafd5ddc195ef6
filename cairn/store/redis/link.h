// SPDX-License-Identifier: Apache-2.0
// One connection to a Redis server that speaks RESP2: commands go out gathered from where they lie, and a value is
// received into the memory that waits for it. hiredis would copy each value once more and size buffers by what a
// server claims.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"
#include "cairn/store/record/block_record.h"
#include "cairn/store/redis/names.h"
#include "cairn/store/tier.h"

namespace cairn::redis {

struct Reply {
  enum class Kind : std::uint8_t { kStatus, kError, kInteger, kNil, kString, kArray };

  Kind kind = Kind::kNil;
  std::int64_t integer = 0;
  std::string text;          // of a status, an error, or a string that was not placed and is not too long
  std::size_t bytes = 0;     // how long a string is
  bool placed = false;       // it lies where it was wanted, text is empty
  std::vector<Reply> items;  // of an array

  bool is(Kind k) const { return kind == k; }
  // Of a string: it was longer than what receive() takes and is lost.
  bool dropped() const { return kind == Kind::kString && !placed && text.size() != bytes; }
};

// Why a connection is of no more use.
enum class LinkFault : std::uint8_t {
  kNone,
  kTimeout,  // the deadline came first, while the server was working or too early to tell
  kSilent,   // nothing moved for a while
  kClosed,
  kGarbage,  // what came is no RESP, or larger than this client takes
};

// What a server may send; more is a fault. Checked before anything is allocated.
struct Limits {
  static constexpr std::size_t kLine = 16 << 10;
  static constexpr std::size_t kText = 256 << 10;  // of a string that goes to Reply::text
  static constexpr std::size_t kReply = 8 << 20;   // of all texts of a reply; strings up to this are read and dropped
  static constexpr std::size_t kItems = 64 << 10;  // of all arrays of a reply
  static constexpr int kDepth = 4;
};

// A wait shorter than this, for an answer or for a connection, says nothing about the server.
inline constexpr std::chrono::milliseconds kTellingWait(100);

// After a fault nothing works but fault(). Thread-compatible.
class Link {
 public:
  // Takes a connected, non-blocking socket. A server that lets `silence` pass is given up before the deadline.
  Link(int fd, std::chrono::milliseconds silence);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Queues a command. Words over kCopied bytes are not copied: they must live until flush() has returned.
  void command(std::span<const std::string_view> words);
  void command(std::initializer_list<std::string_view> words) { command({words.begin(), words.size()}); }
  // Sends what is queued.
  bool flush(Deadline deadline);
  // Flushes, then takes the next reply. A reply that is a string and fits in `into` is put there. Nothing after a
  // fault. Requires: a command without a reply.
  std::optional<Reply> receive(Deadline deadline, std::span<std::byte> into = {});

  LinkFault fault() const { return fault_; }
  std::size_t owed() const { return owed_; }  // replies to come
  // Owes nothing, has received nothing unasked, and the server has not closed it.
  bool idle() const;

  static constexpr std::size_t kCopied = 4096;

 private:
  struct Piece {
    const char* data;  // null: at `offset` of text_
    std::size_t offset;
    std::size_t bytes;
  };
  struct Budget {
    std::size_t bytes = Limits::kReply;
    std::size_t items = Limits::kItems;
  };
  void add_text(std::string_view text);
  bool wait(short events, Deadline deadline);
  bool fill(Deadline deadline);
  bool read_line(std::string& line, Deadline deadline);
  bool read_bytes(std::span<std::byte> out, Deadline deadline);
  bool drop_bytes(std::size_t bytes, Deadline deadline);
  bool read_string(std::int64_t length, Reply& reply, std::span<std::byte> into, Budget& budget, Deadline deadline);
  bool read_reply(Reply& reply, std::span<std::byte> into, int depth, Budget& budget, Deadline deadline);
  bool fail(LinkFault fault);

  int fd_;
  std::chrono::milliseconds silence_;
  LinkFault fault_ = LinkFault::kNone;
  std::size_t owed_ = 0;
  Deadline progress_{};  // when something was last sent or received
  std::string text_;
  std::vector<Piece> pieces_;
  std::vector<char> in_;
  std::size_t in_begin_ = 0, in_end_ = 0;
};

// Errors are one line with the address and never show a password: kIo when the server cannot be reached or does not
// answer in time, kInvalidArgument when it refuses the login. Resolving a host's name is up to the system's resolver
// and its own time limits: give an address where that matters.
Result<std::unique_ptr<Link>> open_link(const Address& address, const Login& login, std::chrono::milliseconds silence,
                                        Deadline deadline);

// The first word of an error ("WRONGPASS"): the rest may repeat what was sent, a password too. Printable, short.
std::string error_word(std::string_view error);

// Who holds credits must not wait for more without a way to give them back first. Thread-safe.
class CreditWindow {
 public:
  explicit CreditWindow(std::size_t bytes) : size_(bytes), free_(bytes) {}

  // What a request of this size takes; one that is larger than the window takes all of it.
  std::size_t cost(std::size_t bytes) const { return std::min(bytes, size_); }

  bool try_take(std::size_t cost) {
    const std::lock_guard lock(mutex_);
    if (cost > free_) return false;
    free_ -= cost;
    return true;
  }
  // False when the deadline came first.
  bool take(std::size_t cost, Deadline deadline) {
    std::unique_lock lock(mutex_);
    if (!given_.wait_until(lock, deadline, [&] { return cost <= free_; })) return false;
    free_ -= cost;
    return true;
  }
  void give(std::size_t cost) {
    {
      const std::lock_guard lock(mutex_);
      free_ += cost;
    }
    given_.notify_all();
  }

  std::size_t size() const { return size_; }
  std::size_t in_flight() const {
    const std::lock_guard lock(mutex_);
    return size_ - free_;
  }

 private:
  const std::size_t size_;
  mutable std::mutex mutex_;
  std::condition_variable given_;
  std::size_t free_;  // guarded by mutex_
};

class Node;

// One block of an operation.
struct Task {
  std::size_t index = 0;
  Digest key;
  std::shared_ptr<Node> ask;  // a slot that is just moving: where this block is asked for, for once
  std::uint16_t slot = 0;
  bool ended = false;
  bool again = false;  // this try came to nothing, the next begins anew
  BlockStatus status = BlockStatus::kMiss;
  int tries = 0;      // that came to nothing
  bool wait = false;  // before the next: the server asked for patience

  const BlockRecord* from = nullptr;  // of a put
  RecordBytes header;                 // of a put: the header region to write
  bool asked = false;                 // of a put: what is there does not keep it from being written
  bool absent = false;                // of a get: a slice is
  std::int64_t lives_ms = 0;          // of a replacement: how long what is there does; -1 for ever
  std::string value;                  // the header's value, as written or received
  Commit commit;
  std::uint32_t slices_done = 0;
  RecordBytes bytes;  // of a get, being filled
  std::shared_ptr<const BlockRecord> record;

  bool over() const { return ended || again; }
  void end(BlockStatus with) {
    ended = true;
    status = with;
  }
};

struct Request {
  enum class Kind : std::uint8_t { kHeader, kSlice, kExists, kIgnored };

  Task* task = nullptr;  // once it is over, its requests are not sent
  Kind kind = Kind::kIgnored;
  std::vector<std::string> words = {};
  std::string_view value = {};     // third word of the command when it is not empty; lives until the pipeline has run
  std::span<std::byte> into = {};  // where the reply's string goes
  std::size_t bytes = 64;          // about, in flight
  bool asking = false;             // as the task does that it is for
};

// Thread-compatible.
class Pipeline {
 public:
  Pipeline(Link& link, CreditWindow& window, Deadline deadline) : link_(link), window_(window), deadline_(deadline) {}
  ~Pipeline() {
    for (const Flight& flight : flights_) window_.give(flight.cost);
  }

  void add(Request request) { ready_.push_back(std::move(request)); }
  // Until all is answered. `take` may add more. False when the connection failed or the deadline came first.
  bool run(const std::function<void(Request&, Reply&)>& take) {
    while (send_ready()) {
      if (flights_.empty()) return true;
      Flight& flight = flights_.front();
      if (flight.asking && !link_.receive(deadline_)) return false;  // the answer to ASKING
      auto reply = link_.receive(deadline_, flight.request.into);
      if (!reply) return false;
      Request request = std::move(flight.request);
      window_.give(flight.cost);
      flights_.pop_front();
      take(request, *reply);
    }
    return false;
  }

 private:
  struct Flight {
    Request request;
    std::size_t cost;
    bool asking;
  };

  // False when there is no credit in time.
  bool send_ready() {
    while (!ready_.empty()) {
      Request& request = ready_.front();
      if (request.task != nullptr && request.task->over()) {
        ready_.pop_front();
        continue;
      }
      const std::size_t cost = window_.cost(request.bytes);
      if (!window_.try_take(cost)) {
        if (!flights_.empty()) return true;  // what comes back makes room
        if (!window_.take(cost, deadline_)) return false;
      }
      const bool asking = request.asking || (request.task != nullptr && request.task->ask != nullptr);
      if (asking) link_.command({"ASKING"});
      std::vector<std::string_view> words(request.words.begin(), request.words.end());
      if (!request.value.empty()) words.insert(words.begin() + 2, request.value);
      link_.command(words);
      flights_.push_back({std::move(request), cost, asking});
      ready_.pop_front();
    }
    return true;
  }

  Link& link_;
  CreditWindow& window_;
  const Deadline deadline_;
  std::deque<Request> ready_;
  std::deque<Flight> flights_;
};

}  // namespace cairn::redis
