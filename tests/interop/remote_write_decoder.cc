#include "tests/interop/remote_write_decoder.h"

#include <snappy.h>

#include <cstring>
#include <functional>
#include <set>

namespace chronolith::testing {

namespace {

struct Field {
  int number = 0;
  int type = 0;
  std::uint64_t value = 0;   // of varint and fixed64
  std::string_view payload;  // of length-delimited

  double AsDouble() const {
    double d = 0;
    std::memcpy(&d, &value, sizeof(d));
    return d;
  }
  std::int64_t AsInt() const { return static_cast<std::int64_t>(value); }
  std::int64_t AsSint() const { return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1); }
};

class Decoder {
 public:
  std::string error;

  bool Varint(std::string_view* in, std::uint64_t* v) {
    *v = 0;
    for (int i = 0; i < 10 && !in->empty(); ++i) {
      const auto byte = static_cast<unsigned char>(in->front());
      in->remove_prefix(1);
      *v |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
      if (byte < 0x80) return true;
    }
    return Fail("varint is cut off");
  }
  bool Fail(const std::string& what) {
    if (error.empty()) error = what;
    return false;
  }
  void Each(std::string_view message, const char* name, const std::function<bool(const Field&)>& take) {
    while (!message.empty() && error.empty()) {
      Field f;
      std::uint64_t tag = 0;
      if (!Varint(&message, &tag)) return;
      f.number = static_cast<int>(tag >> 3);
      f.type = static_cast<int>(tag & 7);
      if (f.type == 0) {
        if (!Varint(&message, &f.value)) return;
      } else if (f.type == 1) {
        if (message.size() < 8) return void(Fail("double is cut off"));
        std::memcpy(&f.value, message.data(), 8);
        message.remove_prefix(8);
      } else if (f.type == 2) {
        std::uint64_t n = 0;
        if (!Varint(&message, &n)) return;
        if (n > message.size()) return void(Fail("bytes are cut off"));
        f.payload = message.substr(0, n);
        message.remove_prefix(n);
      } else {
        return void(Fail("wire type " + std::to_string(f.type)));
      }
      if (!take(f)) Fail(std::string(name) + ": field " + std::to_string(f.number) + " of type " + std::to_string(f.type));
    }
  }

  std::vector<std::uint64_t> Varints(std::string_view packed) {
    std::vector<std::uint64_t> all;
    for (std::uint64_t v = 0; !packed.empty() && Varint(&packed, &v);) all.push_back(v);
    return all;
  }
  std::vector<std::int64_t> Sints(std::string_view packed) {
    std::vector<std::int64_t> all;
    for (const std::uint64_t v : Varints(packed)) all.push_back(Field{.value = v}.AsSint());
    return all;
  }
  std::vector<double> Doubles(std::string_view packed) {
    std::vector<double> all(packed.size() / 8);
    if (packed.size() % 8 != 0) Fail("packed doubles are cut off");
    std::memcpy(all.data(), packed.data(), all.size() * 8);
    return all;
  }

  Sample ReadSample(std::string_view message) {
    Sample s;
    Each(message, "Sample", [&](const Field& f) {
      if (f.number == 1 && f.type == 1) return s.value = f.AsDouble(), true;
      if (f.number == 2 && f.type == 0) return s.timestamp = f.AsInt(), true;
      return false;
    });
    return s;
  }
  BucketSpan ReadSpan(std::string_view message) {
    BucketSpan s;
    Each(message, "BucketSpan", [&](const Field& f) {
      if (f.number == 1 && f.type == 0) return s.offset = static_cast<std::int32_t>(f.AsSint()), true;
      if (f.number == 2 && f.type == 0) return s.length = static_cast<std::uint32_t>(f.value), true;
      return false;
    });
    return s;
  }
  HistogramSample ReadHistogram(std::string_view message) {
    HistogramSample s;
    IntHistogram i;
    FloatHistogram d;
    bool ints = false, floats = false;
    Each(message, "Histogram", [&](const Field& f) {
      switch (f.number) {
        case 1:
          return i.count = f.value, ints = true, f.type == 0;
        case 2:
          return d.count = f.AsDouble(), floats = true, f.type == 1;
        case 3:
          return i.sum = d.sum = f.AsDouble(), f.type == 1;
        case 4:
          return i.schema = d.schema = static_cast<std::int32_t>(f.AsSint()), f.type == 0;
        case 5:
          return i.zero_threshold = d.zero_threshold = f.AsDouble(), f.type == 1;
        case 6:
          return i.zero_count = f.value, f.type == 0;
        case 7:
          return d.zero_count = f.AsDouble(), f.type == 1;
        case 8:
          return i.negative_spans.push_back(ReadSpan(f.payload)), d.negative_spans = i.negative_spans, f.type == 2;
        case 9:
          return i.negative_deltas = Sints(f.payload), f.type == 2;
        case 10:
          return d.negative_counts = Doubles(f.payload), f.type == 2;
        case 11:
          return i.positive_spans.push_back(ReadSpan(f.payload)), d.positive_spans = i.positive_spans, f.type == 2;
        case 12:
          return i.positive_deltas = Sints(f.payload), f.type == 2;
        case 13:
          return d.positive_counts = Doubles(f.payload), f.type == 2;
        case 14:
          return i.reset_hint = d.reset_hint = static_cast<CounterResetHint>(f.value), f.type == 0;
        case 15:
          return s.timestamp = f.AsInt(), f.type == 0;
        case 16:
          return i.custom_values = d.custom_values = Doubles(f.payload), f.type == 2;
        default:
          return false;
      }
    });
    if (ints == floats) Fail("Histogram: one count, int or float");
    if (ints) s.histogram = i;
    if (floats) s.histogram = d;
    return s;
  }
  std::pair<std::string, std::string> ReadLabel(std::string_view message) {
    std::pair<std::string, std::string> l;
    Each(message, "Label", [&](const Field& f) {
      if (f.number == 1 && f.type == 2) return l.first = f.payload, true;
      if (f.number == 2 && f.type == 2) return l.second = f.payload, true;
      return false;
    });
    return l;
  }

  TimeSeries ReadSeries1(std::string_view message) {
    TimeSeries s;
    std::vector<std::pair<std::string, std::string>> labels;
    Each(message, "TimeSeries", [&](const Field& f) {
      if (f.type != 2) return false;
      if (f.number == 1) return labels.push_back(ReadLabel(f.payload)), true;
      if (f.number == 2) return s.samples.push_back(ReadSample(f.payload)), true;
      if (f.number == 4) return s.histograms.push_back(ReadHistogram(f.payload)), true;
      if (f.number != 3) return false;
      Exemplar e;
      std::vector<std::pair<std::string, std::string>> exemplar_labels;
      Each(f.payload, "Exemplar", [&](const Field& g) {
        if (g.number == 1 && g.type == 2) return exemplar_labels.push_back(ReadLabel(g.payload)), true;
        if (g.number == 2 && g.type == 1) return e.value = g.AsDouble(), true;
        if (g.number == 3 && g.type == 0) return e.timestamp = g.AsInt(), true;
        return false;
      });
      e.labels = Labels(std::move(exemplar_labels));
      s.exemplars.push_back(std::move(e));
      return true;
    });
    s.labels = Labels(std::move(labels));
    return s;
  }

  Labels ReadRefs(std::string_view packed, const std::vector<std::string>& symbols) {
    const std::vector<std::uint64_t> refs = Varints(packed);
    if (refs.size() % 2 != 0) Fail("odd number of label references");
    std::vector<std::pair<std::string, std::string>> labels;
    for (std::size_t i = 0; i + 1 < refs.size(); i += 2)
      labels.emplace_back(Symbol(refs[i], symbols), Symbol(refs[i + 1], symbols));
    return Labels(std::move(labels));
  }
  std::string Symbol(std::uint64_t ref, const std::vector<std::string>& symbols) {
    if (ref < symbols.size()) return symbols[ref];
    Fail("reference " + std::to_string(ref) + " beyond the symbols");
    return "";
  }

  TimeSeries ReadSeries2(std::string_view message, const std::vector<std::string>& symbols) {
    TimeSeries s;
    Each(message, "TimeSeries", [&](const Field& f) {
      if (f.type != 2) return false;
      if (f.number == 1) return s.labels = ReadRefs(f.payload, symbols), true;
      if (f.number == 2) return s.samples.push_back(ReadSample(f.payload)), true;
      if (f.number == 3) return s.histograms.push_back(ReadHistogram(f.payload)), true;
      if (f.number == 4) {
        Exemplar e;
        Each(f.payload, "Exemplar", [&](const Field& g) {
          if (g.number == 1 && g.type == 2) return e.labels = ReadRefs(g.payload, symbols), true;
          if (g.number == 2 && g.type == 1) return e.value = g.AsDouble(), true;
          if (g.number == 3 && g.type == 0) return e.timestamp = g.AsInt(), true;
          return false;
        });
        s.exemplars.push_back(std::move(e));
        return true;
      }
      if (f.number != 5) return false;
      Metadata m;
      Each(f.payload, "Metadata", [&](const Field& g) {
        if (g.number == 1 && g.type == 0) return m.type = static_cast<MetricType>(g.value), true;
        if (g.number == 3 && g.type == 0) return m.help = Symbol(g.value, symbols), true;
        if (g.number == 4 && g.type == 0) return m.unit = Symbol(g.value, symbols), true;
        return false;
      });
      s.metadata = {m};
      return true;
    });
    if (!s.samples.empty() && !s.histograms.empty()) Fail("a series with samples and histograms");
    if (s.samples.empty() && s.histograms.empty()) Fail("a series without samples and histograms");
    return s;
  }
};

}  // namespace

DecodedRequest DecodeRequest1(std::string_view message) {
  DecodedRequest out;
  Decoder d;
  d.Each(message, "WriteRequest", [&](const Field& f) {
    if (f.type != 2) return false;
    if (f.number == 1) return out.series.push_back(d.ReadSeries1(f.payload)), true;
    if (f.number != 3) return false;
    std::string family;
    Metadata m;
    d.Each(f.payload, "MetricMetadata", [&](const Field& g) {
      if (g.number == 1 && g.type == 0) return m.type = static_cast<MetricType>(g.value), true;
      if (g.number == 2 && g.type == 2) return family = g.payload, true;
      if (g.number == 4 && g.type == 2) return m.help = g.payload, true;
      if (g.number == 5 && g.type == 2) return m.unit = g.payload, true;
      return false;
    });
    if (!out.families.emplace(family, m).second) d.Fail("metadata twice for " + family);
    return true;
  });
  out.error = d.error;
  return out;
}

DecodedRequest DecodeRequest2(std::string_view message) {
  DecodedRequest out;
  Decoder d;
  d.Each(message, "Request", [&](const Field& f) {
    if (f.type == 2 && f.number == 4) return out.symbols.emplace_back(f.payload), true;
    if (f.type == 2 && f.number == 5) return out.series.push_back(d.ReadSeries2(f.payload, out.symbols)), true;
    return false;
  });
  if (out.symbols.empty() || !out.symbols[0].empty()) d.Fail("symbol 0 is not empty");
  if (std::set<std::string>(out.symbols.begin(), out.symbols.end()).size() != out.symbols.size()) d.Fail("a symbol twice");
  out.error = d.error;
  return out;
}

DecodedRequest DecodeReadResponse(std::string_view message) {
  DecodedRequest out;
  Decoder d;
  d.Each(message, "ReadResponse", [&](const Field& f) {
    if (f.type != 2 || f.number != 1) return false;
    d.Each(f.payload, "QueryResult", [&](const Field& g) {
      if (g.type != 2 || g.number != 1) return false;
      return out.series.push_back(d.ReadSeries1(g.payload)), true;
    });
    return true;
  });
  out.error = d.error;
  return out;
}

std::string Unsnappy(std::string_view compressed) {
  std::string out;
  if (!snappy::Uncompress(compressed.data(), compressed.size(), &out)) out.clear();
  return out;
}

}  // namespace chronolith::testing
