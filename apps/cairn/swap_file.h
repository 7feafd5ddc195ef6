// SPDX-License-Identifier: Apache-2.0
// How fast an inactive cache could be moved out to a file and back.
#pragma once

#include <string>

#include "cairn/base/result.h"

namespace cairn {

// Bytes per second of writing a temporary file of 64 MiB to the device and reading it back, the mean over both ways.
// `folder` empty: the system's folder for temporary files. The file is gone afterwards.
// Errors: kIo, naming the folder.
Result<double> measure_swap_rate(const std::string& folder);

}  // namespace cairn
