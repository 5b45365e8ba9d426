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
constexpr const char* kJsonType = "application/json";
constexpr const char* kProtobufType = "application/x-protobuf";

enum class Form { kProtobuf, kJson };

std::string_view TrimmedType(std::string_view content_type) {
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

// Else protobuf.
Form FormOf(const HttpRequest& request) {
  return EqualIgnoringCase(TrimmedType(request.Header("Content-Type")), kJsonType) ? Form::kJson : Form::kProtobuf;
}

const char* TypeOf(Form form) { return form == Form::kJson ? kJsonType : kProtobufType; }

std::string StatusBody(Form form, RpcCode code, const std::string& message) {
  if (form == Form::kJson) return interop::otlp::StatusJson(static_cast<int>(code), message);
  google::rpc::Status error;
  error.set_code(static_cast<int>(code));
  error.set_message(message);
  return error.SerializeAsString();
}

HttpResponse Answer(Form form, int status, std::string body) {
  HttpResponse response{.status = status, .body = std::move(body)};
  response.SetHeader("Content-Type", TypeOf(form));
  return response;
}

// Of every status that is answered here. As gRPC's table for proxies that answer in HTTP (404 is UNIMPLEMENTED there); with 413 as
// gRPC itself says that a message is too large, and 408 and 500 as google/rpc/code.proto maps them.
RpcCode RpcCodeOfHttp(int status) {
  switch (status) {
    case 401:
      return RpcCode::kUnauthenticated;
    case 403:
      return RpcCode::kPermissionDenied;
    case 404:
    case 405:
    case 501:
      return RpcCode::kUnimplemented;
    case 408:
      return RpcCode::kDeadlineExceeded;
    case 413:
    case 429:
    case 431:
      return RpcCode::kResourceExhausted;
    case 500:
      return RpcCode::kInternal;
    case 502:
    case 503:
    case 504:
      return RpcCode::kUnavailable;
    default:
      return status < 500 ? RpcCode::kInvalidArgument : RpcCode::kUnknown;
  }
}

// The text becomes the message of a google.rpc.Status.
void ShapeRefusal(const HttpRequest& request, HttpResponse* refusal) {
  const Form form = FormOf(request);
  std::string message = std::move(refusal->body);
  while (message.ends_with('\n')) message.pop_back();
  refusal->body = StatusBody(form, RpcCodeOfHttp(refusal->status), message);
  std::erase_if(refusal->headers, [](const auto& header) { return EqualIgnoringCase(header.first, "Content-Type"); });
  refusal->SetHeader("Content-Type", TypeOf(form));
}

HttpResponse Error(Form form, int status, const std::string& message) {
  HttpResponse response = Answer(form, status, StatusBody(form, RpcCodeOfHttp(status), message));
  if (status == 429 || status == 503) response.SetHeader("Retry-After", std::to_string(kRetrySeconds));
  return response;
}

HttpResponse Error(Form form, const Status& status) {
  const RpcCode code = RpcCodeOf(status);
  const bool too_large = status.code() == StatusCode::kFailedPrecondition;
  const int http = too_large ? 413 : code == RpcCode::kInvalidArgument ? 400 : code == RpcCode::kResourceExhausted ? 429 : 503;
  return Error(form, http, status.message());
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
  const Form form = FormOf(request);
  if (form != Form::kJson && !EqualIgnoringCase(TrimmedType(request.Header("Content-Type")), kProtobufType)) {
    return Error(form, 415, "the Content-Type must be application/x-protobuf or application/json");
  }
  AckLevel level = receiver->options().level;
  if (const std::string_view word = request.Header("X-Chronolith-Ack-Level"); !word.empty() && !ParseAckLevel(word, &level)) {
    return Error(form, 400, "X-Chronolith-Ack-Level must be queued, logged or synced");
  }
  MemoryShare share(in_flight, request.body.size());
  std::string decoded;
  std::string_view body = request.body;
  if (const std::string_view coding = request.Header("Content-Encoding"); EqualIgnoringCase(coding, "gzip")) {
    const Status status = Inflate(body, receiver->options().decoded_bytes_max, &share, &decoded);
    if (!status.ok()) return Error(form, status);
    body = decoded;
  } else if (!coding.empty() && !EqualIgnoringCase(coding, "identity")) {
    return Error(form, 415, "the Content-Encoding must be gzip or identity");
  }
  std::string wire;
  if (form == Form::kJson) {
    if (!share.Grow(body.size() * kJsonMemory)) return Error(form, share.refusal());
    Result<std::string> read = interop::otlp::JsonToWire(body, *ExportMetricsServiceRequest::descriptor());
    if (!read.ok()) return Error(form, read.status());
    wire = std::move(*read);
    body = wire;
  }
  const interop::otlp::MetricsWritten written = receiver->Write(body, level, kNoDeadline, &share);
  return written.status.ok() ? Success(form, written) : Error(form, written.status);
}

}  // namespace

void AddOtlpHandler(OtlpReceiver* receiver, MemoryBudget* in_flight, Router* router) {
  router->ShapeRefusals("/v1/", ShapeRefusal);  // traces and logs too, which senders may try
  router->Add({.method = "POST",
               .pattern = "/v1/metrics",
               .handler = [receiver, in_flight](const HttpRequest& request) { return Handle(receiver, in_flight, request); },
               .body_bytes_max = receiver->options().body_bytes_max,
               .thread = RouteThread::kWriter});
}

}  // namespace chronolith::server
