// SPDX-License-Identifier: Apache-2.0
// The version of the public headers. Within a major version programs go on compiling; before 1.0, within a minor one.
#pragma once

#define CAIRN_VERSION_MAJOR 0
#define CAIRN_VERSION_MINOR 1
#define CAIRN_VERSION_PATCH 0

namespace cairn {

// "0.1.0": of the library that is linked, which a program may compare with the headers it was compiled against.
const char* library_version();

}  // namespace cairn
