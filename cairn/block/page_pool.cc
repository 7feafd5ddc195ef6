// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/page_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "cairn/base/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace cairn {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

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

}  // namespace

void PageRef::release() {
  if (page_ == nullptr) return;
  if (page_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) page_->pool->put_back(page_);
}

Reservation::~Reservation() {
  if (pool_ != nullptr) pool_->unreserve(bytes_);
}

PageRef Reservation::take(std::size_t page_bytes) {
  const std::size_t occupied = PagePool::occupied_bytes(page_bytes);
  CAIRN_CHECK(pool_ != nullptr && occupied <= bytes_);
  bytes_ -= occupied;
  return pool_->take(occupied);
}

std::size_t PagePool::occupied_bytes(std::size_t page_bytes) {
  return round_up(page_bytes, kPageAlignment);
}

Result<std::unique_ptr<PagePool>> PagePool::create(std::size_t budget_bytes, std::span<const std::size_t> page_sizes) {
  std::unique_ptr<PagePool> pool(new PagePool(budget_bytes));
  for (std::size_t page_bytes : page_sizes) {
    if (page_bytes == 0) return fail(ErrorCode::kInvalidArgument, "a page size of zero bytes makes no sense");
    if (page_bytes > budget_bytes || occupied_bytes(page_bytes) > budget_bytes) {
      return fail(ErrorCode::kOutOfBudget, "a budget of " + std::to_string(budget_bytes) + " bytes holds no page of " +
                                               std::to_string(page_bytes) + " bytes: raise the KV cache budget");
    }
    const std::size_t occupied = occupied_bytes(page_bytes);
    if (std::ranges::find(pool->classes_, occupied, &SizeClass::bytes) != pool->classes_.end()) continue;
    SizeClass size_class;
    size_class.bytes = occupied;
    CAIRN_TRY_VOID(pool->map(size_class));
    pool->classes_.push_back(std::move(size_class));
  }
  return pool;
}

// Address space only: memory comes with the first touch. Two huge pages more than needed let the range start at a
// multiple of one.
Status PagePool::map(SizeClass& size_class) const {
  const std::size_t range = budget_ / size_class.bytes * size_class.bytes;
  const bool too_large = range > std::numeric_limits<std::size_t>::max() / 2;
  size_class.mapping_bytes = round_up(too_large ? 0 : range, kHugePage) + kHugePage;
  void* const mapping = too_large ? MAP_FAILED
                                  : mmap(nullptr, size_class.mapping_bytes, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    return fail(ErrorCode::kIo, "the system refuses " + std::to_string(range) +
                                    " bytes of address space for the KV cache: lower its budget");
  }
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

std::size_t PagePool::bytes_used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

std::size_t PagePool::high_water() const {
  const std::lock_guard lock(mutex_);
  return high_water_;
}

PagePool::SizeClass& PagePool::class_of(std::size_t occupied) {
  const auto found = std::ranges::find(classes_, occupied, &SizeClass::bytes);
  CAIRN_CHECK(found != classes_.end());
  return *found;
}

PageRef PagePool::take(std::size_t occupied) {
  Page* page = nullptr;
  {
    const std::lock_guard lock(mutex_);
    SizeClass& size_class = class_of(occupied);
    if (!size_class.dirty.empty()) {
      page = size_class.dirty.back();
      size_class.dirty.pop_back();
    } else {
      hand_back_memory(occupied);
      resident_ += occupied;
      if (!size_class.clean.empty()) {
        page = size_class.clean.back();
        size_class.clean.pop_back();
      } else {
        page = &size_class.pages.emplace_back();
        page->data = size_class.next;
        page->bytes = occupied;
        page->pool = this;
        size_class.next += occupied;
      }
    }
  }
  unpoison(page->data, page->bytes);
  if (page->dirty) std::memset(page->data, 0, page->bytes);
  page->dirty = true;
  page->references.store(1, std::memory_order_relaxed);
  return PageRef(page);
}

// Makes `bytes` more resident memory possible. Free pages of the sizes not asked for always suffice: what is resident
// and not free is covered by used_, which covers the page being taken as well.
void PagePool::hand_back_memory(std::size_t bytes) {
  for (SizeClass& size_class : classes_) {
    while (bytes > budget_ - resident_ && !size_class.dirty.empty()) {
      Page* const page = size_class.dirty.back();
      size_class.dirty.pop_back();
      // Should the system refuse, the page is not known to read as zeros and stays dirty.
      if (madvise(page->data, page->bytes, MADV_DONTNEED) == 0) page->dirty = false;
      size_class.clean.push_back(page);
      resident_ -= page->bytes;
    }
  }
}

void PagePool::put_back(Page* page) {
  poison(page->data, page->bytes);
  const std::lock_guard lock(mutex_);
  class_of(page->bytes).dirty.push_back(page);
  used_ -= page->bytes;
}

void PagePool::unreserve(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  used_ -= bytes;
}

}  // namespace cairn
