// SPDX-License-Identifier: Apache-2.0
// One connection to a Redis server that speaks RESP2: commands go out gathered from where they lie, and a value is
// received into the memory that waits for it. hiredis would copy each value once more and size buffers by what a
// server claims.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/base/clock.h"
#include "cairn/base/result.h"
#include "cairn/store/redis/names.h"

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

}  // namespace cairn::redis
