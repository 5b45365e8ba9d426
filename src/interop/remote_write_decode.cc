#include "interop/remote_write_decode.h"

#include <algorithm>
#include <bit>

#include "base/coding.h"
#include "interop/proto_reader.h"

namespace chronolith::interop {
namespace {

constexpr char kLengthTag(int field) { return static_cast<char>(field << 3 | 2); }
constexpr char kRequest1Series = kLengthTag(1), kRequest1Metadata = kLengthTag(3);
constexpr char kRequest2Symbols = kLengthTag(4), kRequest2Series = kLengthTag(5);
constexpr char kSeries1Labels = kLengthTag(1), kSeries1Samples = kLengthTag(2), kSeries1Exemplars = kLengthTag(3),
               kSeries1Histograms = kLengthTag(4);
constexpr char kSeries2Refs = kLengthTag(1), kSeries2Samples = kLengthTag(2), kSeries2Histograms = kLengthTag(3),
               kSeries2Exemplars = kLengthTag(4), kSeries2Metadata = kLengthTag(5), kSeries2OneRef = 1 << 3;
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

struct LabelViews {
  std::vector<Label> all;
  bool sorted = true;

  void Add(Label label) {
    if (label.value.empty()) return;  // in the data model the same as no label
    if (!all.empty() && !(all.back().name < label.name)) sorted = false;
    all.push_back(label);
  }
  // kInvalidArgument: a name twice.
  Status AppendTo(std::string* encoded) {
    if (!sorted) {
      std::stable_sort(all.begin(), all.end(), [](const Label& a, const Label& b) { return a.name < b.name; });
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i > 0 && all[i].name == all[i - 1].name) {
        return InvalidArgument("label name \"" + std::string(all[i].name.substr(0, 100)) + "\" stands twice in a series");
      }
      Labels::AppendEncoded(all[i].name, all[i].value, encoded);
    }
    return Status::Ok();
  }
};

// Label{1 name, 2 value}
bool ReadLabel(std::string_view bytes, Label* label) {
  ProtoReader reader(bytes);
  *label = {};
  for (ProtoField field; reader.Next(&field);) {
    if (field.number != 1 && field.number != 2) continue;
    if (field.type != WireType::kLength) return false;
    (field.number == 1 ? label->name : label->value) = field.bytes;
  }
  return reader.ok();
}

// Calls take(value) for each of a repeated scalar, packed or not.
template <typename Take>
bool EachPacked(const ProtoField& field, WireType scalar, Take take) {
  if (field.type == scalar) {
    take(field.value);
    return true;
  }
  if (field.type != WireType::kLength) return false;
  ByteReader reader(field.bytes);
  while (reader.remaining() > 0 && reader.ok()) {
    const std::uint64_t value = scalar == WireType::kVarint ? reader.Varint() : reader.Fixed<std::uint64_t>();
    if (reader.ok()) take(value);
  }
  return reader.ok();
}

bool ReadSpan(std::string_view bytes, BucketSpan* span) {
  ProtoReader reader(bytes);
  for (ProtoField field; reader.Next(&field);) {
    if (field.number != 1 && field.number != 2) continue;
    if (field.type != WireType::kVarint) return false;
    if (field.number == 1) span->offset = static_cast<std::int32_t>(UnZigZag(field.value));
    if (field.number == 2) span->length = static_cast<std::uint32_t>(field.value);
  }
  return reader.ok();
}

// Both kinds of histogram, before it is known which it is.
struct AnyHistogram {
  HistogramSample* out;
  IntHistogram ints;
  FloatHistogram floats;
  bool is_float = false;

  bool Take(const ProtoField& f) {
    const auto deltas = [&](std::vector<std::int64_t>* to) {
      return EachPacked(f, WireType::kVarint, [to](std::uint64_t v) { to->push_back(UnZigZag(v)); });
    };
    const auto doubles = [&](std::vector<double>* to) {
      return EachPacked(f, WireType::kFixed64, [to](std::uint64_t v) { to->push_back(std::bit_cast<double>(v)); });
    };
    const auto span = [&](std::vector<BucketSpan>* to) {
      return f.type == WireType::kLength && ReadSpan(f.bytes, &to->emplace_back());
    };
    const bool varint = f.type == WireType::kVarint, fixed = f.type == WireType::kFixed64;
    switch (f.number) {
      case 1:
        ints.count = f.value;
        is_float = false;
        return varint;
      case 2:
        floats.count = f.AsDouble();
        is_float = true;
        return fixed;
      case 3:
        ints.sum = f.AsDouble();
        return fixed;
      case 4:
        ints.schema = static_cast<std::int32_t>(UnZigZag(f.value));
        return varint;
      case 5:
        ints.zero_threshold = f.AsDouble();
        return fixed;
      case 6:
        ints.zero_count = f.value;
        return varint;
      case 7:
        floats.zero_count = f.AsDouble();
        return fixed;
      case 8:
        return span(&ints.negative_spans);
      case 9:
        return deltas(&ints.negative_deltas);
      case 10:
        return doubles(&floats.negative_counts);
      case 11:
        return span(&ints.positive_spans);
      case 12:
        return deltas(&ints.positive_deltas);
      case 13:
        return doubles(&floats.positive_counts);
      case 14:
        ints.reset_hint = static_cast<CounterResetHint>(f.value);
        return varint && f.value <= 3;
      case 15:
        out->timestamp = static_cast<Timestamp>(f.value);
        return varint;
      case 16:
        return doubles(&ints.custom_values);
      default:
        return true;
    }
  }
  void Finish() {
    if (!is_float) {
      out->histogram = std::move(ints);
      return;
    }
    floats.reset_hint = ints.reset_hint;
    floats.schema = ints.schema;
    floats.zero_threshold = ints.zero_threshold;
    floats.sum = ints.sum;
    floats.positive_spans = std::move(ints.positive_spans);
    floats.negative_spans = std::move(ints.negative_spans);
    floats.custom_values = std::move(ints.custom_values);
    out->histogram = std::move(floats);
  }
};

MetricType TypeOf(std::uint64_t number) {
  return number <= static_cast<std::uint64_t>(MetricType::kStateSet) ? static_cast<MetricType>(number) : MetricType::kUnknown;
}

}  // namespace

void RemoteWriteBatch::Clear() {
  series.clear();
  samples.clear();
  items.clear();
  metadata.clear();
  arena.clear();
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
      at = SkipField(at, end, 1 << 4 | 1 << 5);
    }
    if (at == nullptr) return Malformed(field, "a field of the request");
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
  while (at_ < end && batch->series.size() < kBatchSeries &&
         batch->samples.size() + batch->items.size() + batch->metadata.size() < kBatchItems && batch->arena.size() < kBatchBytes &&
         batch->item_bytes < kBatchBytes) {
    const char* const field = at_;
    std::string_view bytes;
    if (*field == series_tag) {
      at_ = TakeBytes(field + 1, end, &bytes);
      if (at_ == nullptr) return at_ = end, Malformed(field, "a series that is cut off");
      Status status = is1 ? Series1(bytes.data(), bytes.data() + bytes.size(), batch)
                          : Series2(bytes.data(), bytes.data() + bytes.size(), batch);
      if (!status.ok()) return status;
    } else if (is1 && *field == kRequest1Metadata) {
      at_ = TakeBytes(field + 1, end, &bytes);
      if (at_ == nullptr) return at_ = end, Malformed(field, "metadata that is cut off");
      batch->metadata.push_back(bytes);
    } else if (!is1 && *field == kRequest2Symbols) {
      at_ = TakeBytes(field + 1, end, &bytes);  // Begin has seen that it is whole
    } else if (at_ = SkipField(field, end, is1 ? 1 << 1 | 1 << 3 : 1 << 4 | 1 << 5); at_ == nullptr) {
      return at_ = end, Malformed(field, "a field of the request");
    }
  }
  return Status::Ok();
}

Status RemoteWriteDecoder::Series1(const char* at, const char* end, RemoteWriteBatch* batch) {
  RemoteWriteBatch::Series series;
  const char* labels_end = nullptr;  // of the run of labels
  std::string_view bytes;
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
      case kSeries1Samples:
        at = TakeBytes(field + 1, end, &bytes);
        if (at != nullptr && !ReadSample(bytes, &batch->samples.emplace_back())) at = nullptr;
        break;
      case kSeries1Exemplars:
      case kSeries1Histograms:
        at = TakeBytes(field + 1, end, &bytes);
        batch->items.push_back(
            {*field == kSeries1Exemplars ? RemoteWriteBatch::ItemKind::kExemplar : RemoteWriteBatch::ItemKind::kHistogram, bytes});
        break;
      default:
        at = SkipField(field, end, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4);
    }
    if (at == nullptr) return Malformed(field, "a field of a series");
  }
  for (std::size_t i = batch->series.empty() ? 0 : batch->series.back().items_end; i < batch->items.size(); ++i) {
    batch->item_bytes += batch->items[i].payload.size();
  }
  series.samples_end = static_cast<std::uint32_t>(batch->samples.size());
  series.items_end = static_cast<std::uint32_t>(batch->items.size());
  batch->series.push_back(series);
  return Status::Ok();
}

Status RemoteWriteDecoder::Series2(const char* at, const char* end, RemoteWriteBatch* batch) {
  using Kind = RemoteWriteBatch::ItemKind;
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
    } else if (tag == kSeries2Samples) {
      at = TakeBytes(field + 1, end, &bytes);
      if (at != nullptr && !ReadSample(bytes, &batch->samples.emplace_back())) at = nullptr;
    } else if (tag == kSeries2Histograms || tag == kSeries2Exemplars || tag == kSeries2Metadata) {
      at = TakeBytes(field + 1, end, &bytes);
      batch->items.push_back({tag == kSeries2Histograms  ? Kind::kHistogram
                              : tag == kSeries2Exemplars ? Kind::kExemplar
                                                         : Kind::kMetadata,
                              bytes});
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
  for (std::size_t i = batch->series.empty() ? 0 : batch->series.back().items_end; i < batch->items.size(); ++i) {
    batch->item_bytes += batch->items[i].payload.size();
  }
  series.samples_end = static_cast<std::uint32_t>(batch->samples.size());
  series.items_end = static_cast<std::uint32_t>(batch->items.size());
  batch->series.push_back(series);
  return Status::Ok();
}

Status NormalizeLabels(RemoteWriteVersion version, std::string_view labels, std::string* encoded) {
  LabelViews views;
  bool named = false;
  if (version == RemoteWriteVersion::k1) {
    ProtoReader reader(labels);
    for (ProtoField field; reader.Next(&field);) {
      Label label;
      if (!ReadLabel(field.bytes, &label)) return InvalidArgument("a label of a series is malformed");
      named = named || (label.name == kMetricName && !label.value.empty());
      views.Add(label);
    }
  } else {
    ByteReader reader(labels);
    while (reader.remaining() > 0) {
      Label label;
      label.name = reader.LengthPrefixed();
      label.value = reader.LengthPrefixed();
      named = named || (label.name == kMetricName && !label.value.empty());
      views.Add(label);
    }
  }
  encoded->clear();
  if (Status status = views.AppendTo(encoded); !status.ok()) return status;
  if (!named) return InvalidArgument("a series has no metric name (label __name__)");
  return Status::Ok();
}

Status DecodeHistogram(std::string_view payload, HistogramSample* histogram) {
  AnyHistogram any{.out = histogram};
  histogram->timestamp = 0;
  ProtoReader reader(payload);
  for (ProtoField field; reader.Next(&field);) {
    if (!any.Take(field)) return InvalidArgument("field " + std::to_string(field.number) + " of a histogram is malformed");
  }
  if (!reader.ok()) return InvalidArgument("a histogram is malformed");
  any.Finish();
  return Status::Ok();
}

Status DecodeExemplar(RemoteWriteVersion version, std::string_view payload, const std::vector<std::string_view>& symbols,
                      Exemplar* exemplar) {
  ProtoReader reader(payload);
  LabelViews views;
  std::vector<std::uint64_t> refs;
  bool good = true;
  std::size_t bytes = 0;
  const auto add = [&](Label label) {
    if (!label.value.empty()) bytes += label.name.size() + label.value.size();
    if (bytes <= kExemplarLabelsMax) views.Add(label);
  };
  *exemplar = {};
  for (ProtoField field; good && reader.Next(&field);) {
    if (field.number == 1 && version == RemoteWriteVersion::k1) {
      Label label;
      good = field.type == WireType::kLength && ReadLabel(field.bytes, &label);
      if (good) add(label);
    } else if (field.number == 1) {
      good = EachPacked(field, WireType::kVarint, [&](std::uint64_t ref) {
        if (refs.size() <= 2 * kExemplarLabelsMax) refs.push_back(ref);
      });
    } else if (field.number == 2) {
      good = field.type == WireType::kFixed64;
      exemplar->value = field.AsDouble();
    } else if (field.number == 3) {
      good = field.type == WireType::kVarint;
      exemplar->timestamp = static_cast<Timestamp>(field.value);
    }
  }
  if (!good || !reader.ok()) return InvalidArgument("an exemplar is malformed");
  if (refs.size() > 2 * kExemplarLabelsMax) bytes = kExemplarLabelsMax + 1;
  if (refs.size() % 2 != 0 && bytes == 0) return InvalidArgument("an exemplar has an odd number of label references");
  for (std::size_t i = 0; i + 1 < refs.size() && bytes <= kExemplarLabelsMax; i += 2) {
    if (refs[i] >= symbols.size() || refs[i + 1] >= symbols.size()) {
      return InvalidArgument("an exemplar refers to a symbol beyond the " + std::to_string(symbols.size()) + " that there are");
    }
    add({symbols[refs[i]], symbols[refs[i + 1]]});
  }
  if (bytes > kExemplarLabelsMax) {
    return InvalidArgument("the labels of an exemplar take more than " + std::to_string(kExemplarLabelsMax) + " bytes");
  }
  std::string encoded;
  if (Status status = views.AppendTo(&encoded); !status.ok()) return status.WithContext("exemplar");
  exemplar->labels = Labels::FromEncoded(std::move(encoded));
  return Status::Ok();
}

namespace {

Status SetTexts(std::string_view unit, std::string_view help, Metadata* metadata) {
  if (unit.size() + help.size() > kMetadataTextMax) {
    return InvalidArgument("unit and help of a metric take more than " + std::to_string(kMetadataTextMax) + " bytes");
  }
  metadata->unit = unit;
  metadata->help = help;
  return Status::Ok();
}

}  // namespace

Status DecodeMetadata1(std::string_view payload, std::string* family, Metadata* metadata) {
  ProtoReader reader(payload);
  family->clear();
  *metadata = {};
  std::string_view name, help, unit;
  bool good = true;
  for (ProtoField field; good && reader.Next(&field);) {
    if (field.number == 1) {
      good = field.type == WireType::kVarint;
      metadata->type = TypeOf(field.value);
    } else if (field.number == 2 || field.number == 4 || field.number == 5) {
      good = field.type == WireType::kLength;
      (field.number == 2 ? name : field.number == 4 ? help : unit) = field.bytes;
    }
  }
  if (!good || !reader.ok()) return InvalidArgument("metadata of a metric family is malformed");
  if (name.empty()) return InvalidArgument("metadata without the name of its metric family");
  if (name.size() > kMetadataTextMax) {
    return InvalidArgument("the name of a metric family takes more than " + std::to_string(kMetadataTextMax) + " bytes");
  }
  *family = name;
  return SetTexts(unit, help, metadata);
}

Status DecodeMetadata2(std::string_view payload, const std::vector<std::string_view>& symbols, Metadata* metadata) {
  ProtoReader reader(payload);
  *metadata = {};
  std::string_view help, unit;
  for (ProtoField field; reader.Next(&field);) {
    if (field.number != 1 && field.number != 3 && field.number != 4) continue;
    if (field.type != WireType::kVarint) return InvalidArgument("metadata of a series is malformed");
    if (field.number == 1) {
      metadata->type = TypeOf(field.value);
    } else if (field.value >= symbols.size()) {
      return InvalidArgument("metadata of a series refers to a symbol beyond the " + std::to_string(symbols.size()) +
                             " that there are");
    } else {
      (field.number == 3 ? help : unit) = symbols[field.value];
    }
  }
  if (!reader.ok()) return InvalidArgument("metadata of a series is malformed");
  return SetTexts(unit, help, metadata);
}

}  // namespace chronolith::interop
