// SPDX-License-Identifier: Apache-2.0
#include "cairn/block/page_pool.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace cairn {
namespace {

constexpr std::size_t kUnit = PagePool::kPageAlignment;
constexpr std::size_t kPage = 4096;  // a page of the system: such pages are slabs of their own

std::unique_ptr<PagePool> make_pool(std::size_t budget, std::vector<std::size_t> sizes) {
  auto pool = PagePool::create(budget, sizes);
  EXPECT_TRUE(pool.has_value()) << pool.error().message;
  return *std::move(pool);
}

bool all_zero(const PageRef& page) {
  return std::all_of(page.data(), page.data() + page.bytes(), [](std::byte b) { return b == std::byte{0}; });
}

TEST(BlockPages, LieLayerByLayerInTheOrderOfTheirSlots) {
  const std::size_t sizes[] = {64};
  const auto pool = PagePool::create(4 * 64, sizes);
  ASSERT_TRUE(pool);
  auto room = (*pool)->reserve(4 * 64);
  BlockPages pages(2);
  for (std::uint32_t i = 0; i < 4; ++i) {
    const LayerSlot at = LayerSlot::at(i);
    EXPECT_EQ(at.index(), i);
    pages.page(at.layer, at.slot) = room->take(64, i);
  }
  EXPECT_EQ(pages.layers(), 2u);
  EXPECT_EQ(pages.page(0, PageSlot::kKeys).form(), 0u);
  EXPECT_EQ(pages.page(0, PageSlot::kValues).form(), 1u);
  EXPECT_EQ(pages.page(1, PageSlot::kKeys).form(), 2u);
  EXPECT_EQ(pages.all()[3], pages.page(1, PageSlot::kValues));
}

TEST(PagePool, RefusesWhatMakesNoSense) {
  EXPECT_EQ(PagePool::create(kPage, std::array<std::size_t, 1>{0}).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(PagePool::create(kPage, std::array<std::size_t, 1>{kPage + 1}).error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(PagePool::create(kPage, std::array<std::size_t, 1>{~std::size_t{0}}).error().code, ErrorCode::kOutOfBudget);
  EXPECT_EQ(PagePool::create(~std::size_t{0}, std::array<std::size_t, 1>{kPage}).error().code, ErrorCode::kIo);
}

TEST(PagePool, ReservesBeforeItAllocates) {
  const auto pool = make_pool(3 * kUnit + 50, {50, kUnit + 1});
  EXPECT_EQ(pool->budget(), 3 * kUnit + 50);
  EXPECT_FALSE(pool->reserve(4 * kUnit));
  {
    auto reservation = pool->reserve(3 * kUnit);
    ASSERT_TRUE(reservation);
    EXPECT_EQ(pool->reserve(kUnit).error().code, ErrorCode::kOutOfBudget);
    const PageRef small = reservation->take(50);
    EXPECT_EQ(small.bytes(), kUnit);
    EXPECT_EQ(reservation->bytes(), 2 * kUnit);
    const PageRef large = reservation->take(kUnit + 1);
    EXPECT_EQ(large.bytes(), 2 * kUnit);
    EXPECT_EQ(pool->bytes_used(), 3 * kUnit);
  }
  EXPECT_EQ(pool->bytes_used(), 0u);
  EXPECT_EQ(pool->high_water(), 3 * kUnit);
  EXPECT_TRUE(pool->reserve(3 * kUnit));
}

TEST(PagePool, PagesAreSharedByReference) {
  const auto pool = make_pool(kPage, {kPage});
  PageRef a = pool->reserve(kPage)->take(kPage);
  EXPECT_TRUE(a.unique());
  PageRef b = a;
  EXPECT_EQ(b, a);
  EXPECT_EQ(a.use_count(), 2u);
  PageRef c = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(c.use_count(), 2u);
  b = PageRef();
  EXPECT_TRUE(c.unique());
  c = *&c;
  EXPECT_EQ(pool->bytes_used(), kPage);
  c = PageRef();
  EXPECT_EQ(pool->bytes_used(), 0u);
}

TEST(PagePool, SpaceOfOneSizeServesAnother) {
  const auto pool = make_pool(12 * kPage, {kPage, 3 * kPage});
  for (int round = 0; round < 3; ++round) {
    std::vector<PageRef> small, large;
    for (int i = 0; i < 12; ++i) small.push_back(pool->reserve(kPage)->take(kPage));
    for (PageRef& page : small) std::memset(page.data(), 0xff, page.bytes());
    small.clear();
    for (int i = 0; i < 4; ++i) large.push_back(pool->reserve(3 * kPage)->take(3 * kPage));
    EXPECT_FALSE(pool->reserve(1));
    for (PageRef& page : large) {
      EXPECT_TRUE(all_zero(page));
      std::memset(page.data(), 0xff, page.bytes());
    }
  }
}

bool resident(const std::byte* page) {
  unsigned char in_memory = 0;
  EXPECT_EQ(mincore(const_cast<std::byte*>(page), kPage, &in_memory), 0);
  return (in_memory & 1) != 0;
}

TEST(PagePool, FreePagesOfOneSizeDoNotHoldMemoryThatAnotherSizeUses) {
  const auto pool = make_pool(8 * kPage, {kPage, 2 * kPage});
  std::vector<const std::byte*> freed;
  {
    auto reservation = pool->reserve(8 * kPage);
    std::vector<PageRef> small;
    for (int i = 0; i < 8; ++i) {
      small.push_back(reservation->take(kPage));
      small.back().data()[0] = std::byte{1};
      freed.push_back(small.back().data());
      EXPECT_TRUE(resident(freed.back()));
    }
  }
  std::vector<PageRef> large;
  auto reservation = pool->reserve(6 * kPage);
  for (int i = 0; i < 3; ++i) large.push_back(reservation->take(2 * kPage));
  EXPECT_LE(std::ranges::count_if(freed, resident), 2);
}

// Random takes and drops of three sizes against a list of live pages: the sum is right, pages are zeroed, disjoint,
// aligned, and a reservation that fits the budget never fails.
TEST(PagePool, BehavesLikeAListOfBuffers) {
  EXPECT_TRUE(rc::check([] {
    const std::array<std::size_t, 3> sizes = {kPage, 2 * kPage - 5, 5 * kPage};
    const std::size_t budget = *rc::gen::inRange<std::size_t>(5, 40) * kPage;
    const auto pool = make_pool(budget, {sizes.begin(), sizes.end()});
    std::vector<std::pair<PageRef, std::byte>> live;
    std::size_t used = 0, most = 0;
    const auto steps = *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::arbitrary<std::uint32_t>());
    for (std::uint32_t step : steps) {
      const std::size_t size = sizes[step % 3];
      if (step / 3 % 3 != 0) {
        auto reservation = pool->reserve(PagePool::occupied_bytes(size));
        RC_ASSERT(reservation.has_value() == (used + PagePool::occupied_bytes(size) <= budget));
        if (!reservation) continue;
        PageRef page = reservation->take(size);
        RC_ASSERT(reinterpret_cast<std::uintptr_t>(page.data()) % PagePool::kPageAlignment == 0);
        RC_ASSERT(all_zero(page));
        const auto mark = static_cast<std::byte>(step >> 8 | 1);
        std::memset(page.data(), static_cast<int>(mark), page.bytes());
        used += page.bytes();
        most = std::max(most, used);
        live.emplace_back(std::move(page), mark);
      } else if (!live.empty()) {
        std::swap(live[step / 9 % live.size()], live.back());
        used -= live.back().first.bytes();
        live.pop_back();
      }
      RC_ASSERT(pool->bytes_used() == used);
    }
    RC_ASSERT(pool->high_water() == most);
    for (const auto& [page, mark] : live) {
      const std::byte expected = mark;
      RC_ASSERT(std::all_of(page.data(), page.data() + page.bytes(), [=](std::byte b) { return b == expected; }));
    }
  }));
}

TEST(PagePool, ThreadsShareOneBudget) {
  const auto pool = make_pool(16 * kPage, {kPage, 2 * kPage});
  const PageRef shared = pool->reserve(kPage)->take(kPage);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<PageRef> mine;
      for (int i = 0; i < 2000; ++i) {
        const std::size_t size = (i + t) % 3 == 0 ? 2 * kPage : kPage;
        if (auto reservation = pool->reserve(size)) {
          mine.push_back(reservation->take(size));
          mine.back().data()[0] = std::byte{1};
        }
        mine.push_back(shared);
        if (mine.size() > static_cast<std::size_t>(i % 7)) mine.clear();
        EXPECT_LE(pool->bytes_used(), pool->budget());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(shared.unique());
  EXPECT_EQ(pool->bytes_used(), kPage);
}

class FilePool : public testing::Test {
 protected:
  FilePool() : folder_(testing::TempDir()) {}
  const std::string folder_;
};

TEST_F(FilePool, PagesHoldWhatWasWritten) {
  const std::size_t sizes[] = {kPage, 3 * kUnit};
  auto pool = PagePool::create_in_file(4 * kPage, sizes, folder_);
  ASSERT_TRUE(pool) << pool.error().message;
  auto room = (*pool)->reserve(3 * kPage + 6 * kUnit);
  ASSERT_TRUE(room);
  std::vector<PageRef> pages;
  for (int i = 0; i < 5; ++i) {
    pages.push_back(room->take(i < 3 ? kPage : 3 * kUnit, static_cast<std::uint32_t>(i)));
    EXPECT_TRUE((*pool)->write(pages.back(), std::vector<std::byte>(pages.back().bytes(), std::byte(i + 1))));
  }
  const auto holds = [](const PageRef& page, int value) {
    return std::all_of(page.data(), page.data() + page.bytes(), [=](std::byte b) { return b == std::byte(value); });
  };
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(holds(pages[static_cast<std::size_t>(i)], i + 1)) << i;
  pages.erase(pages.begin());
  auto again = (*pool)->reserve(kPage);
  pages.push_back(again->take(kPage));
  EXPECT_TRUE((*pool)->write(pages.back(), std::vector<std::byte>(kPage, std::byte{9})));
  EXPECT_TRUE(holds(pages.back(), 9));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(holds(pages[static_cast<std::size_t>(i)], i + 2)) << i;
  EXPECT_TRUE((*pool)->holds(pages.front()));
  EXPECT_FALSE((*pool)->holds(PageRef()));
  EXPECT_FALSE(make_pool(kPage, {kPage})->holds(pages.front()));
}

TEST_F(FilePool, LeavesNothingInTheFolder) {
  const std::string own = folder_ + "/cairn_file_pool";
  ASSERT_TRUE(mkdir(own.c_str(), 0700) == 0 || errno == EEXIST);
  {
    const std::size_t sizes[] = {kPage};
    auto pool = PagePool::create_in_file(4 * kPage, sizes, own);
    ASSERT_TRUE(pool);
    auto room = (*pool)->reserve(kPage);
    const PageRef page = room->take(kPage);
    EXPECT_TRUE((*pool)->write(page, std::vector<std::byte>(kPage, std::byte{1})));
  }
  EXPECT_EQ(rmdir(own.c_str()), 0);
}

// Bytes on the disk of the files without a name in a folder that this process has open.
std::size_t disk_bytes(const std::string& folder) {
  const std::string there = std::filesystem::canonical(folder).string();
  std::size_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the folder that is being read
    const std::string path = std::filesystem::read_symlink(file, gone).string();
    struct stat facts {};
    if (!path.starts_with(there) || stat(file.path().c_str(), &facts) != 0) continue;
    bytes += static_cast<std::size_t>(facts.st_blocks) * 512;
  }
  return bytes;
}

TEST_F(FilePool, WhatIsFreeGoesBackToTheDisk) {
  const std::string own = folder_ + "/cairn_file_shrinks";
  ASSERT_TRUE(mkdir(own.c_str(), 0700) == 0 || errno == EEXIST);
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  const std::size_t sizes[] = {kPage, 3 * kUnit};
  auto pool = PagePool::create_in_file(64 * kMiB, sizes, own);
  ASSERT_TRUE(pool);
  const auto fill = [&](std::size_t bytes, std::size_t page, std::byte value) {
    std::vector<PageRef> pages;
    auto room = (*pool)->reserve(bytes / page * page);
    while (room->bytes() >= page) {
      pages.push_back(room->take(page));
      EXPECT_TRUE((*pool)->write(pages.back(), std::vector<std::byte>(page, value)));
    }
    return pages;
  };
  const auto hold = [](std::span<const PageRef> pages, std::byte value) {
    return std::ranges::all_of(pages, [=](const PageRef& page) {
      const std::span bytes(page.data(), page.bytes());
      return std::ranges::count(bytes, value) == std::ssize(bytes);
    });
  };
  for (const std::size_t page : sizes) {
    std::vector<PageRef> pages = fill(40 * kMiB, page, std::byte{7});
    EXPECT_GE(disk_bytes(own), 40 * kMiB);
    for (std::size_t i = 0; i < pages.size(); ++i) {
      if (i % 2048 >= 512) pages[i] = PageRef();  // in runs, between which a quarter stays
    }
    EXPECT_LE(disk_bytes(own), 20 * kMiB);  // pages in slabs that are not free as a whole stay
    std::erase(pages, PageRef());
    EXPECT_TRUE(hold(pages, std::byte{7}));
    const std::vector<PageRef> others = fill(20 * kMiB, page, std::byte{9});
    EXPECT_TRUE(hold(pages, std::byte{7}));
    EXPECT_TRUE(hold(others, std::byte{9}));
  }
  EXPECT_LE(disk_bytes(own), 17 * kMiB);
  pool->reset();
  EXPECT_EQ(rmdir(own.c_str()), 0);
}

// As on a file system that cannot: the system takes nothing from pages that are locked into memory.
TEST_F(FilePool, WhatTheSystemDoesNotTakeBackIsCountedAndUsedAgain) {
  constexpr std::size_t kBudget = std::size_t{64} << 20, kLarge = std::size_t{1} << 20;
  const std::size_t sizes[] = {kLarge, 2 * kLarge};
  auto pool = PagePool::create_in_file(kBudget, sizes, folder_);
  ASSERT_TRUE(pool);
  const auto fill = [&](std::size_t bytes, std::size_t page) {
    std::vector<PageRef> pages;
    auto room = (*pool)->reserve(bytes);
    while (room && room->bytes() >= page) pages.push_back(room->take(page));
    return pages;
  };
  std::vector<PageRef> pages = fill(kBudget, kLarge);
  if (mlock(pages[20].data(), kPage) != 0) GTEST_SKIP() << "the system locks no memory";
  EXPECT_EQ((*pool)->bytes_resident(), kBudget);
  std::byte* const locked = pages[20].data();
  pages.clear();
  const std::size_t left = (*pool)->bytes_resident();
  EXPECT_GE(left, kLarge) << "the slab that was refused at the least";
  pages = fill(kBudget, 2 * kLarge);
  EXPECT_EQ(pages.size(), kBudget / (2 * kLarge));
  EXPECT_EQ((*pool)->bytes_resident(), left + kBudget);
  pages.clear();
  pages = fill(kBudget, kLarge);
  EXPECT_EQ(pages.size(), kBudget / kLarge);
  EXPECT_EQ(std::ranges::count(pages, locked, &PageRef::data), 1) << "it is used again";
  EXPECT_LE((*pool)->bytes_resident(), 2 * kBudget);
  munlock(locked, kPage);
}

TEST_F(FilePool, RefusesWhatIsNoFolder) {
  const std::size_t sizes[] = {kPage};
  const auto missing = PagePool::create_in_file(kPage, sizes, folder_ + "/not/there");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("/not/there"), std::string::npos);
  EXPECT_FALSE(PagePool::create_in_file(kPage, sizes, "/dev/null"));
}

TEST_F(FilePool, ADiskThatTakesNoMoreIsAnError) {
  const std::size_t sizes[] = {kPage};
  auto pool = PagePool::create_in_file(4 * kPage, sizes, folder_);
  ASSERT_TRUE(pool);
  auto room = (*pool)->reserve(2 * kPage);
  const PageRef page = room->take(kPage), other = room->take(kPage);
  ASSERT_TRUE((*pool)->write(page, std::vector<std::byte>(kPage, std::byte{1})));
  // Files may not grow, which counts from a page's place in the file.
  const auto ignored = signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
  const Status refused = (*pool)->write(other, std::vector<std::byte>(kPage, std::byte{2}));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, ignored);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);
  EXPECT_EQ(page.data()[kPage - 1], std::byte{1});
}

// A budget in pages of two sizes that is used up by one and then by the other: what was handed back is used again.
TEST_F(FilePool, RoomGoesFromOneSizeToAnother) {
  const std::size_t sizes[] = {kPage, 2 * kPage};
  auto pool = PagePool::create_in_file(8 * kPage, sizes, folder_);
  ASSERT_TRUE(pool);
  for (int round = 0; round < 6; ++round) {
    const std::size_t bytes = sizes[round % 2];
    std::vector<PageRef> pages;
    auto room = (*pool)->reserve(8 * kPage);
    ASSERT_TRUE(room);
    while (room->bytes() >= bytes) {
      pages.push_back(room->take(bytes));
      ASSERT_TRUE((*pool)->write(pages.back(), std::vector<std::byte>(bytes, std::byte(pages.size()))));
    }
    for (std::size_t i = 0; i < pages.size(); ++i) EXPECT_EQ(pages[i].data()[bytes - 1], std::byte(i + 1));
    EXPECT_FALSE((*pool)->reserve(kPage));
  }
}

}  // namespace
}  // namespace cairn
