#include "interop/record_sorter.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace chronolith {
namespace {

constexpr std::size_t kRecordBytes = sizeof(RecordSorter::Record);
static_assert(kRecordBytes == 12);

}  // namespace

RecordSorter::RecordSorter(std::string file, std::size_t run_records)
    : run_records_(std::max<std::size_t>(run_records, 1)), file_(std::move(file)) {}

Status RecordSorter::Spill() {
  std::sort(run_.begin(), run_.end());
  const Status s = file_.Append({reinterpret_cast<const char*>(run_.data()), run_.size() * kRecordBytes});
  ends_.push_back(file_.size());
  run_.clear();
  return s;
}

Status RecordSorter::Finish() {
  if (ends_.empty()) {
    std::sort(run_.begin(), run_.end());
    return Status::Ok();
  }
  if (Status s = Spill(); !s.ok()) return s;
  run_ = {};
  if (Status s = file_.Finish(); !s.ok()) return s;
  const std::size_t buffer = SpoolReader::BufferBytes(ends_.size());
  std::uint64_t begin = 0;
  for (const std::uint64_t end : ends_) {
    cursors_.push_back(std::make_unique<Cursor>(Cursor{SpoolReader(&file_, begin, end, buffer), {}}));
    begin = end;
    Cursor* const cursor = cursors_.back().get();
    if (Read(cursor)) heap_.push_back(cursor);
    if (!cursor->reader.status().ok()) return cursor->reader.status();
  }
  std::make_heap(heap_.begin(), heap_.end(), IsLater);
  return Status::Ok();
}

bool RecordSorter::Read(Cursor* cursor) {
  std::string_view bytes;
  if (cursor->reader.at_end() || !cursor->reader.Take(kRecordBytes, &bytes)) return false;
  std::memcpy(&cursor->record, bytes.data(), kRecordBytes);
  return true;
}

bool RecordSorter::Next() {
  if (!ends_.empty()) return NextOfRuns();
  if (at_ == run_.size()) return false;
  record_ = run_[at_++];
  return true;
}

bool RecordSorter::NextOfRuns() {
  if (heap_.empty() || !status_.ok()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), IsLater);
  Cursor* const cursor = heap_.back();
  record_ = cursor->record;
  if (Read(cursor)) {
    std::push_heap(heap_.begin(), heap_.end(), IsLater);
  } else {
    heap_.pop_back();
    status_ = cursor->reader.status();
  }
  return true;
}

}  // namespace chronolith
