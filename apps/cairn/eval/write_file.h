// SPDX-License-Identifier: Apache-2.0
// A file that is there as a whole or not at all.
#pragma once

#include <string>
#include <string_view>

#include "cairn/base/result.h"

namespace cairn {

// Writes beside `path` and renames: readers see the old file or the new one. A symbolic link stays and its target is
// replaced. Errors: kIo (path is a directory or a device, no permission, full disk); then `path` is as it was and
// nothing else is left behind.
Status write_file(const std::string& path, std::string_view content);

}  // namespace cairn
