#include "interop/json_lines.h"

#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "interop/family_metadata.h"
#include "interop/json_read.h"
#include "interop/label_json.h"
#include "interop/label_json_builder.h"
#include "interop/text_scan.h"
#include "interop/value_text.h"

namespace chronolith::interop {

namespace {

void AppendDouble(double v, std::string* json) {
  if (std::isfinite(v)) {
    json->append(FormatValue(v));
  } else {
    json->append("\"").append(FormatValue(v)).append("\"");
  }
}
void AppendNumber(double v, std::string* json) { AppendDouble(v, json); }
void AppendNumber(std::int64_t v, std::string* json) { json->append(std::to_string(v)); }
void AppendNumber(std::uint64_t v, std::string* json) { json->append(std::to_string(v)); }

void AppendSpans(const char* name, const std::vector<BucketSpan>& spans, std::string* json) {
  if (spans.empty()) return;
  json->append(",\"").append(name).append("\":");
  const char* separator = "[[";
  for (const BucketSpan& span : spans) {
    json->append(separator).append(std::to_string(span.offset)).append(",").append(std::to_string(span.length));
    separator = "],[";
  }
  json->append("]]");
}

template <typename T>
void AppendList(const char* name, const std::vector<T>& numbers, std::string* json) {
  if (numbers.empty()) return;
  json->append(",\"").append(name).append("\":");
  const char* separator = "[";
  for (const T number : numbers) {
    json->append(separator);
    AppendNumber(number, json);
    separator = ",";
  }
  json->push_back(']');
}

constexpr std::string_view kHints[] = {"unknown", "yes", "no", "gauge"};

template <typename H>
void AppendShared(const H& h, std::string* json) {
  json->append(",\"schema\":").append(std::to_string(h.schema)).append(",\"count\":");
  AppendNumber(h.count, json);
  json->append(",\"sum\":");
  AppendDouble(h.sum, json);
  json->append(",\"zero_threshold\":");
  AppendDouble(h.zero_threshold, json);
  json->append(",\"zero_count\":");
  AppendNumber(h.zero_count, json);
  if (h.reset_hint != CounterResetHint::kUnknown) {
    json->append(",\"reset_hint\":\"").append(kHints[static_cast<std::size_t>(h.reset_hint)]).append("\"");
  }
  AppendSpans("positive_spans", h.positive_spans, json);
  AppendSpans("negative_spans", h.negative_spans, json);
  AppendList("custom_values", h.custom_values, json);
}

// ---- Reading ----

Status ReadNumber(JsonText* json, ondemand::value item, const char* what, double* value) {
  std::string text;
  if (Status s = json->Scalar(item, what, &text); !s.ok()) return s;
  if (text == "null") text = "NaN";  // as VictoriaMetrics writes it
  return ParseValue(text, value) ? Status::Ok() : json->Error(std::string(what) + " " + Quoted(text) + " is not a number");
}

template <typename T>
bool ParseWhole(const std::string& text, T* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

template <typename T>
Status ReadNumber(JsonText* json, ondemand::value item, const char* what, T* value) {
  std::string text;
  if (Status s = json->Scalar(item, what, &text); !s.ok()) return s;
  if (ParseWhole(text, value)) return Status::Ok();
  return json->Error(std::string(what) + " " + Quoted(text) + " is not a whole number in range");
}

template <typename T>
Status ReadList(JsonText* json, ondemand::value array, const char* what, std::vector<T>* list) {
  list->clear();
  return json->ReadArray(array, [&](ondemand::value item) { return ReadNumber(json, item, what, &list->emplace_back()); });
}

Status ReadSpans(JsonText* json, ondemand::value array, std::vector<BucketSpan>* spans) {
  spans->clear();
  return json->ReadArray(array, [&](ondemand::value item) -> Status {
    BucketSpan& span = spans->emplace_back();
    int read = 0;
    Status status = json->ReadArray(item, [&](ondemand::value part) -> Status {
      ++read;
      return read == 1   ? ReadNumber(json, part, "offset", &span.offset)
             : read == 2 ? ReadNumber(json, part, "length", &span.length)
                         : Status::Ok();
    });
    return status.ok() && read != 2 ? json->Error("expected a span, [offset,length]") : status;
  });
}

Status ReadMetadata(JsonText* json, ondemand::value object, Metadata* metadata) {
  return json->ReadObject(object, [&](std::string_view name, ondemand::value value) -> Status {
    if (name == "unit") return json->String(value, "a unit", &metadata->unit);
    if (name == "help") return json->String(value, "a text", &metadata->help);
    if (name != "type") return Status::Ok();
    std::string type;
    if (Status s = json->String(value, "a type", &type); !s.ok()) return s;
    return ParseMetricType(type, &metadata->type) ? Status::Ok() : json->Error("unknown type " + Quoted(type));
  });
}

Status ReadLabels(JsonText* json, ondemand::value object, Labels* labels) {
  LabelJsonBuilder builder;
  Status status =
      json->ReadObject(object, [&](std::string_view name, ondemand::value value) { return builder.Add(json, name, value); });
  return status.ok() ? builder.Finish(labels) : status;
}

Status ReadExemplar(JsonText* json, ondemand::value object, Exemplar* exemplar) {
  return json->ReadObject(object, [&](std::string_view name, ondemand::value value) -> Status {
    if (name == "value") return ReadNumber(json, value, "value", &exemplar->value);
    if (name == "timestamp") return ReadNumber(json, value, "timestamp", &exemplar->timestamp);
    return name == "labels" ? ReadLabels(json, value, &exemplar->labels) : Status::Ok();
  });
}

Status ReadHint(JsonText* json, ondemand::value value, CounterResetHint* hint) {
  std::string text;
  if (Status s = json->String(value, "a hint", &text); !s.ok()) return s;
  for (std::size_t i = 0; i < std::size(kHints); ++i) {
    if (kHints[i] != text) continue;
    *hint = static_cast<CounterResetHint>(i);
    return Status::Ok();
  }
  return json->Error("unknown reset hint " + Quoted(text));
}

// Counts come before it is known whether they are integers: their text is kept.
Status ReadHistogram(JsonText* json, ondemand::value object, HistogramSample* sample) {
  FloatHistogram f;
  IntHistogram n;
  std::string count = "0", zero_count = "0";
  bool is_float = false;
  Status read = json->ReadObject(object, [&](std::string_view name, ondemand::value value) -> Status {
    if (name == "timestamp") return ReadNumber(json, value, "timestamp", &sample->timestamp);
    if (name == "count") return json->Scalar(value, "count", &count);
    if (name == "zero_count") return json->Scalar(value, "zero_count", &zero_count);
    if (name == "sum") return ReadNumber(json, value, "sum", &f.sum);
    if (name == "schema") return ReadNumber(json, value, "schema", &f.schema);
    if (name == "zero_threshold") return ReadNumber(json, value, "zero_threshold", &f.zero_threshold);
    if (name == "reset_hint") return ReadHint(json, value, &f.reset_hint);
    if (name == "positive_spans") return ReadSpans(json, value, &f.positive_spans);
    if (name == "negative_spans") return ReadSpans(json, value, &f.negative_spans);
    if (name == "custom_values") return ReadList(json, value, "custom value", &f.custom_values);
    if (name == "positive_deltas") return ReadList(json, value, "delta", &n.positive_deltas);
    if (name == "negative_deltas") return ReadList(json, value, "delta", &n.negative_deltas);
    if (name == "positive_counts") return ReadList(json, value, "count", &f.positive_counts);
    if (name == "negative_counts") return ReadList(json, value, "count", &f.negative_counts);
    if (name != "float") return Status::Ok();
    std::string text;
    if (Status s = json->Scalar(value, "true or false", &text); !s.ok()) return s;
    is_float = text == "true";
    return Status::Ok();
  });
  if (!read.ok()) return read;
  const auto wrong = [json](const std::string& text) { return json->Error("count " + Quoted(text) + " is not a number"); };
  if (is_float) {
    if (!ParseValue(count, &f.count)) return wrong(count);
    if (!ParseValue(zero_count, &f.zero_count)) return wrong(zero_count);
    sample->histogram = std::move(f);
    return Status::Ok();
  }
  for (const auto& [text, to] : {std::pair(&count, &n.count), std::pair(&zero_count, &n.zero_count)}) {
    if (!ParseWhole(*text, to)) return wrong(*text);
  }
  n.sum = f.sum;
  n.schema = f.schema;
  n.zero_threshold = f.zero_threshold;
  n.reset_hint = f.reset_hint;
  n.positive_spans = std::move(f.positive_spans);
  n.negative_spans = std::move(f.negative_spans);
  n.custom_values = std::move(f.custom_values);
  sample->histogram = std::move(n);
  return Status::Ok();
}

}  // namespace

void JsonLinesWriter::BeginSeries(const Labels& labels, const std::optional<Metadata>& metadata) {
  metric_.clear();
  AppendJsonLabels(labels, &metric_);
  metadata_.clear();
  if (!metadata) return;
  metadata_.append("{\"type\":\"").append(MetricTypeName(metadata->type)).append("\",\"unit\":");
  AppendJsonString(metadata->unit, &metadata_);
  metadata_.append(",\"help\":");
  AppendJsonString(metadata->help, &metadata_);
  metadata_.push_back('}');
}

void JsonLinesWriter::AddSample(Sample sample) {
  if (!values_.empty()) values_.push_back(',');
  AppendDouble(sample.value, &values_);
  if (!timestamps_.empty()) timestamps_.push_back(',');
  timestamps_.append(std::to_string(sample.timestamp));
  Added();
}

void JsonLinesWriter::AddHistogram(Timestamp t, const Histogram& histogram) {
  if (!histograms_.empty()) histograms_.push_back(',');
  histograms_.append("{\"timestamp\":").append(std::to_string(t));
  if (const auto* n = std::get_if<IntHistogram>(&histogram)) {
    AppendShared(*n, &histograms_);
    AppendList("positive_deltas", n->positive_deltas, &histograms_);
    AppendList("negative_deltas", n->negative_deltas, &histograms_);
  } else {
    const auto& f = std::get<FloatHistogram>(histogram);
    histograms_.append(",\"float\":true");
    AppendShared(f, &histograms_);
    AppendList("positive_counts", f.positive_counts, &histograms_);
    AppendList("negative_counts", f.negative_counts, &histograms_);
  }
  histograms_.push_back('}');
  Added();
}

void JsonLinesWriter::AddExemplar(const Exemplar& exemplar) {
  exemplars_.append(exemplars_.empty() ? "{\"labels\":" : ",{\"labels\":");
  AppendJsonLabels(exemplar.labels, &exemplars_);
  exemplars_.append(",\"value\":");
  AppendDouble(exemplar.value, &exemplars_);
  exemplars_.append(",\"timestamp\":").append(std::to_string(exemplar.timestamp)).append("}");
  Added();
}

void JsonLinesWriter::WriteLine() {
  out_->append("{\"metric\":").append(metric_).append(",\"values\":[").append(values_);
  out_->append("],\"timestamps\":[").append(timestamps_).append("]");
  if (!metadata_.empty()) out_->append(",\"metadata\":").append(metadata_);
  if (!histograms_.empty()) out_->append(",\"histograms\":[").append(histograms_).append("]");
  if (!exemplars_.empty()) out_->append(",\"exemplars\":[").append(exemplars_).append("]");
  out_->append("}\n");
  metadata_.clear();
  for (std::string* list : {&values_, &timestamps_, &histograms_, &exemplars_}) list->clear();
  points_ = 0;
}

void JsonLinesWriter::EndSeries() {
  if (points_ > 0 || !metadata_.empty()) WriteLine();
}

Result<TimeSeries> ParseJsonSeries(std::string_view line) {
  JsonText json(line);
  TimeSeries series;
  std::vector<double> values;
  std::vector<Timestamp> timestamps;
  Status read = json.ReadAll([&](std::string_view name, ondemand::value value) -> Status {
    if (name == "metric") return ReadLabels(&json, value, &series.labels);
    if (name == "values") return ReadList(&json, value, "value", &values);
    if (name == "timestamps") return ReadList(&json, value, "timestamp", &timestamps);
    if (name == "metadata") return series.metadata.assign(1, Metadata{}), ReadMetadata(&json, value, &series.metadata[0]);
    if (name == "histograms") {
      return json.ReadArray(value, [&](ondemand::value h) { return ReadHistogram(&json, h, &series.histograms.emplace_back()); });
    }
    if (name == "exemplars") {
      return json.ReadArray(value, [&](ondemand::value e) { return ReadExemplar(&json, e, &series.exemplars.emplace_back()); });
    }
    return Status::Ok();
  });
  if (!read.ok()) return read;
  if (series.labels.empty()) return InvalidArgument("\"metric\" is missing");
  if (values.size() != timestamps.size()) {
    return InvalidArgument(std::to_string(values.size()) + " values, but " + std::to_string(timestamps.size()) + " timestamps");
  }
  series.samples.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) series.samples.push_back({timestamps[i], values[i]});
  return series;
}

}  // namespace chronolith::interop
