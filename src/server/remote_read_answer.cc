#include "server/remote_read_answer.h"

#include <algorithm>
#include <array>

#include "interop/remote_compression.h"
#include "interop/remote_read_message.h"
#include "interop/remote_write_message.h"

namespace chronolith::server {
namespace {

constexpr std::size_t kFirstBytes = 64 << 10;
constexpr std::size_t kEndsBytes = 2 * interop::kRemoteReadPartBytesMax;  // of a series and of its result

}  // namespace

Status RemoteReadAnswer::AddResult(SeriesSet* set) {
  if (Status s = Room(0); !s.ok()) return s;
  const std::size_t place = interop::BeginRemoteReadResult(&message_);
  while (set != nullptr && set->Next()) {
    if (Status s = AddSeries(set); !s.ok()) return s;
  }
  if (set != nullptr && !set->status().ok()) return set->status();
  interop::EndRemoteReadPart(place, &message_);
  return Status::Ok();
}

Status RemoteReadAnswer::AddSeries(SeriesSet* set) {
  piece_.clear();
  interop::AppendRemoteWriteLabels(set->labels(), &piece_);
  if (Status s = Room(piece_.size()); !s.ok()) return s;
  const std::size_t place = interop::BeginRemoteReadSeries(&message_);
  message_.append(piece_);
  SampleIterator& in = set->samples();
  std::array<Timestamp, 256> timestamps;
  std::array<double, 256> values;
  for (bool more = true; more;) {
    const std::size_t n = in.NextFloats(timestamps.data(), values.data(), values.size());
    for (std::size_t i = 0; i < n; ++i) samples_.push_back({timestamps[i], values[i]});
    if (n == 0) {
      const ValueType type = in.Next();
      more = type != ValueType::kNone;
      if (type == ValueType::kFloat) {
        samples_.push_back({in.timestamp(), in.value()});
      } else if (more) {
        histograms_.push_back({in.timestamp(), in.histogram()});
      }
    }
    if (more && samples_.size() + values.size() <= kPieceSamples && histograms_.size() < kPieceHistograms) continue;
    if (Status s = WriteSamples(); !s.ok()) return s;
  }
  if (Status s = in.status(); !s.ok()) return s;
  interop::EndRemoteReadPart(place, &message_);
  return Status::Ok();
}

Status RemoteReadAnswer::WriteSamples() {
  piece_.clear();
  interop::AppendTimeSeries1({.labels = {}, .samples = samples_, .histograms = histograms_, .exemplars = {}, .metadata = {}},
                             &piece_);
  samples_.clear();
  histograms_.clear();
  if (Status s = Room(piece_.size()); !s.ok()) return s;
  message_.append(piece_);
  return Status::Ok();
}

Status RemoteReadAnswer::Finish(std::string* compressed) {
  const std::uint64_t held = message_.capacity();
  if (Status s = Take(held + interop::CompressedBytesMax(message_.size())); !s.ok()) return s;
  *compressed = interop::CompressBlock(message_);
  std::string().swap(message_);
  compressed->shrink_to_fit();
  share_->ShrinkTo(others_ + compressed->capacity());
  return Status::Ok();
}

Status RemoteReadAnswer::Room(std::size_t bytes) {
  const std::size_t needed = message_.size() + bytes + kEndsBytes;
  if (message_.size() + bytes > bytes_max_) return TooLarge(bytes_max_);
  if (needed <= message_.capacity()) return Status::Ok();
  const std::size_t capacity = std::max({needed, 2 * message_.capacity(), kFirstBytes});
  if (Status s = Take(message_.capacity() + capacity); !s.ok()) return s;
  message_.reserve(capacity);
  share_->ShrinkTo(others_ + capacity);
  return Status::Ok();
}

Status RemoteReadAnswer::Take(std::uint64_t bytes) {
  if (share_->GrowTo(others_ + bytes)) return Status::Ok();
  if (share_->hopeless()) return TooLarge(share_->limit_bytes(), ", or raise --max-in-flight-bytes");
  refusal_ = Refusal::kNoMemory;
  return share_->refusal();
}

Status RemoteReadAnswer::TooLarge(std::uint64_t bytes, const char* or_else) {
  refusal_ = Refusal::kTooLarge;
  return InvalidArgument("the answer takes more than " + std::to_string(bytes) +
                         " bytes of memory: ask for less, or accept STREAMED_XOR_CHUNKS, which has no such bound" + or_else);
}

}  // namespace chronolith::server
