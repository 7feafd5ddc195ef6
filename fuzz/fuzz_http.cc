// SPDX-License-Identifier: Apache-2.0
// Arbitrary bytes on a connection: answered in HTTP or closed, in time, never with an error of the server's own; and
// the next client is served as if nothing had been.
#include <cstddef>
#include <cstdint>
#include <string>

#include "cairn/base/check.h"
#include "cairn/testing/api_server.h"
#include "cairn/testing/raw_client.h"

namespace {

constexpr std::chrono::seconds kLong{5};

cairn::ApiServer& server() {
  static cairn::ApiServer* const one = [] {
    auto* made = new cairn::ApiServer;
    made->http.keep_alive = std::chrono::milliseconds(50);
    made->start();
    return made;
  }();
  return *one;
}

std::string talk(std::string_view bytes) {
  const cairn::RawClient client(server().port());
  (void)client.send(bytes);
  client.end();
  return client.receive_all(cairn::deadline_in(kLong));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string reply = talk({reinterpret_cast<const char*>(data), size});
  CAIRN_CHECK(reply.empty() || reply.starts_with("HTTP/1.1 "));
  // 501 are embeddings.
  CAIRN_CHECK(!reply.starts_with("HTTP/1.1 5") || reply.starts_with("HTTP/1.1 501"));
  static std::size_t count = 0;
  if (++count % 16 == 0) {
    CAIRN_CHECK(
        talk("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 200"));
  }
  server().logged.str("");
  return 0;
}
