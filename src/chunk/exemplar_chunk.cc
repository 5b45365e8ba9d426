#include "chunk/exemplar_chunk.h"

#include <algorithm>
#include <bit>

namespace chronolith {
namespace {

// Whether `encoded` is pairs of length-prefixed strings and nothing else.
bool WellFormedLabels(std::string_view encoded) {
  ByteReader in(encoded);
  while (in.ok() && in.remaining() != 0) {
    in.LengthPrefixed();
    in.LengthPrefixed();
  }
  return in.ok();
}

}  // namespace

ExemplarAppender::ExemplarAppender() { StoreCountedHeader(kExemplarChunkVersion, 0, &data_); }

void ExemplarAppender::Append(const Exemplar& exemplar) {
  const std::string_view labels = exemplar.labels.encoded();
  const std::string_view before = last_labels_;
  const std::size_t shared =
      static_cast<std::size_t>(std::mismatch(labels.begin(), labels.end(), before.begin(), before.end()).first - labels.begin());
  const auto value = std::bit_cast<std::uint64_t>(exemplar.value);
  time_.Put(exemplar.timestamp, &data_);
  PutXorBytes(&data_, value ^ last_value_);
  PutVarint(&data_, shared);
  PutBytes(&data_, labels.substr(shared));
  last_value_ = value;
  last_labels_.assign(labels);
  StoreCountedHeader(kExemplarChunkVersion, ++count_, &data_);
}

std::string ExemplarAppender::Take() {
  std::string chunk = std::move(data_);
  *this = ExemplarAppender();
  return chunk;
}

ExemplarIterator::ExemplarIterator(std::string_view chunk) : in_(chunk) {
  status_ = ReadCountedHeader("exemplar chunk", kExemplarChunkVersion, &in_, &count_);
}

bool ExemplarIterator::ReadExemplar() {
  exemplar_.timestamp = time_.Read(&in_);
  value_ ^= ReadXorBytes(&in_);
  exemplar_.value = std::bit_cast<double>(value_);
  const std::string_view before = exemplar_.labels.encoded();
  const std::uint64_t shared = in_.Varint();
  const std::string_view rest = in_.LengthPrefixed();
  if (!in_.ok() || shared > before.size()) return false;
  std::string labels(before.substr(0, shared));
  labels.append(rest);
  if (!WellFormedLabels(labels)) return false;
  exemplar_.labels = Labels::FromEncoded(std::move(labels));
  return true;
}

bool ExemplarIterator::Next() {
  if (!status_.ok() || read_ == count_) return false;
  if (!ReadExemplar()) {
    status_ = DataLoss("exemplar chunk: exemplar " + std::to_string(read_) + " of " + std::to_string(count_) +
                       " is cut off or malformed");
    return false;
  }
  ++read_;
  return true;
}

std::string EncodeExemplars(std::span<const Exemplar> exemplars) {
  ExemplarAppender appender;
  for (const Exemplar& e : exemplars) appender.Append(e);
  return appender.Take();
}

Result<std::vector<Exemplar>> DecodeExemplars(std::string_view chunk) {
  ExemplarIterator it(chunk);
  std::vector<Exemplar> exemplars;
  while (it.Next()) exemplars.push_back(it.exemplar());
  if (!it.status().ok()) return it.status();
  return exemplars;
}

}  // namespace chronolith
