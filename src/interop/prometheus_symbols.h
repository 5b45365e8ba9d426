// The symbols of a Prometheus index: names and values of labels, of which there may be as many as series.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_SYMBOLS_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_SYMBOLS_H_

#include <absl/container/flat_hash_set.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "interop/record_sorter.h"
#include "interop/spool_file.h"

namespace chronolith {

// A symbol table, read in place: uvarint length and bytes of each, ascending; a symbol's number is its place. Bytes are under a
// checksum from Open on. Memory: 12 bytes for each 32 symbols, and at most 10 MiB. Thread safety: one thread at a time.
class PrometheusSymbols {
 public:
  // Those of [begin, end) of what `read` reads. kDataLoss where there are not exactly `count`, and what `read` says.
  Status Open(ReadFunction read, std::uint64_t begin, std::uint64_t end, std::uint32_t count);
  std::uint32_t size() const { return count_; }
  // *s is valid until the second call from now. kDataLoss: there is no such number, or the bytes have changed.
  Status Get(std::uint32_t number, std::string_view* s);

 private:
  struct Block {
    std::uint64_t offset = 0;
    std::uint32_t crc = 0;
  };
  struct Known {
    std::uint32_t number = 0;
    bool used = false;
    std::string text;
  };
  struct Held {
    std::uint64_t block = ~0ULL;
    std::string bytes;
  };
  Status ReadBlock(std::uint64_t block, const std::string** bytes);

  ReadFunction read_;
  std::uint32_t count_ = 0;
  std::vector<Block> blocks_;  // and their end
  std::vector<Known> known_;   // by the number's low bits
  std::vector<Held> held_;     // by the block's low bits
  std::string large_;          // the block at hand, where it is too large to be held
  std::array<std::string, 2> given_;
  std::size_t turn_ = 0;
};

// Takes symbols in any order, of any number, and writes the table. A run has so many as fit into memory; within it each has a
// number of its own, and the table's numbers of each run are given back afterwards, run by run. Memory: run_bytes, one more run's
// numbers, and RecordSorter's; SpoolReader::BufferBytes while they are merged. Thread safety: one thread at a time.
class PrometheusSymbolRuns {
 public:
  static constexpr std::size_t kRunBytes = 8 << 20;

  // Files whose names begin with `files` must not exist.
  PrometheusSymbolRuns(const std::string& files, std::size_t run_bytes, std::size_t run_records);

  // Whether the run has no room for symbols of so many bytes: then EndRun, which forgets its symbols.
  bool IsFull(std::size_t bytes) const { return !ends_.empty() && bytes_ + bytes > run_bytes_; }
  Status EndRun();
  // The symbol's number in the run at hand.
  std::uint32_t Intern(std::string_view s);

  // All are there: writes the table, which table() then is, without its section. kResourceExhausted: 2^32 symbols.
  Status Finish();
  const SpoolFile& table() const { return table_; }
  std::uint32_t size() const { return count_; }
  // Of the next run, from the first on: the table's number of each symbol.
  Status NextRun(std::vector<std::uint32_t>* numbers);

 private:
  struct Hash {
    using is_transparent = void;
    const PrometheusSymbolRuns* r;
    std::size_t operator()(std::string_view s) const { return absl::Hash<std::string_view>()(s); }
    std::size_t operator()(std::uint32_t n) const { return (*this)(r->Symbol(n)); }
  };
  struct Equal {
    using is_transparent = void;
    const PrometheusSymbolRuns* r;
    bool operator()(std::uint32_t a, std::uint32_t b) const { return a == b; }
    bool operator()(std::uint32_t a, std::string_view b) const { return r->Symbol(a) == b; }
    bool operator()(std::string_view a, std::uint32_t b) const { return r->Symbol(b) == a; }
  };
  struct Run {
    std::uint64_t end = 0;  // in runs_
    std::uint32_t symbols = 0;
  };
  struct Cursor;
  std::string_view Symbol(std::uint32_t number) const {
    const std::size_t begin = number == 0 ? 0 : ends_[number - 1];
    return std::string_view(text_).substr(begin, ends_[number] - begin);
  }

  const std::size_t run_bytes_;
  std::size_t bytes_ = 0;  // of the run at hand
  std::string text_;
  std::vector<std::size_t> ends_;  // in text_
  absl::flat_hash_set<std::uint32_t, Hash, Equal> known_;
  SpoolFile spool_;  // of each run's symbols, in order: uvarint number in the run | uvarint length | bytes
  std::vector<Run> runs_;
  SpoolFile table_;
  std::uint32_t count_ = 0;
  RecordSorter numbers_;  // run, number in it -> number in the table
  std::size_t next_run_ = 0;
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_SYMBOLS_H_
