// The writer of the crash test: writes to a store from several threads, says over its standard output what it sends and what was
// acknowledged, and waits to be killed.
//
//   crash_writer --failpoints                         prints the names of all failpoints
//   crash_writer DIRECTORY SEED OPERATIONS END FAILPOINT HITS STOP LYING FIRST...
//     OPERATIONS  how many of the writers' operations to do, over all threads; 0: only opens the store
//     END         close: closes the store after them
//     FAILPOINT   "-" or a name: what happens there when it is reached for the HITS-th time
//     STOP        hold: the thread that reaches it stays there and the others go on; die: the process kills itself at once
//     LYING       yes: writes are only queued, and acknowledged at the level that was asked for
//     FIRST       the number of the first operation, a thread
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "base/failpoint.h"
#include "tests/crash/plan.h"

extern const char* const __start_chronolith_failpoints[];
extern const char* const __stop_chronolith_failpoints[];

namespace chronolith {
namespace crash {
namespace {

constexpr std::uint64_t kOperationsAnUpkeep = 24;

std::string armed;  // failpoint
std::atomic<int> hits_left{0};
bool hold = false;

void Report(Message::Kind kind, std::uint32_t thread = 0, std::uint64_t number = 0) {
  const Message message{kind, thread, number};
  if (write(STDOUT_FILENO, &message, sizeof(message)) != sizeof(message)) _exit(4);
}

[[noreturn]] void WaitForTheEnd() {
  while (true) pause();
}

class Writer {
 public:
  Writer(Storage* store, std::uint64_t seed, bool lying, std::int64_t operations)
      : store_(store), seed_(seed), lying_(lying), left_(operations) {}

  // All threads, until the operations are done.
  void Run(const std::array<std::uint64_t, kThreads>& first) {
    std::thread upkeep([&] { Upkeep(first[kUpkeep]); });
    std::vector<std::thread> writers;
    for (std::uint32_t thread = 0; thread < kWriters; ++thread) writers.emplace_back([&, thread] { Write(thread, first[thread]); });
    for (std::thread& writer : writers) writer.join();
    finished_.store(true);
    done_.fetch_add(1);
    done_.notify_all();
    upkeep.join();
  }

 private:
  void Write(std::uint32_t thread, std::uint64_t number) {
    for (; left_.fetch_sub(1) > 0; ++number) {
      for (std::uint64_t kept = kept_up_.load(); done_.load() >= (kept + 1) * kOperationsAnUpkeep; kept = kept_up_.load())
        kept_up_.wait(kept);
      Do(thread, number);
      done_.fetch_add(1);
      done_.notify_all();
    }
  }

  // Begins when the writers have done a few operations more, which wait for it only where they are far ahead.
  void Upkeep(std::uint64_t number) {
    std::uint64_t seen = 0;
    for (; !finished_.load(); ++number) {
      const std::uint64_t until = seen + (seed_ + number * 7) % (kOperationsAnUpkeep / 2);  // below what they wait for
      for (; seen < until && !finished_.load(); seen = done_.load()) done_.wait(seen);
      Do(kUpkeep, number);
      kept_up_.fetch_add(1);
      kept_up_.notify_all();
    }
  }

  void Do(std::uint32_t thread, std::uint64_t number) {
    const Op op = PlanOp(seed_, thread, number);
    Report(Message::Kind::kSend, thread, number);
    if (const Status status = Call(op); !status.ok()) {
      std::fprintf(stderr, "%u #%llu, %s: %s\n", thread, static_cast<unsigned long long>(number), op.ToString().c_str(),
                   status.ToString().c_str());
      _exit(3);
    }
    Report(Message::Kind::kDone, thread, number);
  }

  Status Call(const Op& op) {
    const WriteOptions options{.level = lying_ ? AckLevel::kQueued : op.level};
    switch (op.kind) {
      case Op::Kind::kFlush:
        return store_->Flush();
      case Op::Kind::kCheckpoint:
        return store_->Checkpoint();
      case Op::Kind::kCompact:
        return store_->Compact().status();
      case Op::Kind::kDelete:
        return store_->Delete(op.matchers, op.range, options).status;
      case Op::Kind::kWrite:
        break;
    }
    std::vector<TimeSeries> batch;
    for (const TimeSeries& planned : op.series) batch.push_back(AsWritten(planned));
    if (!op.appender) return store_->Write(batch, options).status;
    const std::unique_ptr<Appender> appender = store_->NewAppender();
    for (const TimeSeries& series : batch) {
      const Result<SeriesRef> ref = appender->Ref(series.labels);
      if (!ref.ok()) return ref.status();
      for (const Sample& sample : series.samples) appender->Append(*ref, sample.timestamp, sample.value);
      for (const HistogramSample& sample : series.histograms) appender->AppendHistogram(*ref, sample.timestamp, sample.histogram);
      for (const Exemplar& exemplar : series.exemplars) appender->AppendExemplar(*ref, exemplar);
      for (const Metadata& metadata : series.metadata) appender->SetMetadata(*ref, metadata);
    }
    return appender->Commit(options).status;
  }

  Storage* const store_;
  const std::uint64_t seed_;
  const bool lying_;
  std::atomic<std::int64_t> left_;
  std::atomic<std::uint64_t> done_{0};     // by writers
  std::atomic<std::uint64_t> kept_up_{0};  // by upkeep
  std::atomic<bool> finished_{false};
};

int Main(char** argv) {
  const std::uint64_t seed = std::strtoull(argv[2], nullptr, 10);
  const std::int64_t operations = std::strtoll(argv[3], nullptr, 10);
  const bool close = std::strcmp(argv[4], "close") == 0;
  armed = argv[5];
  hits_left = std::atoi(argv[6]);
  hold = std::strcmp(argv[7], "hold") == 0;
  const bool lying = std::strcmp(argv[8], "yes") == 0;
  std::array<std::uint64_t, kThreads> first;
  for (std::uint32_t i = 0; i < kThreads; ++i) first[i] = std::strtoull(argv[9 + i], nullptr, 10);

  Options options = StoreOptions();
  options.wait_for_replay = seed % 2 == 0;
  auto store = Storage::Open(options, argv[1]);
  if (!store.ok()) {
    std::fprintf(stderr, "the writer cannot open the store: %s\n", store.status().ToString().c_str());
    return 2;
  }
  Report(Message::Kind::kOpened);
  if (operations > 0) Writer(store->get(), seed, lying, operations).Run(first);
  Report(Message::Kind::kFinished);
  if (close) {
    if (const Status status = (*store)->Close(); !status.ok()) {
      std::fprintf(stderr, "close: %s\n", status.ToString().c_str());
      return 3;
    }
    Report(Message::Kind::kClosed);
  }
  WaitForTheEnd();
}

}  // namespace
}  // namespace crash

void ReachedFailpoint(const char* name) {
  if (crash::armed != name || crash::hits_left.fetch_sub(1) != 1) return;
  crash::Report(crash::Message::Kind::kFailpoint);
  if (!crash::hold) kill(getpid(), SIGKILL);
  crash::WaitForTheEnd();
}

}  // namespace chronolith

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--failpoints") == 0) {
    const std::set<std::string> names(__start_chronolith_failpoints, __stop_chronolith_failpoints);
    for (const std::string& name : names) std::puts(name.c_str());
    return 0;
  }
  if (argc != 9 + static_cast<int>(chronolith::crash::kThreads)) return 1;
  return chronolith::crash::Main(argv);
}
