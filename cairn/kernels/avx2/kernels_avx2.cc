// SPDX-License-Identifier: Apache-2.0
#include "cairn/kernels/avx2/codes-inl.h"
#include "cairn/kernels/avx2/dot-inl.h"
#include "cairn/kernels/avx2/lanes-inl.h"
#include "cairn/kernels/avx2/pages-inl.h"
#include "cairn/kernels/dense-inl.h"
#include "cairn/kernels/encode-inl.h"
#include "cairn/kernels/kernels.h"
#include "cairn/kernels/plain_loops-inl.h"

// After all that it names.
#include "cairn/kernels/kernel_table-inl.h"

namespace cairn {

constinit const Kernels kAvx2Kernels = kernel_table<MaddDot, Avx2Lanes>("avx2");

}  // namespace cairn
