#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <numeric>

#include "base/checksum.h"
#include "base/coding.h"
#include "base/posix_file.h"
#include "interop/prometheus_index.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kMagic = 0xbaaad700;
constexpr char kVersion = 2;
constexpr std::uint64_t kPostingsAtOnce = 4 << 20;
constexpr std::size_t kSpoolBytes = 1 << 20;

// A section whose length is known before its content: length, content, checksum.
class Section {
 public:
  Section(FileSink* out, std::uint64_t length) : out_(out) {
    std::string head;
    PutBigEndian32(&head, static_cast<std::uint32_t>(length));
    out_->Append(head);
  }
  void Append(std::string_view bytes) {
    crc_ = Crc32c(bytes, crc_);
    out_->Append(bytes);
  }
  void End() {
    std::string tail;
    PutBigEndian32(&tail, crc_);
    out_->Append(tail);
  }

 private:
  FileSink* const out_;
  std::uint32_t crc_ = 0;
};

Status CheckLength(std::string_view what, std::uint64_t length) {
  if (length <= std::numeric_limits<std::uint32_t>::max()) return Status::Ok();
  return ResourceExhausted("Prometheus index: " + std::string(what) + " would take " + std::to_string(length) +
                           " bytes, the format allows 4 GiB");
}

// `content` as a section.
Status AppendSection(std::string_view what, const std::string& content, FileSink* out) {
  if (Status s = CheckLength(what, content.size()); !s.ok()) return s;
  Section section(out, content.size());
  section.Append(content);
  section.End();
  return Status::Ok();
}

void SetCount(std::size_t count, std::string* content) { StoreBigEndian(content->data(), static_cast<std::uint32_t>(count)); }

// A section of many small entries that need not stand in memory together: `each` is called twice, to measure and to write.
template <typename Each>
Status AppendEntries(std::string_view what, std::uint64_t count, FileSink* out, const Each& each) {
  std::uint64_t length = 4;
  each([&length](std::string_view bytes) { length += bytes.size(); });
  if (Status s = CheckLength(what, length); !s.ok()) return s;
  Section section(out, length);
  std::string head(4, '\0');
  SetCount(count, &head);
  section.Append(head);
  each([&section](std::string_view bytes) { section.Append(bytes); });
  section.End();
  return Status::Ok();
}

void PutChunks(std::span<const PrometheusChunkRef> chunks, std::string* to) {
  PutVarint(to, chunks.size());
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const PrometheusChunkRef& c = chunks[i];
    const auto span = static_cast<std::uint64_t>(c.max_time) - static_cast<std::uint64_t>(c.min_time);
    if (i == 0) {
      PutZigZag(to, c.min_time);
      PutVarint(to, span);
      PutVarint(to, c.ref);
    } else {
      PutVarint(to, static_cast<std::uint64_t>(c.min_time) - static_cast<std::uint64_t>(chunks[i - 1].max_time));
      PutVarint(to, span);
      PutZigZag(to, static_cast<std::int64_t>(c.ref - chunks[i - 1].ref));
    }
  }
}

Status CheckSeries(const Labels& labels, std::span<const PrometheusChunkRef> chunks) {
  std::string_view name_before;
  for (const Label& l : labels) {
    if (l.name.empty() || l.value.empty() || l.name <= name_before) {
      return InvalidArgument("Prometheus index: series " + labels.ToString() + ": label \"" + std::string(l.name) +
                             "\" is empty, has an empty value, or is not in order");
    }
    name_before = l.name;
  }
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].min_time > chunks[i].max_time || (i > 0 && chunks[i].min_time <= chunks[i - 1].max_time)) {
      return InvalidArgument("Prometheus index: series " + labels.ToString() + ": chunk " + std::to_string(i) +
                             " is not in order of time");
    }
  }
  return Status::Ok();
}

}  // namespace

// Reads the series of the spool one after another.
class PrometheusIndexWriter::SpoolReader {
 public:
  Status Open(const std::string& path) { return file_.Open(path); }

  // Moves to the next series; false at the end, or where status() is not ok.
  bool Next() {
    std::uint32_t length = 0;
    if (!Have(4)) return false;
    length = LoadFixed<std::uint32_t>(buffer_.data() + at_);
    at_ += 4;
    if (!Have(length)) return false;
    ByteReader in(std::string_view(buffer_).substr(at_, length));
    at_ += length;
    pairs_.clear();
    for (std::uint64_t n = in.Varint(); n > 0 && in.ok(); --n) pairs_.push_back(static_cast<std::uint32_t>(in.Varint()));
    chunks_ = in.Bytes(in.remaining());
    if (!in.ok()) status_ = IoError("Prometheus index: the spool of its series is malformed");
    return in.ok();
  }
  const std::vector<std::uint32_t>& pairs() const { return pairs_; }
  std::string_view chunks() const { return chunks_; }
  const Status& status() const { return status_; }

 private:
  bool Have(std::size_t n) {
    if (buffer_.size() - at_ >= n) return true;
    std::string more;
    offset_ += at_;
    status_ = file_.ReadAt(offset_, std::max(n, kSpoolBytes), &more);
    buffer_ = std::move(more);
    at_ = 0;
    return status_.ok() && buffer_.size() >= n;
  }

  FileSource file_;
  std::uint64_t offset_ = 0;  // of buffer_ in the file
  std::size_t at_ = 0;
  std::string buffer_;
  std::vector<std::uint32_t> pairs_;
  std::string_view chunks_;
  Status status_;
};

PrometheusIndexWriter::PrometheusIndexWriter(std::string spool)
    : symbols_(0, SymbolHash{this}, SymbolEqual{this}),
      pair_numbers_(0, PairHash{this}, PairEqual{this}),
      spool_path_(std::move(spool)) {}

PrometheusIndexWriter::~PrometheusIndexWriter() {
  if (spooled_) ::unlink(spool_path_.c_str());
}

Status PrometheusIndexWriter::OpenSpool() {
  if (spooled_) return Status::Ok();
  Status s = spool_.Create(spool_path_);
  spooled_ = s.ok();
  return s;
}

std::uint32_t PrometheusIndexWriter::Intern(std::string_view s) {
  const auto found = symbols_.find(s);
  if (found != symbols_.end()) return *found;
  const auto number = static_cast<std::uint32_t>(symbol_ends_.size());
  text_.append(s);
  symbol_ends_.push_back(text_.size());
  symbols_.insert(number);
  return number;
}

std::uint32_t PrometheusIndexWriter::InternPair(std::uint32_t name, std::uint32_t value) {
  const auto found = pair_numbers_.find(static_cast<std::uint64_t>(name) << 32 | value);
  if (found != pair_numbers_.end()) return *found;
  const auto number = static_cast<std::uint32_t>(pairs_.size());
  pairs_.push_back({name, value, 0});
  pair_numbers_.insert(number);
  return number;
}

Status PrometheusIndexWriter::Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks) {
  if (Status s = CheckSeries(labels, chunks); !s.ok()) return s;
  if (series_ > 0 && (last_ <=> labels) >= 0) {
    return InvalidArgument("Prometheus index: series " + labels.ToString() + " does not come behind " + last_.ToString());
  }
  if (Status s = OpenSpool(); !s.ok()) return s;
  numbers_.clear();
  for (const Label& l : labels) {
    const std::uint32_t name = Intern(l.name), value = Intern(l.value);
    numbers_.push_back(InternPair(name, value));
    ++pairs_[numbers_.back()].series;
  }
  std::string entry(4, '\0');
  PutVarint(&entry, numbers_.size());
  for (const std::uint32_t pair : numbers_) PutVarint(&entry, pair);
  PutChunks(chunks, &entry);
  StoreFixed(entry.data(), static_cast<std::uint32_t>(entry.size() - 4));
  spool_.Append(entry);
  ++series_;
  last_ = labels;
  return Status::Ok();
}

void PrometheusIndexWriter::SortSymbols() {
  const auto numbers = [](std::size_t n) {
    std::vector<std::uint32_t> all(n);
    std::iota(all.begin(), all.end(), 0U);
    return all;
  };
  symbol_order_ = numbers(symbol_ends_.size());
  std::sort(symbol_order_.begin(), symbol_order_.end(), [this](auto a, auto b) { return Symbol(a) < Symbol(b); });
  symbol_places_.resize(symbol_order_.size());
  for (std::uint32_t i = 0; i < symbol_order_.size(); ++i) symbol_places_[symbol_order_[i]] = i;
  pair_order_ = numbers(pairs_.size());
  std::sort(pair_order_.begin(), pair_order_.end(), [this](auto a, auto b) {
    return std::pair(symbol_places_[pairs_[a].name], symbol_places_[pairs_[a].value]) <
           std::pair(symbol_places_[pairs_[b].name], symbol_places_[pairs_[b].value]);
  });
}

Status PrometheusIndexWriter::WriteSymbols(FileSink* out) const {
  return AppendEntries("the symbol table", symbol_order_.size(), out, [this](const auto& put) {
    std::string entry;
    for (const std::uint32_t number : symbol_order_) {
      entry.clear();
      PutBytes(&entry, Symbol(number));
      put(entry);
    }
  });
}

Status PrometheusIndexWriter::WriteSeries(FileSink* out) {
  SpoolReader spool;
  if (Status s = spool.Open(spool_path_); !s.ok()) return s;
  std::string content, frame;
  series_refs_.clear();
  series_refs_.reserve(series_);
  while (spool.Next()) {
    out->Pad(16);
    const std::uint64_t ref = out->position() / 16;
    if (ref > std::numeric_limits<std::uint32_t>::max()) {
      return ResourceExhausted("Prometheus index: the series would take more than 64 GiB");
    }
    series_refs_.push_back(static_cast<std::uint32_t>(ref));
    content.clear();
    PutVarint(&content, spool.pairs().size());
    for (const std::uint32_t pair : spool.pairs()) {
      PutVarint(&content, symbol_places_[pairs_[pair].name]);
      PutVarint(&content, symbol_places_[pairs_[pair].value]);
    }
    content.append(spool.chunks());
    frame.clear();
    PutBytes(&frame, content);
    PutBigEndian32(&frame, Crc32c(content));
    out->Append(frame);
  }
  if (!spool.status().ok()) return spool.status();
  return series_refs_.size() == series_ ? Status::Ok() : IoError(spool_path_ + " ends too early");
}

// One list of values a name. The pairs of a name stand together in pair_order_; an entry carries the first.
Status PrometheusIndexWriter::WriteLabelIndices(FileSink* out, std::vector<LabelIndex>* entries) const {
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

// So many lists at a time as have kPostingsAtOnce references together: each time the spool is read from its beginning, and each
// list comes out ascending.
Status PrometheusIndexWriter::WritePostings(FileSink* out, std::vector<std::uint64_t>* offsets) const {
  constexpr std::uint64_t kNotNow = ~0ULL;
  std::vector<std::uint64_t> next(pairs_.size(), kNotNow);  // where in `refs` the next reference of a pair goes
  std::vector<std::uint32_t> refs;
  std::string content;
  offsets->reserve(pairs_.size());
  for (std::size_t begin = 0, end = 0; begin < pair_order_.size(); begin = end) {
    std::uint64_t total = 0;
    for (; end < pair_order_.size() && (end == begin || total + pairs_[pair_order_[end]].series <= kPostingsAtOnce); ++end) {
      next[pair_order_[end]] = total;
      total += pairs_[pair_order_[end]].series;
    }
    refs.resize(total);
    SpoolReader spool;
    if (Status s = spool.Open(spool_path_); !s.ok()) return s;
    for (std::size_t s = 0; spool.Next(); ++s) {
      for (const std::uint32_t pair : spool.pairs()) {
        if (next[pair] != kNotNow) refs[next[pair]++] = series_refs_[s];
      }
    }
    if (!spool.status().ok()) return spool.status();
    std::uint64_t at = 0;
    for (std::size_t i = begin; i < end; ++i) {
      const std::uint32_t p = pair_order_[i];
      next[p] = kNotNow;
      content.assign(4, '\0');
      SetCount(pairs_[p].series, &content);
      for (std::uint32_t k = 0; k < pairs_[p].series; ++k) PutBigEndian32(&content, refs[at++]);
      out->Pad(4);
      offsets->push_back(out->position());
      if (Status s = AppendSection("postings", content, out); !s.ok()) return s;
    }
  }
  return Status::Ok();
}

Status PrometheusIndexWriter::WriteLabelOffsets(const std::vector<LabelIndex>& entries, FileSink* out) const {
  return AppendEntries("the label offset table", entries.size(), out, [&](const auto& put) {
    std::string entry;
    for (const LabelIndex& e : entries) {
      entry.assign(1, '\x01');
      PutBytes(&entry, Symbol(pairs_[e.first_pair].name));
      PutVarint(&entry, e.offset);
      put(entry);
    }
  });
}

Status PrometheusIndexWriter::WritePostingOffsets(std::uint64_t all, const std::vector<std::uint64_t>& offsets,
                                                  FileSink* out) const {
  return AppendEntries("the postings offset table", offsets.size() + 1, out, [&](const auto& put) {
    std::string entry("\x02\0\0", 3);
    PutVarint(&entry, all);
    put(entry);
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      const Pair& pair = pairs_[pair_order_[i]];
      entry.assign(1, '\x02');
      PutBytes(&entry, Symbol(pair.name));
      PutBytes(&entry, Symbol(pair.value));
      PutVarint(&entry, offsets[i]);
      put(entry);
    }
  });
}

Status PrometheusIndexWriter::WriteTo(FileSink* out) {
  if (Status s = OpenSpool(); !s.ok()) return s;
  if (Status s = spool_.CloseUnsynced(); !s.ok()) return s;
  Intern("");  // of the list of all series, whose name and value are empty: Prometheus has it among its symbols
  SortSymbols();
  std::string toc, bytes;
  PutBigEndian32(&bytes, kMagic);
  bytes.push_back(kVersion);
  out->Append(bytes);
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteSymbols(out); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteSeries(out); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  std::vector<LabelIndex> label_entries;
  if (Status s = WriteLabelIndices(out, &label_entries); !s.ok()) return s;
  out->Pad(4);
  const std::uint64_t all = out->position();
  bytes.assign(4, '\0');
  SetCount(series_refs_.size(), &bytes);
  for (const std::uint32_t ref : series_refs_) PutBigEndian32(&bytes, ref);
  if (Status s = AppendSection("the list of all series", bytes, out); !s.ok()) return s;
  std::vector<std::uint64_t> posting_offsets;
  if (Status s = WritePostings(out, &posting_offsets); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteLabelOffsets(label_entries, out); !s.ok()) return s;
  PutBigEndian64(&toc, all);
  PutBigEndian64(&toc, out->position());
  if (Status s = WritePostingOffsets(all, posting_offsets, out); !s.ok()) return s;
  PutBigEndian32(&toc, Crc32c(toc));
  out->Append(toc);
  if (::unlink(spool_path_.c_str()) != 0) return ErrnoStatus("cannot remove " + spool_path_, errno);
  spooled_ = false;
  return Status::Ok();
}

}  // namespace chronolith
