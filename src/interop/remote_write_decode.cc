#include "interop/remote_write_decode.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "base/coding.h"
#include "interop/proto_reader.h"

namespace chronolith::interop {
namespace {

constexpr char kLengthTag(int field) { return static_cast<char>(field << 3 | 2); }
constexpr char kRequest1Series = kLengthTag(1), kRequest1Metadata = kLengthTag(3);
constexpr char kRequest2Symbols = kLengthTag(4), kRequest2Series = kLengthTag(5);
constexpr char kSeries1Labels = kLengthTag(1), kSeries1Exemplars = kLengthTag(3), kSeries1Histograms = kLengthTag(4);
constexpr char kSeries2Refs = kLengthTag(1), kSeries2Histograms = kLengthTag(3), kSeries2Exemplars = kLengthTag(4),
               kSeries2Metadata = kLengthTag(5), kSeries2OneRef = 1 << 3;
constexpr char kSeriesSamples = kLengthTag(2);  // of both
constexpr char kSampleValue = 1 << 3 | 1, kSampleTimestamp = 2 << 3;

// The length-delimited field whose tag was at at[-1]; nullptr where it is cut off.
inline const char* TakeBytes(const char* at, const char* end, std::string_view* bytes) {
  std::uint64_t n = 0;
  at = DecodeVarint(at, end, &n);
  if (at == nullptr || n > static_cast<std::uint64_t>(end - at)) return nullptr;
  *bytes = {at, static_cast<std::size_t>(n)};
  return at + n;
}

// Behind the field that begins at `at`, whatever it is; nullptr where it is malformed, or of a type that a field in `known` has
// not.
const char* SkipField(const char* at, const char* end, std::uint32_t known) {
  const std::string_view rest(at, static_cast<std::size_t>(end - at));
  std::uint64_t tag = 0;
  const char* behind_tag = DecodeVarint(at, end, &tag);
  if (behind_tag == nullptr || (tag >> 3 < 32 && (known >> (tag >> 3) & 1) != 0)) return nullptr;
  // The reader checks all of the field; what it takes is found from its type.
  ProtoReader reader(rest);
  ProtoField field;
  if (!reader.Next(&field)) return nullptr;
  switch (field.type) {
    case WireType::kVarint:
      return DecodeVarint(behind_tag, end, &tag);
    case WireType::kFixed64:
      return behind_tag + 8;
    case WireType::kFixed32:
      return behind_tag + 4;
    case WireType::kLength:
      return field.bytes.data() + field.bytes.size();
  }
  return nullptr;
}

// Fields of a request that have lengths, by version. Neither version has those of the other: passed over as unknown ones are, all
// that such a message brings would be dropped without a word.
constexpr std::uint32_t kFields1 = 1 << 1 | 1 << 3, kFields2 = 1 << 4 | 1 << 5;

std::string_view OddField(const char* at, RemoteWriteVersion version) {
  const auto tag = static_cast<unsigned char>(*at);
  const std::uint32_t other = version == RemoteWriteVersion::k1 ? kFields2 : kFields1;
  if ((tag & 7) != 2 || (other >> (tag >> 3) & 1) == 0) return "a field of the request";
  return version == RemoteWriteVersion::k1
             ? "a field of io.prometheus.write.v2.Request, where the Content-Type says prometheus.WriteRequest,"
             : "a field of prometheus.WriteRequest, where the Content-Type says io.prometheus.write.v2.Request,";
}

using ItemKind = RemoteWriteBatch::ItemKind;

// None: `tag` is not that of an item.
inline std::optional<ItemKind> ItemKindOf(char tag, bool is1) {
  if (tag == (is1 ? kSeries1Histograms : kSeries2Histograms)) return ItemKind::kHistogram;
  if (tag == (is1 ? kSeries1Exemplars : kSeries2Exemplars)) return ItemKind::kExemplar;
  if (!is1 && tag == kSeries2Metadata) return ItemKind::kMetadata;
  return std::nullopt;
}

inline void AddItem(ItemKind kind, std::string_view payload, RemoteWriteBatch* batch) {
  batch->items.push_back({kind, payload});
  batch->item_bytes += payload.size();
}

inline bool HasEnoughValues(const RemoteWriteBatch& batch) {
  return batch.samples.size() >= RemoteWriteDecoder::kBatchSamples ||
         batch.items.size() + batch.metadata.size() >= RemoteWriteDecoder::kBatchItems ||
         batch.item_bytes >= RemoteWriteDecoder::kBatchItemBytes;
}

inline bool IsFull(const RemoteWriteBatch& batch) {
  return HasEnoughValues(batch) || batch.series.size() >= RemoteWriteDecoder::kBatchSeries ||
         batch.label_bytes >= RemoteWriteDecoder::kBatchBytes;
}

// A Sample of either version; start_timestamp of 2.0 is passed over.
inline bool ReadSample(std::string_view bytes, Sample* sample) {
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  *sample = {};
  while (at < end) {
    if (*at == kSampleValue && end - at >= 9) {
      sample->value = std::bit_cast<double>(LoadFixed<std::uint64_t>(at + 1));
      at += 9;
    } else if (*at == kSampleTimestamp) {
      std::uint64_t t = 0;
      at = DecodeVarint(at + 1, end, &t);
      if (at == nullptr) return false;
      sample->timestamp = static_cast<Timestamp>(t);
    } else if (at = SkipField(at, end, 1 << 1 | 1 << 2); at == nullptr) {
      return false;
    }
  }
  return true;
}

}  // namespace

void RemoteWriteBatch::Clear() {
  series.clear();
  samples.clear();
  items.clear();
  metadata.clear();
  arena.clear();
  label_bytes = 0;
  item_bytes = 0;
}

RemoteWriteDecoder::RemoteWriteDecoder(RemoteWriteVersion version, std::string_view message, std::uint64_t expanded_bytes_max)
    : version_(version), message_(message), expanded_bytes_max_(expanded_bytes_max), at_(message.data()) {}

Status RemoteWriteDecoder::Expand(std::uint64_t bytes) {
  expanded_bytes_ += bytes;
  if (expanded_bytes_ <= expanded_bytes_max_) return Status::Ok();
  return InvalidArgument("the references of a remote write message stand for more than " + std::to_string(expanded_bytes_max_) +
                         " bytes: send fewer series in a message");
}

Status RemoteWriteDecoder::Malformed(const char* at, std::string_view what) const {
  return InvalidArgument("malformed remote write message: " + std::string(what) + " at byte " +
                         std::to_string(at - message_.data()) + " of " + std::to_string(message_.size()));
}

Status RemoteWriteDecoder::Begin() {
  if (version_ == RemoteWriteVersion::k1) return Status::Ok();
  const char* const end = message_.data() + message_.size();
  for (const char* at = message_.data(); at < end;) {
    const char* const field = at;
    std::string_view bytes;
    if (*at == kRequest2Symbols || *at == kRequest2Series) {
      at = TakeBytes(at + 1, end, &bytes);
      if (at != nullptr && *field == kRequest2Symbols) symbols_.push_back(bytes);
    } else {
      at = SkipField(at, end, kFields1 | kFields2);
    }
    if (at == nullptr) return Malformed(field, OddField(field, version_));
    if (symbols_.size() > kSymbolsMax) return Malformed(field, "more than " + std::to_string(kSymbolsMax) + " symbols");
  }
  if (!symbols_.empty() && !symbols_[0].empty()) return InvalidArgument("symbol 0 of a remote write 2.0 message is not empty");
  return Status::Ok();
}

Status RemoteWriteDecoder::Next(RemoteWriteBatch* batch) {
  batch->Clear();
  const char* const end = message_.data() + message_.size();
  const bool is1 = version_ == RemoteWriteVersion::k1;
  const char series_tag = is1 ? kRequest1Series : kRequest2Series;
  if (rest_.at != rest_.end) {
    TakeRestLabels(batch);
    TakeRest(batch);
  }
  while (at_ < end && !IsFull(*batch)) {
    const char* const field = at_;
    std::string_view bytes;
    if (*field == series_tag) {
      at_ = TakeBytes(field + 1, end, &bytes);
      if (at_ == nullptr) return at_ = end, Malformed(field, "a series that is cut off");
      if (Status status = TakeSeries(bytes, batch); !status.ok()) return status;
    } else if (is1 && *field == kRequest1Metadata) {
      at_ = TakeBytes(field + 1, end, &bytes);
      if (at_ == nullptr) return at_ = end, Malformed(field, "metadata that is cut off");
      batch->metadata.push_back(bytes);
    } else if (!is1 && *field == kRequest2Symbols) {
      at_ = TakeBytes(field + 1, end, &bytes);  // Begin has seen that it is whole
    } else if (at_ = SkipField(field, end, kFields1 | kFields2); at_ == nullptr) {
      return at_ = end, Malformed(field, OddField(field, version_));
    }
  }
  return Status::Ok();
}

Status RemoteWriteDecoder::TakeSeries(std::string_view bytes, RemoteWriteBatch* batch) {
  const char* const end = bytes.data() + bytes.size();
  const bool whole = bytes.size() <= kWholeSeriesBytes;
  Status status =
      version_ == RemoteWriteVersion::k1 ? Series1(bytes.data(), end, !whole, batch) : Series2(bytes.data(), end, !whole, batch);
  if (!status.ok() || whole) return status;
  rest_.labels = batch->LabelsOf(batch->series.back()).substr(0, kLabelsBytesMax + 1);  // enough to be refused
  rest_.at = bytes.data();
  rest_.end = end;
  TakeRest(batch);
  return Status::Ok();
}

void RemoteWriteDecoder::TakeRestLabels(RemoteWriteBatch* batch) {
  const auto n = static_cast<std::uint32_t>(rest_.labels.size());
  batch->series.push_back({.labels = nullptr, .labels_at = 0, .labels_bytes = n, .samples_end = 0, .items_end = 0});
  batch->arena.append(rest_.labels);
  batch->label_bytes += n;
}

void RemoteWriteDecoder::TakeRest(RemoteWriteBatch* batch) {
  const bool is1 = version_ == RemoteWriteVersion::k1;
  RemoteWriteBatch::Series& series = batch->series.back();
  const char* at = rest_.at;
  std::string_view bytes;
  while (at < rest_.end && !HasEnoughValues(*batch)) {
    const char tag = *at;
    std::optional<RemoteWriteBatch::ItemKind> kind;
    if (tag == kSeriesSamples) {
      at = TakeBytes(at + 1, rest_.end, &bytes);
      (void)ReadSample(bytes, &batch->samples.emplace_back());
    } else if (kind = ItemKindOf(tag, is1); kind) {
      at = TakeBytes(at + 1, rest_.end, &bytes);
      AddItem(*kind, bytes, batch);
    } else {
      at = SkipField(at, rest_.end, 0);
    }
  }
  rest_.at = at;
  series.samples_end = static_cast<std::uint32_t>(batch->samples.size());
  series.items_end = static_cast<std::uint32_t>(batch->items.size());
}

Status RemoteWriteDecoder::Series1(const char* at, const char* end, bool labels_only, RemoteWriteBatch* batch) {
  RemoteWriteBatch::Series series;
  const char* labels_end = nullptr;  // of the run of labels
  std::string_view bytes;
  Sample unused;
  while (at < end) {
    const char* const field = at;
    switch (*field) {
      case kSeries1Labels:
        at = TakeBytes(field + 1, end, &bytes);
        if (at == nullptr) break;
        if (series.labels == nullptr && series.labels_bytes == 0) {
          series.labels = field;
        } else if (field != labels_end && series.labels != nullptr) {
          // Labels apart from each other: no encoder writes them so, but they may.
          series.labels_at = batch->arena.size();
          batch->arena.append(series.labels, series.labels_bytes);
          series.labels = nullptr;
        }
        if (series.labels == nullptr) batch->arena.append(field, static_cast<std::size_t>(at - field));
        series.labels_bytes += static_cast<std::uint32_t>(at - field);
        labels_end = at;
        break;
      case kSeriesSamples:
        at = TakeBytes(field + 1, end, &bytes);
        if (at != nullptr && !ReadSample(bytes, labels_only ? &unused : &batch->samples.emplace_back())) at = nullptr;
        break;
      case kSeries1Exemplars:
      case kSeries1Histograms:
        at = TakeBytes(field + 1, end, &bytes);
        if (!labels_only) AddItem(*ItemKindOf(*field, true), bytes, batch);
        break;
      default:
        at = SkipField(field, end, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4);
    }
    if (at == nullptr) return Malformed(field, "a field of a series");
  }
  batch->label_bytes += series.labels_bytes;
  series.samples_end = static_cast<std::uint32_t>(batch->samples.size());
  series.items_end = static_cast<std::uint32_t>(batch->items.size());
  batch->series.push_back(series);
  return Status::Ok();
}

Status RemoteWriteDecoder::Series2(const char* at, const char* end, bool labels_only, RemoteWriteBatch* batch) {
  RemoteWriteBatch::Series series;
  series.labels_at = batch->arena.size();
  std::string_view name;
  bool have_name = false, in_table = true, too_long = false;
  const auto take_ref = [&](std::uint64_t ref) {
    if (too_long) return;
    if (ref >= symbols_.size()) {
      in_table = false;
    } else if (have_name) {
      Labels::AppendEncoded(name, symbols_[ref], &batch->arena);
      have_name = false;
      too_long = batch->arena.size() - series.labels_at > kLabelsBytesMax;
    } else {
      name = symbols_[ref];
      have_name = true;
    }
  };
  std::string_view bytes;
  Sample unused;
  while (at < end) {
    const char* const field = at;
    const char tag = *field;
    if (tag == kSeries2Refs) {
      at = TakeBytes(field + 1, end, &bytes);
      std::uint64_t ref = 0;
      for (const char *r = bytes.data(), *r_end = r + bytes.size(); at != nullptr && r < r_end;) {
        r = DecodeVarint(r, r_end, &ref);
        if (r == nullptr) {
          at = nullptr;
          break;
        }
        take_ref(ref);
      }
    } else if (tag == kSeries2OneRef) {
      std::uint64_t ref = 0;
      at = DecodeVarint(field + 1, end, &ref);
      if (at != nullptr) take_ref(ref);
    } else if (tag == kSeriesSamples) {
      at = TakeBytes(field + 1, end, &bytes);
      if (at != nullptr && !ReadSample(bytes, labels_only ? &unused : &batch->samples.emplace_back())) at = nullptr;
    } else if (const std::optional<ItemKind> kind = ItemKindOf(tag, false)) {
      at = TakeBytes(field + 1, end, &bytes);
      if (!labels_only) AddItem(*kind, bytes, batch);
    } else {
      at = SkipField(field, end, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5);
    }
    if (at == nullptr) return Malformed(field, "a field of a series");
    if (!in_table)
      return Malformed(field, "a reference to a symbol beyond the " + std::to_string(symbols_.size()) + " that there are");
  }
  if (too_long) return Malformed(end, "labels of more than " + std::to_string(kLabelsBytesMax) + " bytes");
  if (have_name) return Malformed(end, "an odd number of label references");
  series.labels_bytes = static_cast<std::uint32_t>(batch->arena.size() - series.labels_at);
  if (Status status = Expand(series.labels_bytes); !status.ok()) return status;
  batch->label_bytes += series.labels_bytes;
  series.samples_end = static_cast<std::uint32_t>(batch->samples.size());
  series.items_end = static_cast<std::uint32_t>(batch->items.size());
  batch->series.push_back(series);
  return Status::Ok();
}

}  // namespace chronolith::interop
