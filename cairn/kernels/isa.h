// SPDX-License-Identifier: Apache-2.0
// The kernel sets, one per folder; internal to the module.
#pragma once

#include "cairn/kernels/kernels.h"

namespace cairn {

extern const Kernels kScalarKernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;

}  // namespace cairn
