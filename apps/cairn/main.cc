// SPDX-License-Identifier: Apache-2.0
#include <iostream>

int main() {
  std::cout << "cairn " CAIRN_VERSION " (" CAIRN_COMMIT ")\n";
  return 0;
}
