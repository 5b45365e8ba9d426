// RecordSorter: puts more records in order than memory should hold.
#ifndef CHRONOLITH_INTEROP_RECORD_SORTER_H_
#define CHRONOLITH_INTEROP_RECORD_SORTER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chronolith/result.h"
#include "interop/spool_file.h"

namespace chronolith {

// Sorted runs wait in a file and are merged. Memory: 12 bytes a record of a run; while they are merged that of
// SpoolReader::BufferBytes. Thread safety: one thread at a time.
class RecordSorter {
 public:
  struct Record {
    std::uint32_t major = 0, minor = 0, value = 0;
    friend bool operator<(const Record& a, const Record& b) {
      const std::uint64_t x = std::uint64_t{a.major} << 32 | a.minor, y = std::uint64_t{b.major} << 32 | b.minor;
      return x != y ? x < y : a.value < b.value;
    }
  };

  static constexpr std::size_t kRunRecords = 1 << 20;

  // The file must not exist; without more than `run_records` there is none.
  explicit RecordSorter(std::string file, std::size_t run_records = kRunRecords);

  Status Add(const Record& record) {
    if (run_.size() == run_records_) {
      if (Status s = Spill(); !s.ok()) return s;
    }
    if (run_.empty()) run_.reserve(run_records_);  // not touched, not taken
    run_.push_back(record);
    return Status::Ok();
  }
  // All are added.
  Status Finish();
  // Moves to the next one, in order; false at the end, or where status() is not ok.
  bool Next();
  const Record& record() const { return record_; }
  const Status& status() const { return status_; }

 private:
  struct Cursor {
    SpoolReader reader;
    Record record;
  };
  static bool Read(Cursor* cursor);
  static bool IsLater(const Cursor* a, const Cursor* b) { return b->record < a->record; }
  Status Spill();
  bool NextOfRuns();

  const std::size_t run_records_;
  SpoolFile file_;
  std::vector<std::uint64_t> ends_;  // of runs in the file
  std::vector<Record> run_;
  std::size_t at_ = 0;  // in run_, where it is the only one
  std::vector<std::unique_ptr<Cursor>> cursors_;
  std::vector<Cursor*> heap_;
  Record record_;
  Status status_;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_RECORD_SORTER_H_
