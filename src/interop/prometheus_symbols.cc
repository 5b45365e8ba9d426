#include "interop/prometheus_symbols.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <memory>
#include <numeric>
#include <queue>
#include <utility>

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr std::uint32_t kBlockSymbols = 32;
constexpr std::size_t kKnown = 1 << 14, kKnownBytesMax = 256;  // symbols, each so short
constexpr std::size_t kHeld = 64, kHeldBytesMax = 64 << 10;    // blocks, the same
constexpr std::size_t kReadBytes = 64 << 10;
constexpr std::size_t kSymbolBytes = 24;  // of the set and the ends, a symbol

Status Damaged(const std::string& what) { return DataLoss("Prometheus index: " + what); }

}  // namespace

// ---- PrometheusSymbols ----

Status PrometheusSymbols::Open(ReadFunction read, std::uint64_t begin, std::uint64_t end, std::uint32_t count) {
  read_ = std::move(read);
  count_ = count;
  known_.assign(std::min<std::size_t>(kKnown, std::bit_ceil(count_ + std::size_t{1})), {});
  held_.assign(kHeld, {});
  blocks_.clear();
  ReadAhead ahead(read_);
  std::string_view bytes;
  std::uint64_t at = begin;
  for (std::uint32_t i = 0; i < count_; ++i) {
    const auto cut_off = [i] { return Damaged("symbol " + std::to_string(i) + " is cut off"); };
    if (i % kBlockSymbols == 0) blocks_.push_back({at, 0});
    if (Status s = ahead.View(at, std::min<std::uint64_t>(kMaxVarint64Bytes, end - at), &bytes); !s.ok()) return s;
    std::uint64_t length = 0;
    const char* const body = DecodeVarint(bytes.data(), bytes.data() + bytes.size(), &length);
    if (body == nullptr) return cut_off();
    std::uint64_t left = static_cast<std::uint64_t>(body - bytes.data());
    if (length > end - at - left) return cut_off();
    for (left += length; left > 0; left -= bytes.size()) {
      if (Status s = ahead.View(at, std::min<std::uint64_t>(left, kReadBytes), &bytes); !s.ok()) return s;
      if (bytes.empty()) return cut_off();
      blocks_.back().crc = Crc32c(bytes, blocks_.back().crc);
      at += bytes.size();
    }
  }
  blocks_.push_back({at, 0});
  return Status::Ok();
}

Status PrometheusSymbols::ReadBlock(std::uint64_t block, const std::string** bytes) {
  const std::uint64_t offset = blocks_[block].offset, n = blocks_[block + 1].offset - offset;
  Held& held = held_[block % kHeld];
  std::string* const to = n <= kHeldBytesMax ? &held.bytes : &large_;
  *bytes = to;
  if (to == &held.bytes) {
    if (held.block == block) return Status::Ok();
    held.block = ~0ULL;
  }
  if (Status s = read_(offset, n, to); !s.ok()) return s;
  if (to->size() != n || Crc32c(*to) != blocks_[block].crc) return Damaged("the symbol table has changed since it was opened");
  if (to == &held.bytes) held.block = block;
  return Status::Ok();
}

Status PrometheusSymbols::Get(std::uint32_t number, std::string_view* s) {
  if (number >= count_) return Damaged("there is no symbol " + std::to_string(number));
  Known& known = known_[number & (known_.size() - 1)];
  std::string* const given = &given_[turn_++ % given_.size()];
  if (!known.used || known.number != number) {
    const std::string* block = nullptr;
    if (Status read = ReadBlock(number / kBlockSymbols, &block); !read.ok()) return read;
    ByteReader in(*block);
    for (std::uint32_t i = number % kBlockSymbols; i > 0; --i) in.LengthPrefixed();
    const std::string_view text = in.LengthPrefixed();
    if (!in.ok()) return Damaged("symbol " + std::to_string(number) + " is malformed");
    if (text.size() > kKnownBytesMax) {
      given->assign(text);
      *s = *given;
      return Status::Ok();
    }
    known.used = true;
    known.number = number;
    known.text.assign(text);
  }
  given->assign(known.text);  // the next one may take its place
  *s = *given;
  return Status::Ok();
}

// ---- PrometheusSymbolRuns ----

PrometheusSymbolRuns::PrometheusSymbolRuns(const std::string& files, std::size_t run_bytes, std::size_t run_records)
    : run_bytes_(run_bytes),
      known_(0, Hash{this}, Equal{this}),
      spool_(files + ".symbols"),
      table_(files + ".table"),
      numbers_(files + ".numbers", run_records) {}

std::uint32_t PrometheusSymbolRuns::Intern(std::string_view s) {
  const auto found = known_.find(s);
  if (found != known_.end()) return *found;
  const auto number = static_cast<std::uint32_t>(ends_.size());
  text_.append(s);
  ends_.push_back(text_.size());
  known_.insert(number);
  bytes_ += s.size() + kSymbolBytes;
  return number;
}

Status PrometheusSymbolRuns::EndRun() {
  std::vector<std::uint32_t> order(ends_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [this](auto a, auto b) { return Symbol(a) < Symbol(b); });
  std::string entry;
  for (const std::uint32_t number : order) {
    entry.clear();
    PutVarint(&entry, number);
    PutBytes(&entry, Symbol(number));
    if (Status s = spool_.Append(entry); !s.ok()) return s;
  }
  runs_.push_back({spool_.size(), static_cast<std::uint32_t>(order.size())});
  known_.clear();
  text_.clear();
  ends_.clear();
  bytes_ = 0;
  return Status::Ok();
}

// Reads one run.
struct PrometheusSymbolRuns::Cursor {
  Cursor(const SpoolReader& part, std::uint32_t n) : reader(part), run(n) {}

  // False at the end, and where the reader's status is not ok.
  bool Next() {
    std::uint64_t length = 0, in_run = 0;
    std::string_view bytes;
    if (reader.at_end() || !reader.TakeVarint(&in_run) || !reader.TakeVarint(&length) || !reader.Take(length, &bytes)) return false;
    number = static_cast<std::uint32_t>(in_run);
    symbol.assign(bytes);
    return true;
  }

  SpoolReader reader;
  const std::uint32_t run;
  std::uint32_t number = 0;
  std::string symbol;
};

Status PrometheusSymbolRuns::Finish() {
  if (Status s = EndRun(); !s.ok()) return s;
  text_ = {};
  ends_ = {};
  if (Status s = spool_.Finish(); !s.ok()) return s;
  std::vector<std::unique_ptr<Cursor>> cursors;
  const auto greater = [](const Cursor* a, const Cursor* b) { return a->symbol > b->symbol; };
  std::priority_queue<Cursor*, std::vector<Cursor*>, decltype(greater)> next(greater);
  std::uint64_t begin = 0;
  for (const Run& run : runs_) {
    const SpoolReader part(&spool_, begin, run.end, SpoolReader::BufferBytes(runs_.size()));
    cursors.push_back(std::make_unique<Cursor>(part, static_cast<std::uint32_t>(cursors.size())));
    begin = run.end;
    if (cursors.back()->Next()) next.push(cursors.back().get());
    if (!cursors.back()->reader.status().ok()) return cursors.back()->reader.status();
  }
  std::string last, entry;
  while (!next.empty()) {
    Cursor* const cursor = next.top();
    next.pop();
    if (count_ == 0 || cursor->symbol != last) {
      if (count_ == std::numeric_limits<std::uint32_t>::max()) return ResourceExhausted("Prometheus index: too many symbols");
      last = cursor->symbol;
      entry.clear();
      PutBytes(&entry, last);
      if (Status s = table_.Append(entry); !s.ok()) return s;
      ++count_;
    }
    if (Status s = numbers_.Add({cursor->run, cursor->number, count_ - 1}); !s.ok()) return s;
    if (cursor->Next()) next.push(cursor);
    if (!cursor->reader.status().ok()) return cursor->reader.status();
  }
  spool_.Remove();
  if (Status s = table_.Finish(); !s.ok()) return s;
  return numbers_.Finish();
}

Status PrometheusSymbolRuns::NextRun(std::vector<std::uint32_t>* numbers) {
  numbers->clear();
  const std::uint32_t symbols = runs_[next_run_++].symbols;
  while (numbers->size() < symbols && numbers_.Next()) numbers->push_back(numbers_.record().value);
  if (!numbers_.status().ok()) return numbers_.status();
  return numbers->size() == symbols ? Status::Ok() : IoError("the numbers of symbols end too early");
}

}  // namespace chronolith
