#include "storage/items.h"

#include <roaring/roaring.h>

#include "base/coding.h"
#include "chunk/exemplar_chunk.h"
#include "chunk/histogram_chunk.h"
#include "format/roaring_bytes.h"

namespace chronolith {
namespace {

constexpr std::uint8_t kMetadataVersion = 1;

Status DecodeMetadata(std::string_view bytes, Metadata* metadata) {
  ByteReader in(bytes);
  if (const auto version = in.Fixed<std::uint8_t>(); in.ok() && version != kMetadataVersion) {
    return FailedPrecondition("metadata of version " + std::to_string(version) + " was written by a newer version of Chronolith");
  }
  const auto type = in.Fixed<std::uint8_t>();
  metadata->unit = in.LengthPrefixed();
  metadata->help = in.LengthPrefixed();
  if (!in.AtEnd() || type > static_cast<std::uint8_t>(MetricType::kStateSet)) return DataLoss("malformed metadata");
  metadata->type = static_cast<MetricType>(type);
  return Status::Ok();
}

template <typename T>
Status Only(Result<std::vector<T>> decoded, Item* item) {
  if (!decoded.ok()) return decoded.status();
  if (decoded->size() != 1) return DataLoss("a log item holds " + std::to_string(decoded->size()) + " samples instead of one");
  *item = std::move((*decoded)[0]);
  return Status::Ok();
}

}  // namespace

ItemType TypeOf(const Item& item) {
  if (std::holds_alternative<HistogramSample>(item)) return ItemType::kHistogram;
  return std::holds_alternative<Exemplar>(item) ? ItemType::kExemplar : ItemType::kMetadata;
}

std::string EncodeItem(const Item& item) {
  if (const auto* histogram = std::get_if<HistogramSample>(&item)) return EncodeHistograms({histogram, 1});
  if (const auto* exemplar = std::get_if<Exemplar>(&item)) return EncodeExemplars({exemplar, 1});
  const auto& metadata = std::get<Metadata>(item);
  std::string bytes(1, static_cast<char>(kMetadataVersion));
  bytes.push_back(static_cast<char>(metadata.type));
  PutBytes(&bytes, metadata.unit);
  PutBytes(&bytes, metadata.help);
  return bytes;
}

Status DecodeItem(ItemType type, std::string_view bytes, Item* item) {
  switch (type) {
    case ItemType::kHistogram:
      return Only(DecodeHistograms(bytes), item);
    case ItemType::kExemplar:
      return Only(DecodeExemplars(bytes), item);
    case ItemType::kMetadata: {
      Metadata metadata;
      Status status = DecodeMetadata(bytes, &metadata);
      *item = std::move(metadata);
      return status;
    }
  }
  return DataLoss("a log item of unknown type");
}

Status ValidateItem(const Item& item) {
  if (const auto* histogram = std::get_if<HistogramSample>(&item)) {
    if (histogram->timestamp == kMaxTimestamp) return InvalidArgument("the histogram's timestamp is the largest of its type, which is reserved");
    if (Status status = ValidateHistogram(histogram->histogram); !status.ok()) return status;
    if (HistogramAppender::MaxBytes(histogram->histogram) > kRecordBytesMax - 64) {
      return InvalidArgument("the histogram takes more than " + std::to_string(kRecordBytesMax - 64) + " bytes: use fewer buckets");
    }
    return Status::Ok();
  }
  if (const auto* exemplar = std::get_if<Exemplar>(&item)) {
    if (exemplar->timestamp == kMaxTimestamp) return InvalidArgument("the exemplar's timestamp is the largest of its type, which is reserved");
    if (exemplar->labels.encoded().size() > kExemplarLabelBytesMax) {
      return InvalidArgument("the exemplar's labels take " + std::to_string(exemplar->labels.encoded().size()) + " bytes, more than " +
                             std::to_string(kExemplarLabelBytesMax));
    }
    return Status::Ok();
  }
  const auto& metadata = std::get<Metadata>(item);
  if (metadata.unit.size() + metadata.help.size() > kMetadataBytesMax) {
    return InvalidArgument("the metadata's unit and help take more than " + std::to_string(kMetadataBytesMax) + " bytes");
  }
  return Status::Ok();
}

std::string EncodeOrdinals(const OrdinalSet& ordinals) {
  std::string bytes(roaring_bitmap_portable_size_in_bytes(ordinals.raw()), '\0');
  roaring_bitmap_portable_serialize(ordinals.raw(), bytes.data());
  return bytes;
}

std::size_t OrdinalsThatFit(std::span<const Ordinal> ascending) {
  std::size_t bytes = 8;  // at most: a header, 8 for each container (ordinals with equal high halves), 2 for each ordinal
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    bytes += 2 + (i == 0 || ascending[i] >> 16 != ascending[i - 1] >> 16 ? 8 : 0);
    if (bytes > kOrdinalBytesMax && i > 0) return i;
  }
  return ascending.size();
}

Status DecodeOrdinals(std::string_view bytes, OrdinalSet* ordinals) {
  if (!CheckRoaring(bytes)) return DataLoss("a delete record has a malformed bitmap");
  roaring_bitmap_t* bitmap = roaring_bitmap_portable_deserialize_safe(bytes.data(), bytes.size());
  if (bitmap == nullptr) return DataLoss("a delete record has a malformed bitmap");
  OrdinalSet set;
  roaring_bitmap_overwrite(set.raw(), bitmap);
  roaring_bitmap_free(bitmap);
  *ordinals = std::move(set);
  return Status::Ok();
}

}  // namespace chronolith
