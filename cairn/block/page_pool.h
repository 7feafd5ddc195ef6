// SPDX-License-Identifier: Apache-2.0
// Memory for pages under a hard byte budget. Bytes are reserved first and turned into pages afterwards, so the budget
// is never exceeded, not even for a moment, and a page that was reserved can always be had. Then the pages of one block
// by name (BlockPages), as they travel between sequences, the prefix index and stores.
//
// Page sizes are declared before the first page of them is taken. Each size has its own range of address space, so
// pages of one size never fragment the space of another. A range is cut into slabs, the fewest pages that fill whole
// pages of the system; memory of slabs of one size that hold no page any more is handed back to the system before pages
// of another size would take resident memory over the budget. So sizes that are multiples of 4096 bytes never do; of
// other sizes, slabs that are partly in use may hold up to 63 pages more. (Transparent huge pages may round each range
// up to 2 MiB.) Where the system refuses to take memory back, as some file systems do, it is kept and used again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/base/result.h"
#include "cairn/block/shape.h"

namespace cairn {

class PagePool;

// One reference to a page. Copies share the page; the last one gives it back to its pool, which must still be there.
// Distinct PageRefs may be used from different threads; one PageRef is thread-compatible. Writing to the bytes is the
// holder's business: only while unique(), or to bytes that no other holder reads or writes.
class PageRef {
 public:
  PageRef() = default;
  PageRef(const PageRef& other) : page_(other.page_) { retain(); }
  PageRef(PageRef&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  PageRef& operator=(PageRef other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~PageRef() { release(); }

  explicit operator bool() const { return page_ != nullptr; }
  bool operator==(const PageRef&) const = default;  // the same page

  // Requires of all below: not empty.
  std::byte* data() const { return page_->data; }  // aligned to kPageAlignment
  // What the holder said the page contains, when it took it.
  std::uint32_t form() const { return page_->form; }
  std::size_t bytes() const { return page_->bytes; }  // as it counts against the budget
  std::uint32_t use_count() const { return page_->references.load(std::memory_order_acquire); }
  // True makes every access by former holders happen before what the caller does next.
  bool unique() const { return use_count() == 1; }

 private:
  friend class PagePool;
  struct Page {
    std::atomic<std::uint32_t> references{0};
    std::uint32_t form = 0;
    std::uint32_t slab = 0;
    bool dirty = false;  // free, and what it holds is not all zeros
    std::byte* data = nullptr;
    std::size_t bytes = 0;
    PagePool* pool = nullptr;
  };
  explicit PageRef(Page* page) : page_(page) {}
  void retain() const {
    if (page_ != nullptr) page_->references.fetch_add(1, std::memory_order_relaxed);
  }
  void release();

  Page* page_ = nullptr;
};

// Bytes set aside in a pool; what is not taken returns on destruction. Thread-compatible; must not outlive the pool.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Reservation& operator=(Reservation&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Reservation();

  std::size_t bytes() const { return bytes_; }

  // A page, paid from this reservation: zero-filled, or in a pool in a file with any content. Requires: a declared
  // page size, occupied_bytes(it) <= bytes().
  PageRef take(std::size_t page_bytes, std::uint32_t form = 0);
  // Some of it, set aside by itself. Requires: no more than bytes().
  Reservation split(std::size_t bytes);

 private:
  friend class PagePool;
  Reservation(PagePool* pool, std::size_t bytes) : pool_(pool), bytes_(bytes) {}

  PagePool* pool_ = nullptr;
  std::size_t bytes_ = 0;
};

// Thread-safe. Must outlive its pages and reservations.
class PagePool {
 public:
  static constexpr std::size_t kPageAlignment = 64;

  // What a page of this size counts against the budget: its bytes, rounded up to kPageAlignment.
  static std::size_t occupied_bytes(std::size_t page_bytes);

  // `page_sizes` may repeat and need not be sorted. kInvalidArgument for a page size of zero, kOutOfBudget when the
  // budget holds no page of some size, kIo with the system's reason when it refuses the address space.
  static Result<std::unique_ptr<PagePool>> create(std::size_t budget_bytes, std::span<const std::size_t> page_sizes);

  // The same in a file of `folder` that has no name and is gone with the pool. The system brings pages into memory when
  // they are read and takes them out when it needs the room, so what they hold is not in memory for good. They are
  // written by write() alone: a store into a page of a full disk would end the process. A disk that fails while a page
  // is read ends it with SIGBUS, as with every mapping. Errors: kNotFound, kIo for the folder
  // and for a file of such a length.
  static Result<std::unique_ptr<PagePool>> create_in_file(std::size_t budget_bytes,
                                                          std::span<const std::size_t> page_sizes,
                                                          const std::string& folder);

  // A further page size, if it is not one yet. The errors of create(), and nothing has changed.
  Status declare(std::size_t page_bytes);

  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  // kOutOfBudget, with what is free, when `bytes` more would exceed the budget.
  Result<Reservation> reserve(std::size_t bytes);

  // Fills the beginning of a page of this pool that nobody else reads yet. kIo when the file cannot take it.
  Status write(const PageRef& page, std::span<const std::byte> bytes);

  // Whether a page is of this pool; false for none.
  bool holds(const PageRef& page) const { return page.page_ != nullptr && page.page_->pool == this; }

  std::size_t budget() const { return budget_; }
  std::size_t bytes_used() const;      // pages alive plus outstanding reservations
  std::size_t high_water() const;      // the most that bytes_used() has ever been
  std::size_t bytes_resident() const;  // of slabs that hold pages, or held some and were not handed back

 private:
  friend class PageRef;
  friend class Reservation;
  using Page = PageRef::Page;

  // Neighbouring pages whose memory comes from the system and goes back to it together.
  struct Slab {
    std::vector<Page*> free;
    bool resident = false;
    bool open = false;  // named in SizeClass::open
    bool idle = false;  // named in SizeClass::idle
  };

  struct SizeClass {
    std::size_t bytes = 0;  // of a page
    std::uint32_t slab_pages = 0;
    void* mapping = nullptr;
    std::size_t mapping_bytes = 0;
    std::size_t file_offset = 0;  // of the mapping
    std::byte* next = nullptr;    // where never-used memory starts
    std::deque<Page> pages;       // all that were ever cut; their addresses stay
    std::vector<Slab> slabs;
    // Resident slabs with free pages, and those of them with nothing else. May name some that are so no more.
    std::vector<std::uint32_t> open, idle;
    std::vector<std::uint32_t> absent;  // slabs whose memory was handed back

    std::size_t slab_bytes() const { return bytes * slab_pages; }
  };

  PagePool(std::size_t budget_bytes, int file) : budget_(budget_bytes), file_(file) {}
  static Result<std::unique_ptr<PagePool>> create(std::size_t budget_bytes, std::span<const std::size_t> page_sizes,
                                                  int file);
  Status map(SizeClass& size_class);
  Status add_class(std::size_t page_bytes);
  PageRef take(std::size_t occupied, std::uint32_t form);
  Slab& open_slab(SizeClass& size_class);
  void put_back(Page* page);
  void unreserve(std::size_t bytes);
  SizeClass& class_of(std::size_t occupied);
  void hand_back_memory(std::size_t bytes);
  void keep_memory(SizeClass& size_class, std::uint32_t first, std::uint32_t count);
  void hand_back_free_file();

  const std::size_t budget_;
  const int file_;              // -1: memory
  std::size_t file_bytes_ = 0;  // set once classes are made
  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::deque<SizeClass> classes_;
  std::size_t used_ = 0;
  std::size_t high_water_ = 0;
  std::size_t resident_ = 0;  // of resident slabs
  bool hands_back_ = true;    // until the system has refused to take memory back
};

// The pages of one block, by name: what travels between a sequence, the prefix index and a store. A value: copies share
// the pages. Layers are those that have pages of their own, in order.
class BlockPages {
 public:
  BlockPages() = default;
  explicit BlockPages(std::size_t layers) : pages_(layers * kPageSlots.size()) {}

  PageRef& page(std::size_t layer, PageSlot slot) { return pages_[LayerSlot{layer, slot}.index()]; }
  const PageRef& page(std::size_t layer, PageSlot slot) const { return pages_[LayerSlot{layer, slot}.index()]; }
  std::size_t layers() const { return pages_.size() / kPageSlots.size(); }
  bool empty() const { return pages_.empty(); }
  std::span<const PageRef> all() const { return pages_; }  // in the order of LayerSlot
  bool operator==(const BlockPages&) const = default;      // the same pages

 private:
  std::vector<PageRef> pages_;
};

}  // namespace cairn
