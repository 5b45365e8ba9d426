#include "ops/store_copy.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "ops/series_piece.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {
namespace {

class StoreCopy {
 public:
  StoreCopy(const OpsContext& context, Storage* source, Storage* target, const StoreCopyOptions& options, StoreCopyReport* report)
      : context_(context),
        source_(StorageImpl::Of(source)),
        target_(target),
        options_(options),
        report_(report),
        appender_(target->NewAppender()),
        position_(options.position) {}

  Status Run() {
    const Result<Timestamp> floor = source_->Floor();
    if (!floor.ok()) return floor.status();
    if (Status s = StorageImpl::Of(target_)->RaiseFloor(*floor); !s.ok()) return s;
    const Result<std::vector<SeriesRef>> ids = source_->SeriesIds({});
    if (!ids.ok()) return ids.status();
    context_.Begin("copying", ids->size(), "series");
    context_.Add(std::min<std::uint64_t>(position_, ids->size()));
    const std::size_t at_once = options_.series_at_once;
    for (std::size_t begin = position_ / at_once * at_once; begin < ids->size(); begin += at_once) {
      const auto refs = std::span(*ids).subspan(begin, std::min(at_once, ids->size() - begin));
      auto piece = SeriesPiece::Open(source_, refs, {.skip = position_ - begin, .cancelled = context_.cancelled});
      if (!piece.ok()) return piece.status();
      while ((*piece)->Next()) {
        if (Status s = OneSeries(piece->get()); !s.ok()) return s.WithContext((*piece)->labels().ToString());
        ++position_;
        context_.Add(1);
        if (unreported_ + buffered_ < options_.batch_items) continue;
        if (Status s = EndBatch(); !s.ok()) return s;
      }
      if (Status s = (*piece)->status(); !s.ok()) return s;
      position_ = begin + refs.size();
      if (Status s = EndBatch(); !s.ok()) return s;
    }
    return Status::Ok();
  }

 private:
  // What is created of a series that has nothing would stay in the target.
  Status Ref() {
    if (ref_.id != 0) return Status::Ok();
    const Result<SeriesRef> ref = appender_->Ref(*labels_);
    if (!ref.ok()) return ref.status();
    ref_ = *ref;
    return Status::Ok();
  }

  Status OneSeries(SeriesPiece* piece) {
    ref_ = {};
    labels_ = &piece->labels();
    StoreFigures& copied = report_->copied;
    Result<std::optional<Metadata>> metadata = piece->SeriesMetadata();
    if (!metadata.ok()) return metadata.status();
    if (metadata->has_value()) {
      if (Status s = Ref(); !s.ok()) return s;
      appender_->SetMetadata(ref_, std::move(**metadata));
      ++copied.metadata;
      ++buffered_;
    }
    if (Status s = Samples(piece->samples()); !s.ok()) return s;
    Result<std::vector<Exemplar>> exemplars = piece->Exemplars();
    if (!exemplars.ok()) return exemplars.status();
    for (Exemplar& exemplar : *exemplars) {
      if (Status s = Ref(); !s.ok()) return s;
      appender_->AppendExemplar(ref_, std::move(exemplar));
      ++copied.exemplars;
      ++buffered_;
    }
    ++(ref_.id == 0 ? report_->without_data : copied.series);
    return Status::Ok();
  }

  Status Samples(SampleIterator* samples) {
    SampleReader reader(samples);
    for (ValueType type = reader.Next(); type != ValueType::kNone; type = reader.Next()) {
      if (Status s = Ref(); !s.ok()) return s;
      if (type == ValueType::kFloat) {
        appender_->Append(ref_, reader.timestamp(), reader.value());
        ++report_->copied.samples;
      } else {
        appender_->AppendHistogram(ref_, reader.timestamp(), reader.histogram());
        ++report_->copied.histograms;
      }
      if (++buffered_ < options_.batch_items) continue;
      if (Status s = Commit(); !s.ok()) return s;
    }
    return reader.status();
  }

  Status Commit() {
    if (Status s = context_.CheckCancelled(); !s.ok()) return s;
    unreported_ += std::exchange(buffered_, 0);
    return appender_->Commit().status;  // partly refused, it is not ok
  }

  // At the end of a series.
  Status EndBatch() {
    if (position_ == reported_) return Status::Ok();
    if (Status s = Commit(); !s.ok()) return s;
    unreported_ = 0;
    reported_ = position_;
    return options_.on_batch ? options_.on_batch(position_) : Status::Ok();
  }

  const OpsContext& context_;
  StorageImpl* const source_;
  Storage* const target_;
  const StoreCopyOptions& options_;
  StoreCopyReport* const report_;
  const std::unique_ptr<Appender> appender_;
  std::uint64_t position_;
  std::uint64_t reported_ = position_;
  std::size_t buffered_ = 0;    // items in the appender
  std::size_t unreported_ = 0;  // items that were committed since the last batch ended
  SeriesRef ref_;               // of the series at hand in the target; 0: not there yet
  const Labels* labels_ = nullptr;
};

}  // namespace

void StoreFigures::Add(const StoreFigures& other) {
  series += other.series;
  samples += other.samples;
  histograms += other.histograms;
  exemplars += other.exemplars;
  metadata += other.metadata;
}

Status CopyStore(const OpsContext& context, Storage* source, Storage* target, const StoreCopyOptions& options,
                 StoreCopyReport* report) {
  return StoreCopy(context, source, target, options, report).Run();
}

}  // namespace chronolith::ops
