// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "cairn/kernels/kernels.h"

namespace cairn {
namespace {

struct Available {
  std::array<const Kernels*, 3> sets{};
  std::size_t count = 0;

  Available() {
    sets[count++] = &kScalarKernels;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
      sets[count++] = &kAvx2Kernels;
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
          __builtin_cpu_supports("avx512vnni")) {
        sets[count++] = &kAvx512Kernels;
      }
    }
  }
};

struct Choice {
  const Kernels* set = nullptr;
  std::string error;

  Choice() {
    set = available_kernels().back();
    const char* forced = std::getenv("CAIRN_ISA");
    if (forced == nullptr || *forced == '\0') return;
    if (const Kernels* named = find_kernels(forced)) {
      set = named;
      return;
    }
    error = std::string("CAIRN_ISA=") + forced + " is not available here; choose one of:";
    for (const Kernels* known : available_kernels()) error += ' ' + std::string(known->name);
  }
};

const Choice& choice() {
  static const Choice chosen;
  return chosen;
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
  static const Available available;
  return {available.sets.data(), available.count};
}

const Kernels* find_kernels(std::string_view name) {
  const auto sets = available_kernels();
  const auto found = std::ranges::find_if(sets, [name](const Kernels* set) { return set->name == name; });
  return found == sets.end() ? nullptr : *found;
}

const Kernels& kernels() {
  return *choice().set;
}

std::string_view forced_isa_error() {
  return choice().error;
}

}  // namespace cairn
