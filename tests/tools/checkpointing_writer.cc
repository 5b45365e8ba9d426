// checkpointing_writer DIR [SAMPLES [ARCHIVE]]: a process that writes to a store and checkpoints all the time, until its stdin is closed or
// SAMPLES (0: no end) are written; with a log archive. Sample i is series i % 100, time 1,700,000,000,000 + i / 100, value i / 100. Prints "logged N" on stderr
// when all up to N are logged. With SAMPLES it keeps the store open, without writing, until its stdin is closed.
#include <poll.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "chronolith/file_log_archiver.h"
#include "chronolith/storage.h"

using namespace chronolith;

namespace {

constexpr std::uint64_t kSeries = 100;
constexpr std::uint64_t kBatch = 1000;

bool InputIsClosed() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  char byte = 0;
  return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::uint64_t wanted = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  Options options;
  options.shards = 4;
  options.checkpoint_bytes = 64 << 10;
  if (argc > 3) {
    auto archiver = OpenFileLogArchiver(argv[3], {.store = argv[1]});
    if (!archiver.ok()) {
      std::fprintf(stderr, "%s\n", archiver.status().ToString().c_str());
      return 1;
    }
    options.log_archiver = *archiver;
  }
  auto opened = Storage::Open(options, argv[1]);
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.status().ToString().c_str());
    return 1;
  }
  const std::unique_ptr<Storage> store = std::move(*opened);
  {
    const auto appender = store->NewAppender();
    std::vector<SeriesRef> refs;
    for (std::uint64_t s = 0; s < kSeries; ++s) refs.push_back(*appender->Ref({{"__name__", "live"}, {"s", std::to_string(s)}}));
    for (std::uint64_t i = 0; wanted == 0 ? !InputIsClosed() : i < wanted;) {
      for (const std::uint64_t end = i + kBatch; i < end; ++i) {
        appender->Append(refs[i % kSeries], 1'700'000'000'000 + static_cast<Timestamp>(i / kSeries),
                         static_cast<double>(i / kSeries));
      }
      if (!appender->Commit().ok()) return 1;
      std::fprintf(stderr, "logged %llu\n", static_cast<unsigned long long>(i));
      if (i / kBatch % 8 == 0 && !store->Checkpoint().ok()) return 1;
      if (i / kBatch % 64 == 0 && !store->Compact().ok()) return 1;
    }
    if (wanted > 0 && !store->Flush().ok()) return 1;
  }
  while (wanted > 0 && !InputIsClosed()) poll(nullptr, 0, 10);
  return store->Close().ok() ? 0 : 1;
}
