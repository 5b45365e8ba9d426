#include "ops/series_piece.h"

#include <algorithm>
#include <span>

#include "query/label_order.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kMetadataAtOnce = 256;  // of one series at most 16 KiB

}  // namespace

Result<std::unique_ptr<SeriesPiece>> SeriesPiece::Open(Storage* storage, std::span<const SeriesRef> refs,
                                                       const SeriesPieceOptions& options) {
  std::vector<Labels> labels;
  if (Status s = StorageImpl::Of(storage)->LabelsOf(refs, &labels); !s.ok()) return s;
  return Open(storage, refs, std::move(labels), options);
}

Result<std::unique_ptr<SeriesPiece>> SeriesPiece::Open(Storage* storage, std::span<const SeriesRef> refs,
                                                       std::vector<Labels> labels, const SeriesPieceOptions& options) {
  std::unique_ptr<SeriesPiece> piece(new SeriesPiece(StorageImpl::Of(storage), options));
  std::uint64_t bytes = 0;
  if (options.share != nullptr) {
    for (const Labels& one : labels) bytes += one.encoded().size() + sizeof(KnownSeries);
    piece->share_.reset(new MemoryShare(options.share->Another()));
    if (!piece->share_->Grow(3 * bytes)) return piece->share_->refusal();  // sorting them takes twice as much again
  }
  std::vector<KnownSeries> series;
  std::size_t skip = options.skip;
  for (const std::uint32_t i : SortedByLabels(labels)) {
    if (labels[i].empty()) continue;
    if (skip > 0) {
      --skip;
      continue;
    }
    piece->refs_.push_back(refs[i]);
    series.push_back({refs[i], std::move(labels[i])});
  }
  if (piece->share_ != nullptr) piece->share_->ShrinkTo(bytes);
  auto set = piece->storage_->Walk(std::move(series), options.range, {options.cancelled, piece->share_.get()});
  if (!set.ok()) return set.status();
  piece->set_ = std::move(*set);
  return piece;
}

bool SeriesPiece::Next() {
  if (!set_->Next()) return false;
  at_ = next_++;
  return true;
}

Result<std::vector<Exemplar>> SeriesPiece::Exemplars() {
  if (may_have_exemplars_.empty()) {
    Status s = storage_->MayHaveExemplars(refs_, options_.range, options_.cancelled, &may_have_exemplars_);
    if (!s.ok()) return s;
  }
  if (!may_have_exemplars_[at_]) return std::vector<Exemplar>();
  return storage_->ExemplarsOf(ref(), options_.range);
}

Result<std::optional<Metadata>> SeriesPiece::SeriesMetadata() {
  if (at_ < metadata_begin_ || at_ >= metadata_begin_ + metadata_.size()) {
    metadata_begin_ = at_;
    const auto some = std::span(refs_).subspan(at_, std::min(kMetadataAtOnce, refs_.size() - at_));
    if (Status s = storage_->MetadataOf(some, &metadata_); !s.ok()) return s;
  }
  return metadata_[at_ - metadata_begin_];
}

ValueType SampleReader::Next() {
  if (samples_ == nullptr) return ValueType::kNone;
  if (++at_ < count_) return type_ = ValueType::kFloat;
  at_ = 0;
  count_ = samples_->NextFloats(timestamps_.data(), values_.data(), kAtOnce);
  if (count_ > 0) return type_ = ValueType::kFloat;
  type_ = samples_->Next();
  if (type_ == ValueType::kFloat) {
    timestamps_[0] = samples_->timestamp();
    values_[0] = samples_->value();
    count_ = 1;
  }
  return type_;
}

}  // namespace chronolith::ops
