// Any bytes as an OTLP request, in Protocol Buffers and in JSON. The first byte chooses. What is taken counts its points as the
// library's own parser does; nothing that it refuses is stored; JSON that is taken becomes bytes that it reads.
#include <google/protobuf/stubs/logging.h>

#include <memory>
#include <string>

#include "chronolith/storage.h"
#include "interop/otlp/json.h"
#include "interop/otlp/metrics_service.pb.h"
#include "interop/otlp/metrics_writer.h"
#include "tests/fuzz/fuzz_check.h"
#include "tests/support/temp_directory.h"

using namespace chronolith;
using namespace chronolith::interop::otlp;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;

namespace {

struct Target {
  Target() {
    google::protobuf::SetLogHandler(nullptr);  // it prints each string that is not UTF-8
    Options options;
    options.engine = "memory";
    options.shards = 1;
    options.max_series = 10'000;
    store = Storage::Open(options, directory / "db").value();
    MetricsWriterOptions writer_options;
    writer_options.future_ms_max = 0;
    writer_options.cache_bytes = 1 << 20;
    writer = std::make_unique<MetricsWriter>(store.get(), writer_options);
  }
  testing_support::TempDirectory directory;
  std::unique_ptr<Storage> store;  // outlives its writer
  std::unique_ptr<MetricsWriter> writer;
};

std::uint64_t PointsOf(const ExportMetricsServiceRequest& request) {
  std::uint64_t points = 0;
  for (const auto& resource : request.resource_metrics()) {
    for (const auto& scope : resource.scope_metrics()) {
      for (const auto& m : scope.metrics()) {
        points += static_cast<std::uint64_t>(m.gauge().data_points_size() + m.sum().data_points_size() +
                                             m.histogram().data_points_size() + m.summary().data_points_size() +
                                             m.exponential_histogram().data_points_size());
      }
    }
  }
  return points;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto target = std::make_unique<Target>();
  static int runs = 0;
  if (++runs % 4096 == 0) target = std::make_unique<Target>();  // what is stored adds up
  if (size == 0) return 0;
  std::string bytes(FuzzBytes(data + 1, size - 1));
  const bool json = data[0] % 2 == 1;
  ExportMetricsServiceRequest request;
  if (json) {
    auto wire = JsonToWire(bytes, *ExportMetricsServiceRequest::descriptor());
    if (!wire.ok()) return 0;
    bytes = std::move(*wire);
    FUZZ_CHECK(request.ParseFromString(bytes));
  }
  const MetricsWritten first = target->writer->Write(bytes, {}, nullptr);
  FUZZ_CHECK(first.status.ok() || first.status.code() == StatusCode::kInvalidArgument);
  FUZZ_CHECK(first.rejected <= first.points);
  FUZZ_CHECK(first.rejected == 0 || !first.message.empty());
  if (first.status.ok() && request.ParseFromString(bytes)) FUZZ_CHECK(first.points == PointsOf(request));
  // The second time identities are known; the answer is the same.
  const MetricsWritten second = target->writer->Write(bytes, {}, nullptr);
  FUZZ_CHECK(second.status.code() == first.status.code() && second.points == first.points && second.rejected == first.rejected);
  return 0;
}
