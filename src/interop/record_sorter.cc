#include "interop/record_sorter.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace chronolith {
namespace {

constexpr std::size_t kRecordBytes = sizeof(RecordSorter::Record);
static_assert(kRecordBytes == 12);

}  // namespace

RecordSorter::RecordSorter(std::string file, std::size_t run_records)
    : run_records_(std::max<std::size_t>(run_records, 1)), file_(std::move(file)) {}

// Least significant byte first; a byte that all have in common, as most have of names and shards, costs no pass.
void RecordSorter::SortRun() {
  constexpr std::size_t kBytes = 8;
  std::array<std::array<std::uint32_t, 256>, kBytes> counts{};
  for (const Record& r : run_) {
    for (std::size_t b = 0; b < kBytes; ++b) ++counts[b][r.key() >> (8 * b) & 0xff];
  }
  scratch_.resize(run_.size());
  for (std::size_t b = 0; b < kBytes; ++b) {
    const auto byte = [b](const Record& r) { return r.key() >> (8 * b) & 0xff; };
    if (run_.empty() || counts[b][byte(run_.front())] == run_.size()) continue;
    std::uint32_t begin = 0;
    for (std::uint32_t& count : counts[b]) begin += std::exchange(count, begin);
    for (const Record& r : run_) scratch_[counts[b][byte(r)]++] = r;
    run_.swap(scratch_);
  }
}

Status RecordSorter::Spill() {
  SortRun();
  const Status s = file_.Append({reinterpret_cast<const char*>(run_.data()), run_.size() * kRecordBytes});
  ends_.push_back(file_.size());
  run_.clear();
  return s;
}

Status RecordSorter::Finish() {
  if (ends_.empty()) {
    SortRun();
    scratch_ = {};
    return Status::Ok();
  }
  if (Status s = Spill(); !s.ok()) return s;
  run_ = {};
  scratch_ = {};
  if (Status s = file_.Finish(); !s.ok()) return s;
  const std::size_t buffer = SpoolReader::BufferBytes(ends_.size());
  std::uint64_t begin = 0;
  for (const std::uint64_t end : ends_) {
    cursors_.push_back(std::make_unique<Cursor>(Cursor{SpoolReader(&file_, begin, end, buffer), cursors_.size(), {}}));
    begin = end;
    Cursor* const cursor = cursors_.back().get();
    if (Read(cursor)) heap_.push_back(cursor);
    if (!cursor->reader.status().ok()) return cursor->reader.status();
  }
  for (std::size_t place = heap_.size(); place-- > 0;) SiftDown(place);
  return Status::Ok();
}

bool RecordSorter::Read(Cursor* cursor) {
  std::string_view bytes;
  if (cursor->reader.at_end() || !cursor->reader.Take(kRecordBytes, &bytes)) return false;
  std::memcpy(&cursor->record, bytes.data(), kRecordBytes);
  return true;
}

// The one at `place` may have become greater than those below it.
void RecordSorter::SiftDown(std::size_t place) {
  for (std::size_t child; (child = 2 * place + 1) < heap_.size(); place = child) {
    if (child + 1 < heap_.size() && IsBefore(heap_[child + 1], heap_[child])) ++child;
    if (!IsBefore(heap_[child], heap_[place])) return;
    std::swap(heap_[child], heap_[place]);
  }
}

bool RecordSorter::Next() {
  if (!ends_.empty()) return NextOfRuns();
  if (at_ == run_.size()) return false;
  record_ = run_[at_++];
  return true;
}

bool RecordSorter::NextOfRuns() {
  if (!status_.ok() || heap_.empty()) return false;
  if (given_ && !Read(heap_.front())) {
    status_ = heap_.front()->reader.status();
    std::swap(heap_.front(), heap_.back());
    heap_.pop_back();
    if (!status_.ok() || heap_.empty()) return false;
  }
  if (given_) SiftDown(0);
  record_ = heap_.front()->record;
  given_ = true;
  return true;
}

}  // namespace chronolith
