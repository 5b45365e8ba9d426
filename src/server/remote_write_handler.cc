#include "server/remote_write_handler.h"

#include <string>
#include <utility>

#include "interop/remote_compression.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

using interop::RemoteWriteVersion;

// What a context may hold, to be kept for the next request: of its buffer, and of what is made of it.
constexpr std::size_t kBufferKept = 4 << 20;
constexpr std::size_t kWriterKept = 4 << 20;

prometheus::Counter& CounterOf(prometheus::Registry* registry, const char* name, const char* help,
                               const prometheus::Labels& labels = {}) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(*registry).Add(labels);
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// False: no version of remote write. None at all is 1.0, as Prometheus takes it.
bool VersionOf(std::string_view content_type, RemoteWriteVersion* version) {
  *version = RemoteWriteVersion::k1;
  if (content_type.empty()) return true;
  if (!EqualIgnoringCase(Trim(content_type.substr(0, content_type.find(';'))), "application/x-protobuf")) return false;
  for (std::size_t at = content_type.find(';'); at != std::string_view::npos; at = content_type.find(';', at + 1)) {
    const std::string_view rest = content_type.substr(at + 1);
    const std::string_view parameter = Trim(rest.substr(0, rest.find(';')));
    if (!EqualIgnoringCase(parameter.substr(0, 6), "proto=")) continue;
    std::string_view message = Trim(parameter.substr(6));
    if (message.size() >= 2 && message.front() == '"' && message.back() == '"') message = message.substr(1, message.size() - 2);
    if (message == "io.prometheus.write.v2.Request") {
      *version = RemoteWriteVersion::k2;
    } else if (message != "prometheus.WriteRequest") {
      return false;
    }
    return true;
  }
  return true;
}

// 2.0 asks for them with every answer, also where nothing was written.
HttpResponse WithCounts(HttpResponse response, const WriteOutcome& outcome) {
  response.SetHeader("X-Prometheus-Remote-Write-Samples-Written", std::to_string(outcome.samples));
  response.SetHeader("X-Prometheus-Remote-Write-Histograms-Written", std::to_string(outcome.histograms));
  response.SetHeader("X-Prometheus-Remote-Write-Exemplars-Written", std::to_string(outcome.exemplars));
  return response;
}

}  // namespace

bool ParseAckLevel(std::string_view word, AckLevel* level) {
  if (word == "queued") {
    *level = AckLevel::kQueued;
  } else if (word == "logged") {
    *level = AckLevel::kLogged;
  } else if (word == "synced") {
    *level = AckLevel::kSynced;
  } else {
    return false;
  }
  return true;
}

RemoteWriteHandler::RemoteWriteHandler(Storage* storage, const RemoteWriteHandlerOptions& options, MemoryBudget* in_flight,
                                       prometheus::Registry* registry)
    : options_(options),
      in_flight_(in_flight),
      shared_(storage, options.cache_bytes),
      samples_(
          CounterOf(registry, "chronolith_remote_write_written_total", "Items written by remote write.", {{"kind", "sample"}})),
      histograms_(
          CounterOf(registry, "chronolith_remote_write_written_total", "Items written by remote write.", {{"kind", "histogram"}})),
      exemplars_(
          CounterOf(registry, "chronolith_remote_write_written_total", "Items written by remote write.", {{"kind", "exemplar"}})),
      refused_(CounterOf(registry, "chronolith_remote_write_refused_total", "Items of remote write that were not written.")),
      hits_(CounterOf(registry, "chronolith_remote_write_series_cache_hits_total",
                      "Series of requests that were found by their bytes.")),
      misses_(CounterOf(registry, "chronolith_remote_write_series_cache_misses_total",
                        "Series of requests whose labels had to be read.")) {
  shared_.expanded_bytes_max = 4 * options.decoded_bytes_max;
  shared_.future_ms_max = options.future_ms_max;
  shared_.names = options.names;
  shared_.clock = options.clock != nullptr ? options.clock : Clock::System();
}

void RemoteWriteHandler::AddTo(Router* router) {
  router->ShapeRefusals("/api/v1/write",
                        [](const HttpRequest&, HttpResponse* refusal) { *refusal = WithCounts(std::move(*refusal), {}); });
  router->Add({.method = "POST",
               .pattern = "/api/v1/write",
               .handler = [this](const HttpRequest& request) { return Handle(request); },
               .body_bytes_max = options_.body_bytes_max,
               .thread = RouteThread::kEither});
}

std::unique_ptr<RemoteWriteHandler::Context> RemoteWriteHandler::Take() {
  std::unique_ptr<Context> context = idle_.Take();
  return context != nullptr ? std::move(context) : std::make_unique<Context>(&shared_);
}

void RemoteWriteHandler::GiveBack(std::unique_ptr<Context> context) {
  const std::size_t writer = context->writer.held_bytes();
  if (context->buffer_bytes > kBufferKept || writer > kWriterKept) return;
  const std::size_t bytes = context->buffer_bytes + 2 * writer;
  idle_.Give(std::move(context), bytes);
}

HttpResponse RemoteWriteHandler::Handle(const HttpRequest& request) {
  RemoteWriteVersion version;
  if (!VersionOf(request.Header("Content-Type"), &version)) {
    return WithCounts(
        HttpResponse::Text(415,
                           "the Content-Type must be application/x-protobuf, alone or with ;proto=prometheus.WriteRequest or "
                           ";proto=io.prometheus.write.v2.Request"),
        {});
  }
  if (const std::string_view coding = request.Header("Content-Encoding"); !coding.empty() && !EqualIgnoringCase(coding, "snappy")) {
    return WithCounts(HttpResponse::Text(415, "the Content-Encoding must be snappy (the block format)"), {});
  }
  AckLevel level = options_.level;
  if (const std::string_view word = request.Header("X-Chronolith-Ack-Level"); !word.empty() && !ParseAckLevel(word, &level)) {
    return WithCounts(HttpResponse::Text(400, "X-Chronolith-Ack-Level must be queued, logged or synced"), {});
  }
  MemoryShare share(in_flight_, request.body.size());
  std::uint64_t decoded = 0;
  if (auto refusal = RefuseSnappy(request.body, options_.decoded_bytes_max, &share, &decoded)) {
    return WithCounts(std::move(*refusal), {});
  }
  return Write(version, level, request.body, &share);
}

HttpResponse RemoteWriteHandler::Write(RemoteWriteVersion version, AckLevel level, std::string_view compressed,
                                       MemoryShare* share) {
  const std::size_t decoded = share->bytes();
  std::unique_ptr<Context> context = Take();
  if (context->buffer_bytes < decoded) {
    context->buffer_bytes = 0;
    context->buffer.reset();  // before there is another
    context->buffer.reset(new char[decoded]);
    context->buffer_bytes = decoded;
  }
  Status status = interop::UncompressTo(compressed, context->buffer.get());
  if (!status.ok()) {
    GiveBack(std::move(context));
    return WithCounts(HttpResponse::Text(400, status.message()), {});
  }
  WriteOutcome outcome;
  status = context->writer.Write(version, {context->buffer.get(), decoded}, level, share, &outcome);
  hits_.Increment(static_cast<double>(context->writer.cache_hits()));
  misses_.Increment(static_cast<double>(context->writer.cache_misses()));
  GiveBack(std::move(context));
  samples_.Increment(static_cast<double>(outcome.samples));
  histograms_.Increment(static_cast<double>(outcome.histograms));
  exemplars_.Increment(static_cast<double>(outcome.exemplars));
  refused_.Increment(static_cast<double>(outcome.refused()));

  const int code = status.ok()                                        ? outcome.HttpStatus()
                   : status.code() == StatusCode::kResourceExhausted  ? 429
                   : status.code() == StatusCode::kFailedPrecondition ? 413
                                                                      : 400;
  HttpResponse response{.status = code};
  if (code != 204) {
    std::string text = outcome.Text();
    if (!status.ok()) text = text.empty() ? status.message() : status.message() + "\n" + text;
    response = code == 429 || code == 503 ? HttpResponse::TryLater(code, text) : HttpResponse::Text(code, text);
  }
  return WithCounts(std::move(response), outcome);
}

}  // namespace chronolith::server
