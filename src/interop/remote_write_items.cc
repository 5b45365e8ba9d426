// What stands in the series of a remote write message: labels, histograms, exemplars, metadata.
#include <algorithm>
#include <bit>

#include "base/coding.h"
#include "interop/proto_reader.h"
#include "interop/remote_write_decode.h"

namespace chronolith::interop {
namespace {

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

Status NormalizeLabels(RemoteWriteVersion version, std::string_view labels, std::string* encoded) {
  LabelViews views;
  bool named = false;
  if (labels.size() > RemoteWriteDecoder::kLabelsBytesMax) {
    return InvalidArgument("the labels of a series take more than " + std::to_string(RemoteWriteDecoder::kLabelsBytesMax) +
                           " bytes");
  }
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
  if (payload.size() > kHistogramBytesMax) {
    return InvalidArgument("a histogram takes more than " + std::to_string(kHistogramBytesMax) + " bytes");
  }
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
