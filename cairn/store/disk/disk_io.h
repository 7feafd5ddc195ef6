// SPDX-License-Identifier: Apache-2.0
// Direct reads and writes of whole pages, many at once: io_uring where the kernel permits it, else a few threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cairn/store/record/record_bytes.h"

namespace cairn::disk {

struct IoOp {
  int fd = -1;
  bool write = false;
  std::uint64_t offset = 0;    // a multiple of kDirectIoPage, as are the address and the length of `bytes`
  std::span<std::byte> bytes;  // only read from if `write`
  int error = 0;               // afterwards: 0 or an errno; ENODATA where a file ends early
};

// Thread-safe; calls may wait for each other.
class DiskIo {
 public:
  virtual ~DiskIo() = default;
  virtual std::string name() const = 0;  // "io_uring", or "threads" and why
  // Carries out all of them, in any order, and returns when all are done. Short transfers are continued.
  virtual void run(std::span<IoOp> ops) = 0;
  // 0 or an errno.
  virtual int sync(int fd);
  // Gives the space of a stretch of the file back; it reads as zeros. 0 or an errno, EOPNOTSUPP where it cannot be
  // done.
  virtual int punch(int fd, std::uint64_t offset, std::uint64_t bytes);
};

enum class DiskIoKind : std::uint8_t { kBest, kThreads };

std::unique_ptr<DiskIo> make_disk_io(DiskIoKind kind = DiskIoKind::kBest);
// One pread or pwrite after the other until the op is done.
void run_plainly(IoOp& op);

}  // namespace cairn::disk
