#include "server/otlp_http.h"

#include <string>
#include <utility>

#include "interop/otlp/json.h"
#include "interop/otlp/metrics_service.pb.h"
#include "interop/otlp/rpc_status.pb.h"
#include "server/inflate.h"
#include "server/remote_write_handler.h"

namespace chronolith::server {
namespace {

using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
using ::opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceResponse;

// What reading JSON takes, and the message that is made of it, by byte of the text.
constexpr std::uint64_t kJsonMemory = 10;
constexpr int kRetrySeconds = 1;

enum class Form { kProtobuf, kJson };

std::string_view TrimmedType(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

HttpResponse Answer(Form form, int status, std::string body) {
  HttpResponse response{.status = status, .body = std::move(body)};
  response.SetHeader("Content-Type", form == Form::kJson ? "application/json" : "application/x-protobuf");
  return response;
}

HttpResponse Error(Form form, int status, RpcCode code, const std::string& message) {
  std::string body;
  if (form == Form::kJson) {
    body = interop::otlp::StatusJson(static_cast<int>(code), message);
  } else {
    google::rpc::Status error;
    error.set_code(static_cast<int>(code));
    error.set_message(message);
    body = error.SerializeAsString();
  }
  HttpResponse response = Answer(form, status, std::move(body));
  if (status == 429 || status == 503) response.SetHeader("Retry-After", std::to_string(kRetrySeconds));
  return response;
}

HttpResponse Error(Form form, const Status& status) {
  const RpcCode code = RpcCodeOf(status);
  const int http = code == RpcCode::kInvalidArgument ? 400 : code == RpcCode::kResourceExhausted ? 429 : 503;
  return Error(form, http, code, status.message());
}

HttpResponse Success(Form form, const interop::otlp::MetricsWritten& written) {
  if (form == Form::kJson) return Answer(form, 200, interop::otlp::ResponseJson(written.rejected, written.message));
  ExportMetricsServiceResponse response;
  if (written.rejected > 0 || !written.message.empty()) {
    response.mutable_partial_success()->set_rejected_data_points(static_cast<std::int64_t>(written.rejected));
    response.mutable_partial_success()->set_error_message(written.message);
  }
  return Answer(form, 200, response.SerializeAsString());
}

HttpResponse Handle(OtlpReceiver* receiver, MemoryBudget* in_flight, const HttpRequest& request) {
  Form form = Form::kProtobuf;
  const std::string_view type = TrimmedType(request.Header("Content-Type"));
  if (EqualIgnoringCase(type, "application/json")) {
    form = Form::kJson;
  } else if (!EqualIgnoringCase(type, "application/x-protobuf")) {
    return Error(form, 415, RpcCode::kInvalidArgument, "the Content-Type must be application/x-protobuf or application/json");
  }
  AckLevel level = receiver->options().level;
  if (const std::string_view word = request.Header("X-Chronolith-Ack-Level"); !word.empty() && !ParseAckLevel(word, &level)) {
    return Error(form, 400, RpcCode::kInvalidArgument, "X-Chronolith-Ack-Level must be queued, logged or synced");
  }
  MemoryShare share(in_flight);
  std::string decoded;
  std::string_view body = request.body;
  if (const std::string_view coding = request.Header("Content-Encoding"); EqualIgnoringCase(coding, "gzip")) {
    const Status status = Inflate(body, receiver->options().decoded_bytes_max, &share, &decoded);
    if (status.code() == StatusCode::kFailedPrecondition) {
      return Error(form, 413, RpcCode::kInvalidArgument, status.message());
    }
    if (!status.ok()) return Error(form, status);
    body = decoded;
  } else if (!coding.empty() && !EqualIgnoringCase(coding, "identity")) {
    return Error(form, 415, RpcCode::kInvalidArgument, "the Content-Encoding must be gzip or identity");
  }
  std::string wire;
  if (form == Form::kJson) {
    if (!share.Grow(body.size() * kJsonMemory)) {
      return Error(form, ResourceExhausted("other requests have taken the memory that there is for them"));
    }
    Result<std::string> read = interop::otlp::JsonToWire(body, *ExportMetricsServiceRequest::descriptor());
    if (!read.ok()) return Error(form, read.status());
    wire = std::move(*read);
    body = wire;
  }
  const interop::otlp::MetricsWritten written = receiver->Write(body, level, kNoDeadline);
  return written.status.ok() ? Success(form, written) : Error(form, written.status);
}

}  // namespace

void AddOtlpHandler(OtlpReceiver* receiver, MemoryBudget* in_flight, Router* router) {
  router->Add({.method = "POST",
               .pattern = "/v1/metrics",
               .handler = [receiver, in_flight](const HttpRequest& request) { return Handle(receiver, in_flight, request); },
               .body_bytes_max = receiver->options().body_bytes_max});
}

}  // namespace chronolith::server
