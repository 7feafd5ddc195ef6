// SPDX-License-Identifier: Apache-2.0
#include "cairn/kernels/avx512/code_accumulate-inl.h"
#include "cairn/kernels/avx512/code_scores-inl.h"
#include "cairn/kernels/avx512/dot-inl.h"
#include "cairn/kernels/avx512/lanes-inl.h"
#include "cairn/kernels/avx512/nearest-inl.h"
#include "cairn/kernels/avx512/pages-inl.h"
#include "cairn/kernels/avx512/rans-inl.h"
#include "cairn/kernels/avx512/sketches-inl.h"
#include "cairn/kernels/dense-inl.h"
#include "cairn/kernels/encode-inl.h"
#include "cairn/kernels/kernels.h"

// After all that it names.
#include "cairn/kernels/kernel_table-inl.h"

namespace cairn {

constinit const Kernels kAvx512Kernels = kernel_table<VnniDot, Avx512Lanes>("avx512");

}  // namespace cairn
