#include <algorithm>
#include <limits>
#include <optional>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/prometheus_index.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kMagic = 0xbaaad700;
constexpr char kVersion = 2;
constexpr std::size_t kCopyBytes = 64 << 10;
constexpr std::size_t kPairBytes = 12;

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
  void AppendNumber(std::uint32_t n) {
    char bytes[4];
    StoreBigEndian(bytes, n);
    Append({bytes, sizeof(bytes)});
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

// A section of `count` small entries that need not stand in memory together: `each` is called twice, to measure and to write.
using Put = std::function<void(std::string_view)>;
Status AppendEntries(std::string_view what, std::uint64_t count, FileSink* out, const std::function<Status(const Put&)>& each) {
  std::uint64_t length = 4;
  if (Status s = each([&length](std::string_view bytes) { length += bytes.size(); }); !s.ok()) return s;
  if (Status s = CheckLength(what, length); !s.ok()) return s;
  Section section(out, length);
  section.AppendNumber(static_cast<std::uint32_t>(count));
  Status s = each([&section](std::string_view bytes) { section.Append(bytes); });
  section.End();
  return s;
}

// The next `bytes` of the spool.
Status Copy(SpoolReader* from, std::uint64_t bytes, Section* to) {
  std::string_view some;
  for (; bytes > 0; bytes -= some.size()) {
    if (!from->Take(std::min<std::uint64_t>(bytes, kCopyBytes), &some)) return from->status();
    to->Append(some);
  }
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

PrometheusIndexWriter::PrometheusIndexWriter(const std::string& spool, const Options& options)
    : runs_(spool, options.symbol_bytes, options.records),
      spool_(spool),
      postings_(spool + ".postings", options.records),
      pairs_(spool + ".pairs"),
      refs_(spool + ".refs") {}

// Most labels of a series, and nearly all names, are those of the series before.
void PrometheusIndexWriter::Intern(const Labels& labels) {
  numbers_.clear();
  auto before = last_.begin();
  for (const Label& l : labels) {
    const std::size_t at = numbers_.size();
    const bool known = at < last_numbers_.size();
    numbers_.push_back(known && (*before).name == l.name ? last_numbers_[at] : runs_.Intern(l.name));
    numbers_.push_back(known && (*before).value == l.value ? last_numbers_[at + 1] : runs_.Intern(l.value));
    if (known) ++before;
  }
}

Status PrometheusIndexWriter::Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks) {
  if (Status s = CheckSeries(labels, chunks); !s.ok()) return s;
  if (series_ > 0 && (last_ <=> labels) >= 0) {
    return InvalidArgument("Prometheus index: series " + labels.ToString() + " does not come behind " + last_.ToString());
  }
  if (runs_.IsFull(labels.encoded().size())) {
    if (Status s = runs_.EndRun(); !s.ok()) return s;
    run_ends_.push_back(series_);
    last_numbers_.clear();
  }
  Intern(labels);
  frame_.assign(4, '\0');
  PutVarint(&frame_, numbers_.size());
  for (const std::uint32_t number : numbers_) PutVarint(&frame_, number);
  PutChunks(chunks, &frame_);
  StoreFixed(frame_.data(), static_cast<std::uint32_t>(frame_.size() - 4));
  if (Status s = spool_.Append(frame_); !s.ok()) return s;
  ++series_;
  last_ = labels;
  last_numbers_.swap(numbers_);
  return Status::Ok();
}

Status PrometheusIndexWriter::WriteSymbols(FileSink* out) {
  runs_.Intern("");  // of the list of all series, whose name and value are empty: Prometheus has it among its symbols
  run_ends_.push_back(series_);
  if (Status s = runs_.Finish(); !s.ok()) return s;
  const SpoolFile& table = runs_.table();
  if (Status s = CheckLength("the symbol table", 4 + table.size()); !s.ok()) return s;
  Section section(out, 4 + table.size());
  section.AppendNumber(runs_.size());
  SpoolReader symbols(&table, 0, table.size());
  if (Status s = Copy(&symbols, table.size(), &section); !s.ok()) return s;
  section.End();
  const FileSource* const source = &table.source();
  const auto read = [source](std::uint64_t at, std::size_t n, std::string* to) { return source->ReadAt(at, n, to); };
  return symbols_.Open(read, 0, table.size(), runs_.size());
}

Status PrometheusIndexWriter::WriteSeries(FileSink* out) {
  if (Status s = spool_.Finish(); !s.ok()) return s;
  SpoolReader spool(&spool_, 0, spool_.size());
  std::vector<std::uint32_t> numbers;
  std::uint64_t n = 0;
  for (const std::uint64_t end : run_ends_) {
    if (Status s = runs_.NextRun(&numbers); !s.ok()) return s;
    for (; n < end; ++n) {
      if (Status s = OneSeries(&spool, numbers, out); !s.ok()) return s;
    }
  }
  spool_.Remove();
  return postings_.Finish();
}

Status PrometheusIndexWriter::OneSeries(SpoolReader* spool, std::span<const std::uint32_t> numbers, FileSink* out) {
  std::string_view entry;
  if (!spool->TakeFramed(&entry)) return spool->status();
  out->Pad(16);
  const std::uint64_t position = out->position() / 16;
  if (position > std::numeric_limits<std::uint32_t>::max()) {
    return ResourceExhausted("Prometheus index: the series would take more than 64 GiB");
  }
  const auto ref = static_cast<std::uint32_t>(position);
  if (Status s = postings_.Add({0, 0, ref}); !s.ok()) return s;
  ByteReader in(entry);
  const std::uint64_t labels = in.Varint() / 2;
  content_.clear();
  PutVarint(&content_, labels);
  for (std::uint64_t i = 0; i < labels && in.ok(); ++i) {
    const std::uint64_t name = in.Varint(), value = in.Varint();
    if (!in.ok() || name >= numbers.size() || value >= numbers.size()) return IoError(spool_.path() + " is malformed");
    PutVarint(&content_, numbers[name]);
    PutVarint(&content_, numbers[value]);
    if (Status s = postings_.Add({numbers[name], numbers[value], ref}); !s.ok()) return s;
  }
  content_.append(in.Bytes(in.remaining()));
  frame_.clear();
  PutBytes(&frame_, content_);
  PutBigEndian32(&frame_, Crc32c(content_));
  out->Append(frame_);
  return Status::Ok();
}

// The references of each label, together; how many, and the values of each name.
Status PrometheusIndexWriter::GroupPostings() {
  Pair pair;  // ("", "")
  const auto end_pair = [&] {
    if (pair.name != 0) {
      if (names_.empty() || names_.back().symbol != pair.name) names_.push_back({pair.name, 0, 0});
      ++names_.back().values;
    }
    char bytes[kPairBytes];
    StoreFixed(bytes, pair.name);
    StoreFixed(bytes + 4, pair.value);
    StoreFixed(bytes + 8, pair.series);
    return pairs_.Append({bytes, sizeof(bytes)});
  };
  while (postings_.Next()) {
    const RecordSorter::Record& r = postings_.record();
    if (r.major != pair.name || r.minor != pair.value) {
      if (Status s = end_pair(); !s.ok()) return s;
      pair = {r.major, r.minor, 0};
    }
    ++pair.series;
    char ref[4];
    StoreBigEndian(ref, r.value);
    if (Status s = refs_.Append({ref, sizeof(ref)}); !s.ok()) return s;
  }
  if (!postings_.status().ok()) return postings_.status();
  if (Status s = end_pair(); !s.ok()) return s;
  if (Status s = pairs_.Finish(); !s.ok()) return s;
  return refs_.Finish();
}

Status PrometheusIndexWriter::EachPair(const std::function<Status(const Pair&)>& visit) const {
  SpoolReader pairs(&pairs_, 0, pairs_.size());
  std::string_view bytes;
  while (!pairs.at_end()) {
    if (!pairs.Take(kPairBytes, &bytes)) return pairs.status();
    const auto number = [&bytes](std::size_t at) { return LoadFixed<std::uint32_t>(bytes.data() + at); };
    if (Status s = visit({number(0), number(4), number(8)}); !s.ok()) return s;
  }
  return Status::Ok();
}

// One list of values a name.
Status PrometheusIndexWriter::WriteLabelIndices(FileSink* out) {
  std::optional<Section> section;
  std::size_t names = 0;
  std::uint32_t left = 0;  // values of the last name
  return EachPair([&](const Pair& pair) {
    if (pair.name == 0) return Status::Ok();
    if (left == 0) {
      Name& name = names_[names++];
      left = name.values;
      const std::uint64_t length = 8 + 4 * std::uint64_t{name.values};
      if (Status s = CheckLength("label values", length); !s.ok()) return s;
      out->Pad(4);
      name.offset = out->position();
      section.emplace(out, length);
      section->AppendNumber(1);
      section->AppendNumber(name.values);
    }
    section->AppendNumber(pair.value);
    if (--left == 0) section->End();
    return Status::Ok();
  });
}

Status PrometheusIndexWriter::WritePostings(FileSink* out) const {
  SpoolReader refs(&refs_, 0, refs_.size());
  return EachPair([&](const Pair& pair) {
    const std::uint64_t length = 4 + 4 * std::uint64_t{pair.series};
    if (Status s = CheckLength("postings", length); !s.ok()) return s;
    Section section(out, length);
    section.AppendNumber(pair.series);
    if (Status s = Copy(&refs, length - 4, &section); !s.ok()) return s;
    section.End();
    return Status::Ok();
  });
}

Status PrometheusIndexWriter::WriteLabelOffsets(FileSink* out) {
  return AppendEntries("the label offset table", names_.size(), out, [this](const Put& put) {
    std::string entry;
    std::string_view symbol;
    for (const Name& name : names_) {
      if (Status s = symbols_.Get(name.symbol, &symbol); !s.ok()) return s;
      entry.assign(1, '\x01');
      PutBytes(&entry, symbol);
      PutVarint(&entry, name.offset);
      put(entry);
    }
    return Status::Ok();
  });
}

Status PrometheusIndexWriter::WritePostingOffsets(std::uint64_t postings, FileSink* out) {
  return AppendEntries("the postings offset table", pairs_.size() / kPairBytes, out, [this, postings](const Put& put) {
    std::string entry;
    std::uint64_t offset = postings;
    return EachPair([&](const Pair& pair) {
      std::string_view name, value;
      if (Status s = symbols_.Get(pair.name, &name); !s.ok()) return s;
      if (Status s = symbols_.Get(pair.value, &value); !s.ok()) return s;
      entry.assign(1, '\x02');
      PutBytes(&entry, name);
      PutBytes(&entry, value);
      PutVarint(&entry, offset);
      put(entry);
      offset += 12 + 4 * std::uint64_t{pair.series};  // length, number, references, checksum
      return Status::Ok();
    });
  });
}

Status PrometheusIndexWriter::WriteTo(FileSink* out) {
  std::string toc, bytes;
  PutBigEndian32(&bytes, kMagic);
  bytes.push_back(kVersion);
  out->Append(bytes);
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteSymbols(out); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteSeries(out); !s.ok()) return s;
  if (Status s = GroupPostings(); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteLabelIndices(out); !s.ok()) return s;
  out->Pad(4);
  const std::uint64_t postings = out->position();
  if (Status s = WritePostings(out); !s.ok()) return s;
  PutBigEndian64(&toc, out->position());
  if (Status s = WriteLabelOffsets(out); !s.ok()) return s;
  PutBigEndian64(&toc, postings);
  PutBigEndian64(&toc, out->position());
  if (Status s = WritePostingOffsets(postings, out); !s.ok()) return s;
  PutBigEndian32(&toc, Crc32c(toc));
  out->Append(toc);
  return Status::Ok();
}

}  // namespace chronolith
