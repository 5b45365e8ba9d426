#include "ops/series_piece.h"

#include <algorithm>
#include <span>

#include "query/label_order.h"
#include "storage/storage_impl.h"

namespace chronolith::ops {

Result<std::unique_ptr<SeriesPiece>> SeriesPiece::Open(Storage* storage, std::vector<SeriesRef> refs, std::size_t skip,
                                                       const std::atomic<bool>* cancelled) {
  std::unique_ptr<SeriesPiece> piece(new SeriesPiece);
  std::vector<Labels> labels;
  if (Status s = StorageImpl::Of(storage)->LabelsOf(refs, &labels); !s.ok()) return s;
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
  SelectOptions options;
  options.cancelled = cancelled;
  options.among = piece->refs_;
  auto set = storage->Select({}, TimeRange{}, options);
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
