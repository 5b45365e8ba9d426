#include "server/remote_read_handler.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/memory_share.h"
#include "interop/remote_compression.h"
#include "interop/remote_read_message.h"
#include "ops/lookup.h"
#include "ops/prometheus_chunks.h"
#include "server/api_response.h"
#include "server/remote_read_answer.h"

namespace chronolith::server {
namespace {

class RemoteRead {
 public:
  RemoteRead(Storage* storage, MemoryBudget* in_flight, const RemoteReadOptions& options)
      : storage_(storage), in_flight_(in_flight), options_(options) {}

  HttpResponse Handle(const HttpRequest& request) const {
    const std::string_view encoding = request.Header("Content-Encoding");
    if (!encoding.empty() && !EqualIgnoringCase(encoding, "snappy")) {
      return HttpResponse::Text(415, "Content-Encoding '" + std::string(encoding) + "' is not taken: compress with snappy");
    }
    auto read = std::make_shared<Read>(in_flight_, request.body.size());
    std::uint64_t length = 0;
    if (auto refusal = RefuseSnappy(request.body, options_.decoded_bytes_max, &read->share, &length)) return std::move(*refusal);
    Result<interop::RemoteReadRequest> asked = Decode(request.body, length);
    if (!asked.ok()) return TextError(asked.status());

    // All of them before the first byte is answered, so that what is wrong with one gets its own status.
    const Deadline deadline = std::chrono::steady_clock::now() + options_.timeout;
    for (const interop::RemoteReadQuery& query : asked->queries) {
      if (query.range.empty()) {
        read->sets.push_back(nullptr);
        continue;
      }
      Result<std::unique_ptr<SeriesSet>> set =
          ops::Select(storage_, query.matchers, query.range, {.deadline = deadline, .cancelled = request.cancelled, .among = {}},
                      {.share = &read->share});
      if (set.status().code() == StatusCode::kFailedPrecondition) return HttpResponse::Text(413, set.status().message());
      if (!set.ok()) return TextError(set.status());
      read->sets.push_back(std::move(*set));
    }
    return asked->form == interop::RemoteReadForm::kSamples ? Samples(read.get()) : Stream(std::move(read));
  }

 private:
  struct Read {
    Read(MemoryBudget* in_flight, std::uint64_t body_bytes) : share(in_flight, body_bytes) {}
    MemoryShare share;                             // of the request, and of the answer while it is made
    std::vector<std::unique_ptr<SeriesSet>> sets;  // null: of an empty range
  };

  static Result<interop::RemoteReadRequest> Decode(std::string_view body, std::uint64_t length) {
    std::string message(length, '\0');
    if (Status s = interop::UncompressTo(body, message.data()); !s.ok()) return s;
    return interop::DecodeRemoteReadRequest(message);
  }

  HttpResponse Samples(Read* read) const {
    RemoteReadAnswer answer(options_.samples_bytes_max, &read->share);
    Status status;
    for (std::unique_ptr<SeriesSet>& set : read->sets) {
      if (status = answer.AddResult(set.get()); !status.ok()) break;
      set.reset();
    }
    std::string body;
    if (status.ok()) status = answer.Finish(&body);
    switch (answer.refusal()) {
      case RemoteReadAnswer::Refusal::kNone:
        break;
      case RemoteReadAnswer::Refusal::kTooLarge:
        return HttpResponse::Text(413, status.message());
      case RemoteReadAnswer::Refusal::kNoMemory:
        return NoMemory(read->share);
    }
    if (status.code() == StatusCode::kFailedPrecondition) return HttpResponse::Text(413, status.message());
    if (!status.ok()) return TextError(status);
    return {.headers = {{"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "snappy"}}, .body = std::move(body)};
  }

  HttpResponse Stream(std::shared_ptr<Read> read) const {
    HttpResponse response;
    response.SetHeader("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    response.failure = TextError;
    response.stream = [read = std::move(read), frame_max = options_.frame_bytes_max](BodyWriter& to) {
      Frames frames(&to, frame_max);
      for (std::size_t i = 0; i < read->sets.size(); ++i) {
        SeriesSet* const set = read->sets[i].get();
        while (set != nullptr && set->Next()) {
          if (Status s = frames.Series(i, set); !s.ok()) return s;
        }
        if (set != nullptr && !set->status().ok()) return set->status();
        read->sets[i].reset();
      }
      return Status::Ok();
    };
    return response;
  }

  // Frames of one series each, as Prometheus sends them.
  class Frames {
   public:
    Frames(BodyWriter* to, std::size_t frame_max) : to_(to), frame_max_(frame_max) {}

    Status Series(std::size_t query, SeriesSet* set) {
      frame_.Begin(set->labels());
      const auto take = [&](const PrometheusChunk& chunk) {
        if (!frame_.empty() && frame_.data_bytes() + chunk.data.size() > frame_max_) {
          if (Status s = to_->Write(frame_.End(query)); !s.ok()) return s;
          frame_.Begin(set->labels());
        }
        frame_.Add(chunk);
        return Status::Ok();
      };
      if (Status s = ops::ForEachPrometheusChunk(&set->chunks(), ops::CustomBuckets::kEncode, std::ref(take)); !s.ok()) return s;
      return frame_.empty() ? Status::Ok() : to_->Write(frame_.End(query));
    }

   private:
    BodyWriter* const to_;
    const std::size_t frame_max_;
    interop::RemoteReadFrame frame_;
  };

  Storage* const storage_;
  MemoryBudget* const in_flight_;
  const RemoteReadOptions options_;
};

}  // namespace

void AddRemoteReadHandler(Storage* storage, MemoryBudget* in_flight, const RemoteReadOptions& options, Router* router) {
  router->ShapeRefusals("/api/v1/read", [](const HttpRequest&, HttpResponse*) {});  // plain text, as its other errors
  router->Add({.method = "POST",
               .pattern = "/api/v1/read",
               .handler = [read = RemoteRead(storage, in_flight, options)](const HttpRequest& r) { return read.Handle(r); },
               .body_bytes_max = options.request_bytes_max});
}

}  // namespace chronolith::server
