// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/page_pool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "cairn/base/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace cairn {
namespace {

constexpr std::size_t kSystemPage = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
// Of a file: what stays in it though nobody uses it, beside as much as is used.
constexpr std::size_t kFreeInFile = std::size_t{16} << 20;

std::size_t round_up(std::size_t value, std::size_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// A free page is poisoned, so that the address sanitizer reports who reads or writes it.
void poison([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(data, bytes);
#endif
}

void unpoison([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(data, bytes);
#endif
}

// A file of the folder without a name.
Result<int> open_unnamed(const std::string& folder) {
  int file = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {  // not every file system has them
    std::string path = folder + "/cairn-pages-XXXXXX";
    file = mkostemp(path.data(), O_CLOEXEC);
    if (file >= 0) unlink(path.c_str());
  }
  if (file >= 0) return file;
  const bool missing = errno == ENOENT || errno == ENOTDIR;
  return fail(missing ? ErrorCode::kNotFound : ErrorCode::kIo,
              "cannot keep pages in the folder '" + folder + "': " + std::strerror(errno));
}

}  // namespace

void PageRef::release() {
  if (page_ == nullptr) return;
  if (page_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) page_->pool->put_back(page_);
}

Reservation::~Reservation() {
  if (pool_ != nullptr) pool_->unreserve(bytes_);
}

PageRef Reservation::take(std::size_t page_bytes, std::uint32_t form) {
  const std::size_t occupied = PagePool::occupied_bytes(page_bytes);
  CAIRN_CHECK(pool_ != nullptr && occupied <= bytes_);
  bytes_ -= occupied;
  return pool_->take(occupied, form);
}

Reservation Reservation::split(std::size_t bytes) {
  CAIRN_CHECK(bytes <= bytes_);
  bytes_ -= bytes;
  return {pool_, bytes};
}

std::size_t PagePool::occupied_bytes(std::size_t page_bytes) {
  return round_up(page_bytes, kPageAlignment);
}

Result<std::unique_ptr<PagePool>> PagePool::create(std::size_t budget_bytes, std::span<const std::size_t> page_sizes) {
  return create(budget_bytes, page_sizes, -1);
}

Result<std::unique_ptr<PagePool>> PagePool::create_in_file(std::size_t budget_bytes,
                                                           std::span<const std::size_t> page_sizes,
                                                           const std::string& folder) {
  CAIRN_TRY(const int file, open_unnamed(folder));
  return create(budget_bytes, page_sizes, file);
}

Result<std::unique_ptr<PagePool>> PagePool::create(std::size_t budget_bytes, std::span<const std::size_t> page_sizes,
                                                   int file) {
  std::unique_ptr<PagePool> pool(new PagePool(budget_bytes, file));
  for (const std::size_t page_bytes : page_sizes) CAIRN_TRY_VOID(pool->add_class(page_bytes));
  return pool;
}

Status PagePool::declare(std::size_t page_bytes) {
  const std::lock_guard lock(mutex_);
  return add_class(page_bytes);
}

Status PagePool::add_class(std::size_t page_bytes) {
  if (page_bytes == 0) return fail(ErrorCode::kInvalidArgument, "a page size of zero bytes makes no sense");
  if (page_bytes > budget_ || occupied_bytes(page_bytes) > budget_) {
    return fail(ErrorCode::kOutOfBudget, "a budget of " + std::to_string(budget_) + " bytes holds no page of " +
                                             std::to_string(page_bytes) + " bytes: raise the KV cache budget");
  }
  const std::size_t occupied = occupied_bytes(page_bytes);
  if (std::ranges::find(classes_, occupied, &SizeClass::bytes) != classes_.end()) return {};
  SizeClass size_class;
  size_class.bytes = occupied;
  size_class.slab_pages = static_cast<std::uint32_t>(std::lcm(occupied, kSystemPage) / occupied);
  CAIRN_TRY_VOID(map(size_class));
  classes_.push_back(std::move(size_class));
  return {};
}

// Address space only: memory comes with the first touch. Two huge pages more than needed let the range start at a
// multiple of one.
Status PagePool::map(SizeClass& size_class) {
  // One page in every slab may outlive its neighbours, and then the next is taken from another slab.
  const std::size_t slabs = budget_ / size_class.slab_bytes() + 1;
  const bool too_large = budget_ > std::numeric_limits<std::size_t>::max() / 4;
  const std::size_t range = too_large ? budget_ : slabs * size_class.slab_bytes();
  size_class.mapping_bytes = round_up(too_large ? 0 : range, kHugePage) + kHugePage;
  size_class.file_offset = file_bytes_;
  const auto file_end = static_cast<off_t>(file_bytes_ + size_class.mapping_bytes);
  const auto refused = [&](const std::string& what, int reason) {
    return fail(ErrorCode::kIo, "the system refuses " + what + ": " + std::strerror(reason));
  };
  const std::string address_space = std::to_string(range) + " bytes of address space";
  if (too_large) return refused(address_space, ENOMEM);
  if (file_ >= 0 && ftruncate(file_, file_end) != 0) {  // it takes no room before it is used
    return refused("a file of " + std::to_string(file_end) + " bytes", errno);
  }
  void* const mapping = mmap(nullptr, size_class.mapping_bytes, PROT_READ | PROT_WRITE,
                             MAP_NORESERVE | (file_ < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), file_,
                             static_cast<off_t>(size_class.file_offset));
  if (mapping == MAP_FAILED) return refused(address_space, errno);
  if (file_ >= 0) file_bytes_ += size_class.mapping_bytes;
  size_class.mapping = mapping;
  size_class.next = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(mapping), kHugePage));
  // Whole huge pages inside the range only, or the last one could hold memory beyond the budget. A kernel without them
  // refuses, which costs speed and nothing else.
  if (range >= kHugePage) madvise(size_class.next, range / kHugePage * kHugePage, MADV_HUGEPAGE);
  return {};
}

PagePool::~PagePool() {
  CAIRN_CHECK(used_ == 0);
  for (SizeClass& size_class : classes_) {
    unpoison(size_class.mapping, size_class.mapping_bytes);
    munmap(size_class.mapping, size_class.mapping_bytes);
  }
  if (file_ >= 0) close(file_);
}

Result<Reservation> PagePool::reserve(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > budget_ - used_) {
    return fail(ErrorCode::kOutOfBudget, std::to_string(bytes) + " bytes asked for, " +
                                             std::to_string(budget_ - used_) + " of the KV cache's " +
                                             std::to_string(budget_) + " are free");
  }
  used_ += bytes;
  high_water_ = std::max(high_water_, used_);
  return Reservation(this, bytes);
}

Status PagePool::write(const PageRef& page, std::span<const std::byte> bytes) {
  CAIRN_CHECK(holds(page) && bytes.size() <= page.bytes());
  if (file_ < 0) {
    std::memcpy(page.data(), bytes.data(), bytes.size());
    return {};
  }
  std::size_t offset = 0;
  {
    const std::lock_guard lock(mutex_);
    const SizeClass& size_class = class_of(page.bytes());
    offset =
        size_class.file_offset + static_cast<std::size_t>(page.data() - static_cast<std::byte*>(size_class.mapping));
  }
  while (!bytes.empty()) {
    const ssize_t done = pwrite(file_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return fail(ErrorCode::kIo, std::string("cannot write a page to its file: ") + std::strerror(errno));
    offset += static_cast<std::size_t>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
  return {};
}

std::size_t PagePool::bytes_used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

std::size_t PagePool::high_water() const {
  const std::lock_guard lock(mutex_);
  return high_water_;
}

std::size_t PagePool::bytes_resident() const {
  const std::lock_guard lock(mutex_);
  return resident_;
}

PagePool::SizeClass& PagePool::class_of(std::size_t occupied) {
  const auto found = std::ranges::find(classes_, occupied, &SizeClass::bytes);
  CAIRN_CHECK(found != classes_.end());
  return *found;
}

PageRef PagePool::take(std::size_t occupied, std::uint32_t form) {
  Page* page = nullptr;
  {
    const std::lock_guard lock(mutex_);
    Slab& slab = open_slab(class_of(occupied));
    page = slab.free.back();
    slab.free.pop_back();
  }
  unpoison(page->data, page->bytes);
  if (page->dirty && file_ < 0) std::memset(page->data, 0, page->bytes);
  page->dirty = true;
  page->form = form;
  page->references.store(1, std::memory_order_relaxed);
  return PageRef(page);
}

// A resident slab with a free page. Slabs in use come first, so that others empty.
PagePool::Slab& PagePool::open_slab(SizeClass& size_class) {
  while (!size_class.open.empty()) {
    Slab& slab = size_class.slabs[size_class.open.back()];
    if (slab.resident && !slab.free.empty()) return slab;
    slab.open = false;
    size_class.open.pop_back();
  }
  hand_back_memory(size_class.slab_bytes());
  resident_ += size_class.slab_bytes();
  std::uint32_t number = static_cast<std::uint32_t>(size_class.slabs.size());
  if (!size_class.absent.empty()) {
    number = size_class.absent.back();
    size_class.absent.pop_back();
  } else {
    size_class.slabs.emplace_back();
    for (std::uint32_t i = 0; i < size_class.slab_pages; ++i, size_class.next += size_class.bytes) {
      Page& page = size_class.pages.emplace_back();
      page.slab = number;
      page.data = size_class.next;
      page.bytes = size_class.bytes;
      page.pool = this;
      size_class.slabs.back().free.push_back(&page);
    }
  }
  Slab& slab = size_class.slabs[number];
  slab.resident = true;
  if (!std::exchange(slab.open, true)) size_class.open.push_back(number);
  return slab;
}

// Makes `bytes` more resident memory possible. Where slabs are single pages, empty ones always suffice: what is
// resident and not free is covered by used_, which covers the page being taken as well. Neighbours that follow each
// other in SizeClass::idle, the last one first, go together.
void PagePool::hand_back_memory(std::size_t bytes) {
  if (!hands_back_) return;
  for (SizeClass& size_class : classes_) {
    const std::size_t slab_bytes = size_class.slab_bytes();
    std::vector<std::uint32_t>& idle = size_class.idle;
    while (resident_ + bytes > budget_ && !idle.empty()) {
      std::uint32_t first = 0, count = 0;
      while (resident_ + bytes > budget_ && !idle.empty()) {
        const std::uint32_t number = idle.back();
        Slab& slab = size_class.slabs[number];
        const bool is_empty = slab.resident && slab.free.size() == size_class.slab_pages;
        if (is_empty && count > 0 && number + 1 != first) break;
        idle.pop_back();
        slab.idle = false;
        if (!is_empty) continue;
        first = number;
        ++count;
        slab.resident = false;
        size_class.absent.push_back(number);
        resident_ -= slab_bytes;
      }
      if (count == 0) continue;
      const std::span<Slab> slabs = std::span(size_class.slabs).subspan(first, count);
      std::byte* const data = (*std::ranges::min_element(slabs.front().free, {}, &Page::data))->data;
      if (madvise(data, count * slab_bytes, file_ < 0 ? MADV_DONTNEED : MADV_REMOVE) != 0) {
        keep_memory(size_class, first, count);
        return;
      }
      for (Slab& slab : slabs) {
        for (Page* page : slab.free) page->dirty = false;
      }
    }
  }
}

// The system refused, as not every file system can free the middle of a file; it will the next time too. The slabs that
// were the last to be called absent stay what they were, dirty, and are used again.
void PagePool::keep_memory(SizeClass& size_class, std::uint32_t first, std::uint32_t count) {
  hands_back_ = false;
  size_class.absent.resize(size_class.absent.size() - count);
  resident_ += count * size_class.slab_bytes();
  for (std::uint32_t number = first; number < first + count; ++number) {
    Slab& slab = size_class.slabs[number];
    slab.resident = true;
    if (!std::exchange(slab.open, true)) size_class.open.push_back(number);
  }
}

// So that a file shrinks, in few and long pieces.
void PagePool::hand_back_free_file() {
  if (file_ < 0 || !hands_back_ || resident_ <= 2 * used_ + kFreeInFile) return;
  for (SizeClass& size_class : classes_) std::ranges::sort(size_class.idle);
  hand_back_memory(budget_ - std::min(budget_, used_));  // down to what is used
}

void PagePool::put_back(Page* page) {
  poison(page->data, page->bytes);
  const std::lock_guard lock(mutex_);
  SizeClass& size_class = class_of(page->bytes);
  Slab& slab = size_class.slabs[page->slab];
  slab.free.push_back(page);
  if (!std::exchange(slab.open, true)) size_class.open.push_back(page->slab);
  if (slab.free.size() == size_class.slab_pages && !std::exchange(slab.idle, true)) {
    size_class.idle.push_back(page->slab);
  }
  used_ -= page->bytes;
  hand_back_free_file();
}

void PagePool::unreserve(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  used_ -= bytes;
}

}  // namespace cairn
