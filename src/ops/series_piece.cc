#include "ops/series_piece.h"

#include <algorithm>
#include <span>

#include "query/label_order.h"

namespace chronolith::ops {
namespace {

constexpr std::size_t kMetadataAtOnce = 256;  // of one series at most 16 KiB

}  // namespace

Result<std::unique_ptr<SeriesPiece>> SeriesPiece::Open(Storage* storage, std::vector<SeriesRef> refs,
                                                       const SeriesPieceOptions& options) {
  std::unique_ptr<SeriesPiece> piece(new SeriesPiece(StorageImpl::Of(storage), options));
  std::vector<Labels> labels;
  if (Status s = piece->storage_->LabelsOf(refs, &labels); !s.ok()) return s;
  std::size_t skip = options.skip;
  for (const std::uint32_t i : SortedByLabels(labels)) {
    if (labels[i].empty()) continue;
    if (skip > 0) {
      --skip;
      continue;
    }
    piece->refs_.push_back(refs[i]);
    piece->labels_.push_back(std::move(labels[i]));
  }
  if (piece->refs_.empty()) return piece;  // a Select among none would be one of all
  SelectOptions select;
  select.cancelled = options.cancelled;
  select.among = piece->refs_;
  auto set = storage->Select({}, options.range, select);
  if (!set.ok()) return set.status();
  piece->set_ = std::move(*set);
  piece->has_set_ = piece->set_->Next();
  piece->status_ = piece->set_->status();
  return piece;
}

bool SeriesPiece::Next() {
  if (!status_.ok() || next_ == refs_.size()) return false;
  if (next_ > 0 && samples_are_here()) {
    has_set_ = set_->Next();
    status_ = set_->status();
    if (!status_.ok()) return false;
  }
  at_ = next_++;
  return true;
}

bool SeriesPiece::samples_are_here() const { return has_set_ && set_->labels() == labels_[at_]; }

SampleIterator* SeriesPiece::samples() { return samples_are_here() ? &set_->samples() : nullptr; }

ChunkIterator* SeriesPiece::chunks() { return samples_are_here() ? &set_->chunks() : nullptr; }

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
