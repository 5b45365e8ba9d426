#include "interop/label_text.h"

#include <algorithm>

#include "interop/text_scan.h"

namespace chronolith::interop {

namespace {

void SkipBlanks(std::string_view* text) {
  std::size_t n = 0;
  while (n < text->size() && ((*text)[n] == ' ' || (*text)[n] == '\t')) ++n;
  text->remove_prefix(n);
}

}  // namespace

std::size_t SeriesTextLength(std::string_view line) {
  const std::size_t name = MetricNamePrefix(line);
  std::size_t at = name;
  while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
  if (at == line.size() || line[at] != '{') return name;
  for (++at; at < line.size(); ++at) {
    if (line[at] == '}') return at + 1;
    if (line[at] != '"') continue;
    for (++at; at < line.size() && line[at] != '"'; ++at) {
      if (line[at] == '\\') ++at;
    }
  }
  return line.size();
}

Status SeriesText::Parse(std::string_view text) {
  arena_.clear();
  parts_.clear();
  if (!IsValidUtf8(text)) return InvalidArgument("series " + Quoted(text) + " is not valid UTF-8");
  const std::size_t name = MetricNamePrefix(text);
  if (name > 0) {
    Part part;
    part.name_size = kMetricName.size();
    part.value = kMetricName.size();
    part.value_size = name;
    arena_.append(kMetricName).append(text.substr(0, name));
    parts_.push_back(part);
  }
  text.remove_prefix(name);
  SkipBlanks(&text);
  if (!text.empty()) {
    if (Status s = ParseBody(text); !s.ok()) return s;
  }
  if (Status s = Sort(); !s.ok()) return s;
  if (metric_name().empty()) return InvalidArgument("metric name is missing");
  return Status::Ok();
}

Status SeriesText::ParseBraces(std::string_view text) {
  arena_.clear();
  parts_.clear();
  if (!IsValidUtf8(text)) return InvalidArgument("labels " + Quoted(text) + " are not valid UTF-8");
  if (Status s = ParseBody(text); !s.ok()) return s;
  return Sort();
}

Status SeriesText::ParseBody(std::string_view body) {
  std::string_view rest = body;
  if (rest.empty() || rest[0] != '{') return InvalidArgument("expected '{', got " + Quoted(rest));
  rest.remove_prefix(1);
  while (true) {
    SkipBlanks(&rest);
    if (!rest.empty() && rest[0] == '}') break;
    const std::size_t name = LabelNamePrefix(rest);
    if (name == 0) {
      if (rest.empty()) return InvalidArgument("labels " + Quoted(body) + " have no closing '}'");
      return InvalidArgument("expected a label name, got " + Quoted(rest));
    }
    Part part;
    part.name = arena_.size();
    part.name_size = name;
    arena_.append(rest.substr(0, name));
    parts_.push_back(part);
    const std::string_view label = rest.substr(0, name);
    rest.remove_prefix(name);
    if (Status s = ParseValue(&rest, label); !s.ok()) return s;
    SkipBlanks(&rest);
    if (!rest.empty() && rest[0] == ',') {
      rest.remove_prefix(1);
    } else if (rest.empty() || rest[0] != '}') {
      if (rest.empty()) return InvalidArgument("labels " + Quoted(body) + " have no closing '}'");
      return InvalidArgument("expected ',' or '}' after label " + Quoted(label) + ", got " + Quoted(rest));
    }
  }
  rest.remove_prefix(1);
  SkipBlanks(&rest);
  if (!rest.empty()) return InvalidArgument("unexpected " + Quoted(rest) + " after the labels");
  return Status::Ok();
}

Status SeriesText::ParseValue(std::string_view* rest, std::string_view name) {
  SkipBlanks(rest);
  if (rest->empty() || (*rest)[0] != '=') return InvalidArgument("expected '=' after label name " + Quoted(name));
  rest->remove_prefix(1);
  SkipBlanks(rest);
  if (rest->empty() || (*rest)[0] != '"') return InvalidArgument("the value of label " + Quoted(name) + " is not in double quotes");
  std::size_t at = 1;
  Part& part = parts_.back();
  part.value = arena_.size();
  for (; at < rest->size() && (*rest)[at] != '"'; ++at) {
    char c = (*rest)[at];
    if (c == '\0') return InvalidArgument("the value of label " + Quoted(name) + " holds a zero byte");
    if (c == '\\' && at + 1 < rest->size()) {
      // Other escapes stay as they are, as in Prometheus: a Windows path that nobody escaped is still readable.
      const char next = (*rest)[at + 1];
      if (next == '\\' || next == '"' || next == 'n') {
        c = next == 'n' ? '\n' : next;
        ++at;
      }
    }
    arena_.push_back(c);
  }
  if (at >= rest->size()) return InvalidArgument("the value of label " + Quoted(name) + " has no closing quote");
  part.value_size = arena_.size() - part.value;
  rest->remove_prefix(at + 1);
  return Status::Ok();
}

Status SeriesText::Sort() {
  std::sort(parts_.begin(), parts_.end(), [this](const Part& a, const Part& b) { return Name(a) < Name(b); });
  for (std::size_t i = 1; i < parts_.size(); ++i) {
    if (Name(parts_[i - 1]) == Name(parts_[i])) {
      return InvalidArgument("label " + Quoted(Name(parts_[i])) + " is there twice");
    }
  }
  std::erase_if(parts_, [](const Part& p) { return p.value_size == 0; });
  characters_ = 0;
  for (const Part& p : parts_) {
    for (const char c : Value(p)) characters_ += (static_cast<unsigned char>(c) & 0xc0) != 0x80 ? 1 : 0;
    characters_ += p.name_size;
  }
  return Status::Ok();
}

Labels SeriesText::labels() const {
  std::string encoded;
  encoded.reserve(arena_.size() + 2 * parts_.size());
  for (const Part& p : parts_) Labels::AppendEncoded(Name(p), Value(p), &encoded);
  return Labels::FromEncoded(std::move(encoded));
}

std::string_view SeriesText::metric_name() const {
  for (const Part& p : parts_) {
    if (Name(p) == kMetricName) return Value(p);
  }
  return {};
}

}  // namespace chronolith::interop
