#include <algorithm>
#include <limits>
#include <numeric>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_index.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kMagic = 0xbaaad700;
constexpr char kVersion = 2;

// `content` as a section: length, content, checksum.
Status AppendSection(std::string_view what, const std::string& content, FileSink* out) {
  if (content.size() > std::numeric_limits<std::uint32_t>::max()) {
    return ResourceExhausted("Prometheus index: " + std::string(what) + " would take " + std::to_string(content.size()) +
                             " bytes, the format allows 4 GiB");
  }
  std::string frame;
  PutBigEndian32(&frame, static_cast<std::uint32_t>(content.size()));
  out->Append(frame);
  out->Append(content);
  frame.clear();
  PutBigEndian32(&frame, Crc32c(content));
  out->Append(frame);
  return Status::Ok();
}

void SetCount(std::size_t count, std::string* content) { StoreBigEndian(content->data(), static_cast<std::uint32_t>(count)); }

}  // namespace

std::uint32_t PrometheusIndexWriter::Intern(std::string_view s) {
  const auto found = symbols_.find(s);
  if (found != symbols_.end()) return found->second;
  const auto number = static_cast<std::uint32_t>(strings_.size());
  strings_.push_back(symbols_.emplace(std::string(s), number).first->first);
  return number;
}

Status PrometheusIndexWriter::Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks) {
  std::string_view name_before;
  for (const Label& l : labels) {
    if (l.name.empty() || l.value.empty() || l.name <= name_before) {
      return InvalidArgument("Prometheus index: series " + labels.ToString() + ": label \"" + std::string(l.name) +
                             "\" is empty, has an empty value, or is not in order");
    }
    name_before = l.name;
  }
  if (!series_.empty() && (last_ <=> labels) >= 0) {
    return InvalidArgument("Prometheus index: series " + labels.ToString() + " does not come behind " + last_.ToString());
  }
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].min_time > chunks[i].max_time || (i > 0 && chunks[i].min_time <= chunks[i - 1].max_time)) {
      return InvalidArgument("Prometheus index: series " + labels.ToString() + ": chunk " + std::to_string(i) +
                             " is not in order of time");
    }
  }
  for (const Label& l : labels) {
    const std::uint32_t name = Intern(l.name), value = Intern(l.value);
    const auto [at, is_new] =
        pair_numbers_.emplace(static_cast<std::uint64_t>(name) << 32 | value, static_cast<std::uint32_t>(pairs_.size()));
    if (is_new) pairs_.push_back({name, value, 0});
    ++pairs_[at->second].series;
    label_pairs_.push_back(at->second);
  }
  chunks_.insert(chunks_.end(), chunks.begin(), chunks.end());
  series_.push_back({label_pairs_.size(), chunks_.size()});
  last_ = labels;
  return Status::Ok();
}

void PrometheusIndexWriter::SortSymbols() {
  symbol_order_.resize(strings_.size());
  std::iota(symbol_order_.begin(), symbol_order_.end(), 0U);
  std::sort(symbol_order_.begin(), symbol_order_.end(), [this](auto a, auto b) { return strings_[a] < strings_[b]; });
  symbol_places_.resize(strings_.size());
  for (std::uint32_t i = 0; i < symbol_order_.size(); ++i) symbol_places_[symbol_order_[i]] = i;
  pair_order_.resize(pairs_.size());
  std::iota(pair_order_.begin(), pair_order_.end(), 0U);
  std::sort(pair_order_.begin(), pair_order_.end(), [this](auto a, auto b) {
    return std::pair(symbol_places_[pairs_[a].name], symbol_places_[pairs_[a].value]) <
           std::pair(symbol_places_[pairs_[b].name], symbol_places_[pairs_[b].value]);
  });
}

Status PrometheusIndexWriter::WriteSymbols(FileSink* out) const {
  std::string content(4, '\0');
  SetCount(symbol_order_.size(), &content);
  for (const std::uint32_t number : symbol_order_) PutBytes(&content, strings_[number]);
  return AppendSection("the symbol table", content, out);
}

Status PrometheusIndexWriter::WriteSeries(FileSink* out) {
  std::string content, frame;
  SeriesEntry begin;
  for (const SeriesEntry& end : series_) {
    out->Pad(16);
    const std::uint64_t ref = out->position() / 16;
    if (ref > std::numeric_limits<std::uint32_t>::max()) {
      return ResourceExhausted("Prometheus index: the series would take more than 64 GiB");
    }
    series_refs_.push_back(static_cast<std::uint32_t>(ref));
    content.clear();
    PutVarint(&content, end.labels_end - begin.labels_end);
    for (std::uint64_t i = begin.labels_end; i < end.labels_end; ++i) {
      PutVarint(&content, symbol_places_[pairs_[label_pairs_[i]].name]);
      PutVarint(&content, symbol_places_[pairs_[label_pairs_[i]].value]);
    }
    PutVarint(&content, end.chunks_end - begin.chunks_end);
    for (std::uint64_t i = begin.chunks_end; i < end.chunks_end; ++i) {
      const PrometheusChunkRef& c = chunks_[i];
      const auto span = static_cast<std::uint64_t>(c.max_time) - static_cast<std::uint64_t>(c.min_time);
      if (i == begin.chunks_end) {
        PutZigZag(&content, c.min_time);
        PutVarint(&content, span);
        PutVarint(&content, c.ref);
      } else {
        PutVarint(&content, static_cast<std::uint64_t>(c.min_time) - static_cast<std::uint64_t>(chunks_[i - 1].max_time));
        PutVarint(&content, span);
        PutZigZag(&content, static_cast<std::int64_t>(c.ref - chunks_[i - 1].ref));
      }
    }
    frame.clear();
    PutBytes(&frame, content);
    PutBigEndian32(&frame, Crc32c(content));
    out->Append(frame);
    begin = end;
  }
  return Status::Ok();
}

// One list of values a name. The pairs of a name stand together in pair_order_; an entry carries the first.
Status PrometheusIndexWriter::WriteLabelIndices(FileSink* out, std::vector<OffsetEntry>* entries) const {
  std::string content;
  for (std::size_t i = 0; i < pair_order_.size();) {
    const std::uint32_t first = pair_order_[i];
    content.assign(8, '\0');
    for (; i < pair_order_.size() && pairs_[pair_order_[i]].name == pairs_[first].name; ++i) {
      PutBigEndian32(&content, symbol_places_[pairs_[pair_order_[i]].value]);
    }
    SetCount(1, &content);
    StoreBigEndian(content.data() + 4, static_cast<std::uint32_t>(content.size() / 4 - 2));
    out->Pad(4);
    entries->push_back({first, out->position()});
    if (Status s = AppendSection("label values", content, out); !s.ok()) return s;
  }
  return Status::Ok();
}

Status PrometheusIndexWriter::WritePostings(FileSink* out, std::vector<OffsetEntry>* entries) const {
  // The references of all lists in one array, filled series by series, so that each list comes out ascending.
  std::vector<std::uint64_t> next(pairs_.size());
  std::uint64_t total = 0;
  for (const std::uint32_t p : pair_order_) {
    next[p] = total;
    total += pairs_[p].series;
  }
  std::vector<std::uint32_t> refs(total);
  std::uint64_t label = 0;
  for (std::size_t s = 0; s < series_.size(); ++s) {
    for (; label < series_[s].labels_end; ++label) refs[next[label_pairs_[label]]++] = series_refs_[s];
  }
  std::string content;
  std::uint64_t at = 0;
  for (const std::uint32_t p : pair_order_) {
    content.assign(4, '\0');
    SetCount(pairs_[p].series, &content);
    for (std::uint32_t i = 0; i < pairs_[p].series; ++i) PutBigEndian32(&content, refs[at++]);
    out->Pad(4);
    entries->push_back({p, out->position()});
    if (Status s = AppendSection("postings", content, out); !s.ok()) return s;
  }
  return Status::Ok();
}

Status PrometheusIndexWriter::WriteLabelOffsets(const std::vector<OffsetEntry>& entries, FileSink* out) const {
  std::string content(4, '\0');
  SetCount(entries.size(), &content);
  for (const OffsetEntry& e : entries) {
    content.push_back(1);
    PutBytes(&content, strings_[pairs_[e.pair].name]);
    PutVarint(&content, e.offset);
  }
  return AppendSection("the label offset table", content, out);
}

Status PrometheusIndexWriter::WritePostingOffsets(std::uint64_t all, const std::vector<OffsetEntry>& entries, FileSink* out) const {
  std::string content(4, '\0');
  SetCount(entries.size() + 1, &content);
  content.append("\x02\0\0", 3);
  PutVarint(&content, all);
  for (const OffsetEntry& e : entries) {
    content.push_back(2);
    PutBytes(&content, strings_[pairs_[e.pair].name]);
    PutBytes(&content, strings_[pairs_[e.pair].value]);
    PutVarint(&content, e.offset);
  }
  return AppendSection("the postings offset table", content, out);
}

Status PrometheusIndexWriter::WriteTo(FileSink* out) {
  Intern("");  // of the list of all series, whose name and value are empty: Prometheus has it among its symbols
  SortSymbols();
  std::string toc, bytes;
  PutBigEndian32(&bytes, kMagic);
  bytes.push_back(kVersion);
  out->Append(bytes);
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteSymbols(out); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  series_refs_.clear();
  if (Status s = WriteSeries(out); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  std::vector<OffsetEntry> label_entries, posting_entries;
  if (Status s = WriteLabelIndices(out, &label_entries); !s.ok()) return s;
  out->Pad(4);
  const std::uint64_t all = out->position();
  bytes.assign(4, '\0');
  SetCount(series_refs_.size(), &bytes);
  for (const std::uint32_t ref : series_refs_) PutBigEndian32(&bytes, ref);
  if (Status s = AppendSection("the list of all series", bytes, out); !s.ok()) return s;
  if (Status s = WritePostings(out, &posting_entries); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteLabelOffsets(label_entries, out); !s.ok()) return s;
  PutBigEndian64(&toc, all);
  PutBigEndian64(&toc, out->position());
  if (Status s = WritePostingOffsets(all, posting_entries, out); !s.ok()) return s;
  PutBigEndian32(&toc, Crc32c(toc));
  out->Append(toc);
  return Status::Ok();
}

}  // namespace chronolith
