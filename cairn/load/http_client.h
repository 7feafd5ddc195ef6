// SPDX-License-Identifier: Apache-2.0
// HTTP requests that end in time even where the server misbehaves.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "cairn/base/clock.h"
#include "cairn/load/target.h"

namespace cairn::load {

// Ends exchanges that take too long: a socket library bounds single reads only. Thread-safe. `stop` functions run on
// the watch's own thread, again and again until their guard goes: what is being opened when the time is up cannot be
// stopped at that moment.
class DeadlineWatch {
 public:
  class Guard {
   public:
    Guard(DeadlineWatch& watch, Deadline deadline, std::function<void()> stop);
    ~Guard();  // waits for a running `stop`
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    DeadlineWatch& watch_;
    std::uint64_t number_;
  };

  DeadlineWatch() : thread_([this](const std::stop_token& token) { run(token); }) {}

  void stop_all();  // every deadline, also of guards to come, has passed
  bool stopped() const;

 private:
  struct Entry {
    Deadline deadline;
    std::function<void()> stop;
  };

  void run(const std::stop_token& token);

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::uint64_t, Entry> entries_;  // guarded by mutex_
  std::uint64_t next_ = 0;                  // guarded by mutex_
  bool stopped_ = false;                    // guarded by mutex_
  std::jthread thread_;                     // last: it uses the others
};

constexpr std::size_t kMaxBody = std::size_t{64} << 20;  // bytes that are kept of an answer
std::string answer_too_long();                           // that it has more, in words

enum class HttpOutcome : std::uint8_t {
  kAnswered,  // a whole answer, of any status
  kRefused,   // no connection
  kTimeout,   // not answered to the end in time
  kClosed,    // the connection ended early, or said what is not HTTP
  kTooLong,   // a head, or a body that is not streamed, beyond what an honest server sends
  kStopped,   // by the reader of the stream, or by stop_all of the watch
};

struct HttpAnswer {
  HttpOutcome outcome = HttpOutcome::kClosed;
  int status = 0;      // 0: no head came
  std::string body;    // of a stream: only when the status is not 200
  std::string reason;  // in words, when not kAnswered
};

// Thread-safe: each request has a connection of its own. The target and the watch outlive the client.
class HttpClient {
 public:
  // Gets the bytes of a 200 as they come. False: enough.
  using OnBytes = std::function<bool(std::string_view bytes)>;

  HttpClient(const Target& target, DeadlineWatch& watch) : target_(target), watch_(watch) {}

  HttpAnswer get(const std::string& path, std::chrono::milliseconds timeout) const;
  HttpAnswer post(const std::string& path, std::string body, std::chrono::milliseconds timeout) const;
  HttpAnswer stream(const std::string& path, std::string body, std::chrono::milliseconds timeout,
                    const OnBytes& on_bytes) const;

  const Target& target() const { return target_; }

 private:
  HttpAnswer exchange(const char* method, const std::string& path, std::string body, std::chrono::milliseconds timeout,
                      const OnBytes* on_bytes) const;

  const Target& target_;
  DeadlineWatch& watch_;
};

}  // namespace cairn::load
