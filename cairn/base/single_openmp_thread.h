// SPDX-License-Identifier: Apache-2.0
// For libraries that compute with OpenMP: faiss. A target that includes this links OpenMP.
#pragma once

#include <omp.h>

namespace cairn {

// While it lives, OpenMP gives this thread no helpers. Before and after, the number belongs to the program that we are
// part of.
class SingleOpenMpThread {
 public:
  SingleOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  SingleOpenMpThread(const SingleOpenMpThread&) = delete;
  SingleOpenMpThread& operator=(const SingleOpenMpThread&) = delete;
  ~SingleOpenMpThread() { omp_set_num_threads(before_); }

 private:
  int before_;
};

}  // namespace cairn
