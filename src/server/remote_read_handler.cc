#include "server/remote_read_handler.h"

#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "interop/remote_compression.h"
#include "interop/remote_read_message.h"
#include "interop/remote_write_message.h"
#include "ops/prometheus_chunks.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;

// Bytes of an answer, counted while it grows.
class Growth {
 public:
  Growth(MemoryBudget* budget, std::uint64_t bytes_max) : budget_(budget), bytes_max_(bytes_max) {}
  ~Growth() { budget_->Release(taken_); }
  Growth(const Growth&) = delete;
  Growth& operator=(const Growth&) = delete;

  Status Reach(std::uint64_t bytes) {
    if (bytes > bytes_max_) {
      return InvalidArgument("the answer takes more than " + std::to_string(bytes_max_) +
                             " bytes of samples: ask for less, or accept STREAMED_XOR_CHUNKS, which has no such bound");
    }
    if (bytes <= taken_) return Status::Ok();
    constexpr std::uint64_t kStep = 1 << 20;
    const std::uint64_t more = (bytes - taken_ + kStep - 1) / kStep * kStep;
    if (!budget_->TryReserve(more)) return ResourceExhausted("the memory for answers is taken by other requests");
    taken_ += more;
    return Status::Ok();
  }

 private:
  MemoryBudget* const budget_;
  const std::uint64_t bytes_max_;
  std::uint64_t taken_ = 0;
};

class RemoteRead {
 public:
  RemoteRead(Storage* storage, MemoryBudget* in_flight, const RemoteReadOptions& options)
      : storage_(storage), in_flight_(in_flight), options_(options) {}

  HttpResponse Handle(const HttpRequest& request) const {
    const std::string_view encoding = request.Header("Content-Encoding");
    if (!encoding.empty() && !EqualIgnoringCase(encoding, "snappy")) {
      return HttpResponse::Text(415, "Content-Encoding '" + std::string(encoding) + "' is not taken: compress with snappy");
    }
    std::string message;
    if (const Status s = interop::UncompressBlock(request.body, options_.decoded_bytes_max, &message); !s.ok()) {
      return s.code() == StatusCode::kResourceExhausted ? HttpResponse::Text(413, s.message()) : TextError(s);
    }
    Result<interop::RemoteReadRequest> asked = interop::DecodeRemoteReadRequest(message);
    if (!asked.ok()) return TextError(asked.status());

    // All of them before the first byte is answered, so that what is wrong with one gets its own status.
    const Deadline deadline = std::chrono::steady_clock::now() + options_.timeout;
    auto sets = std::make_shared<Sets>();
    for (const interop::RemoteReadQuery& query : asked->queries) {
      if (query.range.empty()) {
        sets->push_back(nullptr);
        continue;
      }
      Result<std::unique_ptr<SeriesSet>> set =
          storage_->Select(query.matchers, query.range, {.deadline = deadline, .cancelled = request.cancelled, .among = {}});
      if (!set.ok()) return TextError(set.status());
      sets->push_back(std::move(*set));
    }
    return asked->form == interop::RemoteReadForm::kSamples ? Samples(*sets) : Stream(std::move(sets));
  }

 private:
  using Sets = std::vector<std::unique_ptr<SeriesSet>>;  // null: of an empty range

  HttpResponse Samples(const Sets& sets) const {
    Growth growth(in_flight_, options_.samples_bytes_max);
    std::string message, result;
    for (const std::unique_ptr<SeriesSet>& set : sets) {
      result.clear();
      if (set != nullptr) {
        const Status s = Result1(
            set.get(), [&] { return growth.Reach(message.size() + result.size()); }, &result);
        if (!s.ok()) return TextError(s);
      }
      interop::AppendRemoteReadResult(result, &message);
    }
    if (const Status s = growth.Reach(message.size()); !s.ok()) return TextError(s);
    return {.headers = {{"Content-Type", "application/x-protobuf"}, {"Content-Encoding", "snappy"}},
            .body = interop::CompressBlock(message)};
  }

  template <typename Reached>
  static Status Result1(SeriesSet* set, const Reached& reached, std::string* result) {
    std::vector<Sample> samples;
    std::vector<HistogramSample> histograms;
    std::string labels;
    while (set->Next()) {
      samples.clear();
      histograms.clear();
      if (Status s = ReadSamples(&set->samples(), &samples, &histograms); !s.ok()) return s;
      labels.clear();
      interop::AppendRemoteWriteLabels(set->labels(), &labels);
      interop::AppendRemoteReadSeries(labels, samples, histograms, result);
      if (Status s = reached(); !s.ok()) return s;
    }
    return set->status();
  }

  static Status ReadSamples(SampleIterator* in, std::vector<Sample>* samples, std::vector<HistogramSample>* histograms) {
    std::array<Timestamp, 256> timestamps;
    std::array<double, 256> values;
    while (true) {
      const std::size_t n = in->NextFloats(timestamps.data(), values.data(), values.size());
      for (std::size_t i = 0; i < n; ++i) samples->push_back({timestamps[i], values[i]});
      if (n > 0) continue;
      switch (in->Next()) {
        case ValueType::kNone:
          return in->status();
        case ValueType::kFloat:
          samples->push_back({in->timestamp(), in->value()});
          break;
        default:
          histograms->push_back({in->timestamp(), in->histogram()});
      }
    }
  }

  HttpResponse Stream(std::shared_ptr<Sets> sets) const {
    HttpResponse response;
    response.SetHeader("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    response.stream = [sets = std::move(sets), frame_max = options_.frame_bytes_max](BodyWriter& to) {
      Frames frames(&to, frame_max);
      for (std::size_t i = 0; i < sets->size(); ++i) {
        SeriesSet* const set = (*sets)[i].get();
        while (set != nullptr && set->Next()) {
          if (Status s = frames.Series(i, set); !s.ok()) return s;
        }
        if (set != nullptr && !set->status().ok()) return set->status();
        (*sets)[i].reset();
      }
      return frames.Flush();
    };
    return response;
  }

  // Frames of one series each, as Prometheus sends them.
  class Frames {
   public:
    Frames(BodyWriter* to, std::size_t frame_max) : to_(to), frame_max_(frame_max) {}

    Status Series(std::size_t query, SeriesSet* set) {
      labels_.clear();
      interop::AppendRemoteWriteLabels(set->labels(), &labels_);
      std::uint64_t left_out = 0;
      const auto take = [&](const PrometheusChunk& chunk) {
        if (!chunks_.empty() && data_.size() + chunk.data.size() > frame_max_) {
          if (Status s = Frame(query); !s.ok()) return s;
        }
        ends_.push_back(data_.size() + chunk.data.size());
        data_.append(chunk.data);
        chunks_.push_back(chunk);
        return Status::Ok();
      };
      if (Status s = ops::ForEachPrometheusChunk(&set->chunks(), take, &left_out); !s.ok()) return s;
      return chunks_.empty() ? Status::Ok() : Frame(query);
    }
    Status Flush() {
      if (out_.empty()) return Status::Ok();
      const Status s = to_->Write(out_);
      out_.clear();
      return s;
    }

   private:
    Status Frame(std::size_t query) {
      std::size_t begin = 0;
      for (std::size_t i = 0; i < chunks_.size(); ++i) {
        chunks_[i].data = std::string_view(data_).substr(begin, ends_[i] - begin);
        begin = ends_[i];
      }
      interop::AppendRemoteReadFrame(query, labels_, chunks_, &out_);
      chunks_.clear();
      ends_.clear();
      data_.clear();
      return out_.size() < kPieceBytes ? Status::Ok() : Flush();
    }

    BodyWriter* const to_;
    const std::size_t frame_max_;
    std::string labels_;
    // Of the frame that is being collected; a chunk's bytes live only while the series' cursor stands at it.
    std::string data_;
    std::vector<std::size_t> ends_;
    std::vector<PrometheusChunk> chunks_;
    std::string out_;
  };

  Storage* const storage_;
  MemoryBudget* const in_flight_;
  const RemoteReadOptions options_;
};

}  // namespace

void AddRemoteReadHandler(Storage* storage, MemoryBudget* in_flight, const RemoteReadOptions& options, Router* router) {
  router->Add({.method = "POST",
               .pattern = "/api/v1/read",
               .handler = [read = RemoteRead(storage, in_flight, options)](const HttpRequest& r) { return read.Handle(r); },
               .body_bytes_max = options.request_bytes_max});
}

}  // namespace chronolith::server
