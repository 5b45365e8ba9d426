// chronolithd between programs of others that the test starts on loopback.
#ifndef CHRONOLITH_TESTS_E2E_E2E_TEST_H_
#define CHRONOLITH_TESTS_E2E_E2E_TEST_H_

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/server/server_process.h"
#include "tests/support/peer_process.h"
#include "tests/tools/cli_test_base.h"
#include "tests/tools/prometheus_peer.h"

namespace chronolith::testing {

// What these tests share. Thread safety: one thread.
class E2eTest : public CliTest {
 protected:
  PeerProcess::Setup NodeExporter() const { return testing::NodeExporter(directory_); }
  std::vector<std::string> Served(int port) const {
    return {"--db",
            Path("db"),
            "--otlp-grpc-listen",
            "off",
            "--otlp-http-listen",
            "off",
            "--listen",
            "127.0.0.1:" + std::to_string(port)};
  }
  std::string Directory(const std::string& name) const {
    std::filesystem::create_directory(Path(name));
    return Path(name);
  }

  // Asks until `done`, for two minutes.
  template <typename Done>
  static void Await(const char* what, const Done& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << what << " did not come within two minutes";
    }
  }
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_E2E_E2E_TEST_H_
