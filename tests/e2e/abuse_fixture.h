// chronolithd with small limits under requests that are wrong, good ones between them, and the books on what it must hold.
#ifndef CHRONOLITH_TESTS_E2E_ABUSE_FIXTURE_H_
#define CHRONOLITH_TESTS_E2E_ABUSE_FIXTURE_H_

#include <grpcpp/generic/generic_stub.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "interop/remote_write_message.h"
#include "tests/e2e/e2e_test.h"
#include "tests/server/raw_client.h"

namespace chronolith::testing {

inline constexpr std::int64_t kGoodStart = 1'760'000'000'000;
inline constexpr std::uint64_t kBodyMax = 4 << 20, kDecodedMax = 8 << 20;

inline constexpr const char* kWriteType1 = "application/x-protobuf";
inline constexpr const char* kWriteType2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
inline constexpr const char* kOtlpType = "application/x-protobuf";
inline constexpr const char* kJsonType = "application/json";

std::string Snappy(std::string_view bytes);
std::string Gzip(std::string_view bytes);
std::string Repeated(std::string_view text, int times);
// Header lines for Post.
std::string TypeAndEncoding(std::string_view type, std::string_view encoding = {});

// Thread safety: one thread.
class AbuseTest : public E2eTest {
 protected:
  // Of limits that add up to some 160 MiB.
  void Start(const std::vector<std::string>& more = {});
  // Good requests work, all that is stored is what good ones have stored, and the process has stayed within its bound; then it ends
  // orderly, and the database is sound.
  void TearDown() override;

  std::uint16_t port() const { return static_cast<std::uint16_t>(server_->port()); }
  // Over a connection that is kept as long as the server keeps it.
  RawAnswer Ask(const std::string& request);
  int PostWrite(std::string_view type, std::string_view body) {
    return Ask(Post("/api/v1/write", body, TypeAndEncoding(type, "snappy"))).status;
  }
  int PostRead(std::string_view body) { return Ask(Post("/api/v1/read", body, TypeAndEncoding(kWriteType1, "snappy"))).status; }
  int PostOtlp(std::string_view type, std::string_view body, std::string_view encoding = {}) {
    return Ask(Post("/v1/metrics", body, TypeAndEncoding(type, encoding))).status;
  }
  // Any bytes as the message of MetricsService/Export, or of another method.
  grpc::StatusCode CallGrpc(std::string_view bytes, const std::string& method = kExport);

  // A good write by each protocol, and all that is stored is read back: nothing of what is not good is there.
  void GoodWorks();
  // Series that the books leave out: those that a test's flipped bytes may have made.
  void LeaveOut(const std::string& prefix) { left_out_.push_back(prefix); }

  // Of this process, for so many connections.
  static void RaiseFileLimit(std::uint64_t needed);
  static std::uint64_t StatusBytes(pid_t pid, const std::string& field);  // "VmRSS", "VmHWM"
  double Metric(const std::string& name);

  static constexpr const char* kExport = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
  std::unique_ptr<ServerProcess> server_;
  int grpc_port_ = 0;

  // Of all series that the books know: labels -> what else the line of the export says of it.
  std::map<std::string, nlohmann::json> Stored();
  // What is stored now was meant to be.
  void TakeIntoTheBooks() { books_ = Stored(); }

 private:
  void WriteGood(std::int64_t value);

  std::unique_ptr<RawClient> client_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::vector<std::string> left_out_;
  std::map<std::string, nlohmann::json> books_;
  std::vector<std::int64_t> good_, good_times_;  // of each road
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_E2E_ABUSE_FIXTURE_H_
