#include "ops/bulk_writer.h"

#include <algorithm>

namespace chronolith::ops {

BulkWriter::BulkWriter(Storage* storage, AckLevel level, std::size_t batch)
    : storage_(storage), level_(level), batch_(batch), appender_(storage == nullptr ? nullptr : storage->NewAppender()) {}

Status BulkWriter::Refuse() {
  ++refused_;
  return Status::Ok();
}

// Refusals of what was given are counted; all else is an error.
Status BulkWriter::Judge(const WriteResult& result) {
  for (const Refusal& refusal : result.refused) {
    if (refusal.reason.code() != StatusCode::kInvalidArgument && refusal.reason.code() != StatusCode::kAlreadyExists &&
        refusal.reason.code() != StatusCode::kNotFound) {
      return refusal.reason;
    }
    if (reasons_.size() < kReasonsKept) reasons_.push_back(refusal.reason.message());
  }
  return result.refused.empty() ? result.status : Status::Ok();
}

Status BulkWriter::Resolve(std::span<const Labels> labels, std::vector<SeriesRef>* refs) {
  if (appender_ == nullptr) {
    refs->assign(labels.size(), SeriesRef{1});
    return Status::Ok();
  }
  return Judge(appender_->Refs(labels, refs));
}

Status BulkWriter::AppendHistogram(SeriesRef ref, HistogramSample histogram) {
  if (ref.id == 0) return Refuse();
  if (appender_ != nullptr) appender_->AppendHistogram(ref, histogram.timestamp, std::move(histogram.histogram));
  ++pending_.histograms;
  return Appended(kHistogramWeight);
}

Status BulkWriter::AppendExemplar(SeriesRef ref, Exemplar exemplar) {
  if (ref.id == 0) return Refuse();
  if (appender_ != nullptr) appender_->AppendExemplar(ref, std::move(exemplar));
  ++pending_.exemplars;
  return Appended();
}

Status BulkWriter::SetMetadata(SeriesRef ref, Metadata metadata) {
  if (ref.id == 0) return Refuse();
  if (appender_ != nullptr) appender_->SetMetadata(ref, std::move(metadata));
  ++pending_.metadata;
  return Appended();
}

Status BulkWriter::Commit() {
  WriteResult result;
  if (appender_ != nullptr) {
    result = appender_->Commit({.level = AckLevel::kQueued});
    if (Status s = Judge(result); !s.ok()) return s;
  }
  for (const Refusal& refusal : result.refused) {
    ++refused_;
    const auto less = [](std::uint64_t* n) { *n -= *n > 0 ? 1 : 0; };
    if (refusal.what == Refusal::What::kHistogram) {
      less(&pending_.histograms);
    } else if (refusal.what == Refusal::What::kExemplar) {
      less(&pending_.exemplars);
    } else if (refusal.what == Refusal::What::kMetadata) {
      less(&pending_.metadata);
    } else {
      less(&pending_.samples);
    }
  }
  Status s = WaitForLast();
  sent_ = pending_;
  token_ = result.token;
  pending_ = {};
  appended_ = 0;
  return s;
}

Status BulkWriter::WaitForLast() {
  if (storage_ != nullptr && token_.generation != 0) {
    if (Status s = storage_->Wait(token_, level_); !s.ok()) return s;
  }
  written_.samples += sent_.samples;
  written_.histograms += sent_.histograms;
  written_.exemplars += sent_.exemplars;
  written_.metadata += sent_.metadata;
  sent_ = {};
  token_ = {};
  return Status::Ok();
}

Status BulkWriter::Finish() {
  if (Status s = Commit(); !s.ok()) return s;
  return WaitForLast();
}

}  // namespace chronolith::ops
