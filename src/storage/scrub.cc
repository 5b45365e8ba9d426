#include "storage/scrub.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/counters.h"
#include "storage/pacer.h"
#include "storage/store_directory.h"

namespace chronolith {
namespace {

constexpr std::chrono::milliseconds kLook{100};        // at what wakes nobody: ScrubOptions::cancelled, places of the ThreadBudget
constexpr std::int64_t kClockLookMs = 60 * 60 * 1000;  // the wall clock may have been set
// A pass that is stopped again and again, by restarts that each leave new files, gets through them all the same.
constexpr std::uint64_t kCreditBytes = 256 << 10;
constexpr std::int64_t kCutShortMs = 60 * 1000;  // the pause after a pass that an engine ended
constexpr std::uint64_t kSaveNanos = 60'000'000'000ULL;
constexpr std::size_t kReportedMax = 1000;
constexpr std::size_t kToldMax = 10'000;

std::string Shown(const ScrubProblem& problem) { return problem.place + ": " + problem.status.message(); }

}  // namespace

class Scrubber::Watcher : public ScrubWatcher {
 public:
  // `report` null: in the background.
  Watcher(Scrubber* scrubber, std::uint64_t bytes_per_second, const std::atomic<bool>* cancelled, ScrubPass pass,
          ScrubReport* report)
      : scrubber_(scrubber),
        pacer_(bytes_per_second, kCreditBytes),
        cancelled_(cancelled),
        report_(report),
        pass_(std::move(pass)) {}
  ~Watcher() override { LeavePlace(); }

  bool OnRead(std::uint64_t bytes, std::uint64_t rows) override {
    pass_.bytes += bytes;
    pass_.rows += rows;
    {
      MutexLock lock(&scrubber_->mu_);
      scrubber_->bytes_ += bytes;
      scrubber_->rows_ += rows;
    }
    if (in_background() && NowNanos() - saved_ns_ > kSaveNanos) {
      Publish();
      scrubber_->Save();
      saved_ns_ = NowNanos();
    }
    // For what was read before: so a file that is read in one piece counts where the pass is stopped then.
    if (!WaitUntil(go_on_ns_)) return false;
    go_on_ns_ = pacer_.Next(bytes, NowNanos());
    return true;
  }

  void OnPosition(const ScrubPosition& position) override {
    pass_.step = position.step;
    pass_.behind = position.behind;
    Publish();
  }

  void OnProblem(ScrubProblem problem) override {
    ++pass_.problems;
    if (pass_.named.size() < kScrubProblemsMax) pass_.named.push_back(Shown(problem));
    scrubber_->Note(problem);
    if (report_ == nullptr) return;
    ++report_->problems_total;
    if (report_->problems.size() < kReportedMax) report_->problems.push_back(std::move(problem));
  }

  // A place among the threads of several stores; false: the pass is to end.
  bool TakePlace() {
    ThreadBudget* const budget = in_background() ? scrubber_->options_.thread_budget.get() : nullptr;
    while (budget != nullptr && !has_place_) {
      has_place_ = budget->AcquireUntil(std::chrono::steady_clock::now() + kLook);
      MutexLock lock(&scrubber_->mu_);
      if (scrubber_->MustStop(true)) return false;
    }
    return true;
  }

  ScrubPass TakePass() {
    pass_.active_ms = ActiveMs();
    return std::move(pass_);
  }

 private:
  bool in_background() const { return report_ == nullptr; }
  std::uint64_t ActiveMs() const { return active_before_ms_ + (NowNanos() - start_ns_) / 1'000'000; }

  void Publish() {
    pass_.active_ms = ActiveMs();
    MutexLock lock(&scrubber_->mu_);
    scrubber_->progress_ = static_cast<double>(pass_.step) / static_cast<double>(scrubber_->steps_);
    if (in_background()) scrubber_->state_.running = pass_;
  }

  bool WaitUntil(std::uint64_t ns) {
    const std::uint64_t now = NowNanos();
    const bool cancelled = cancelled_ != nullptr && cancelled_->load();
    if (ns <= now) {
      MutexLock lock(&scrubber_->mu_);
      return !cancelled && !scrubber_->MustStop(in_background());
    }
    LeavePlace();
    const Deadline until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(ns - now);
    {
      MutexLock lock(&scrubber_->mu_);
      while (true) {
        if (scrubber_->MustStop(in_background()) || (cancelled_ != nullptr && cancelled_->load())) return false;
        const Deadline time = std::chrono::steady_clock::now();
        if (time >= until) break;
        (void)scrubber_->cv_.WaitUntil(&scrubber_->mu_, cancelled_ == nullptr ? until : std::min(until, time + kLook));
      }
    }
    return TakePlace();
  }

  void LeavePlace() {
    if (std::exchange(has_place_, false)) scrubber_->options_.thread_budget->Release();
  }

  Scrubber* const scrubber_;
  Pacer pacer_;
  const std::atomic<bool>* const cancelled_;
  ScrubReport* const report_;
  ScrubPass pass_;
  const std::uint64_t active_before_ms_ = pass_.active_ms;
  const std::uint64_t start_ns_ = NowNanos();
  std::uint64_t saved_ns_ = start_ns_;
  std::uint64_t go_on_ns_ = 0;
  bool has_place_ = false;
};

Scrubber::Scrubber(ScrubSubject subject, const Options& options)
    : subject_(std::move(subject)), options_(options), steps_(ScrubSteps(subject_.shards->size())) {
  MutexLock lock(&mu_);
  shard_errors_.resize(subject_.shards->size());
  shard_damage_.resize(subject_.shards->size());
  Load();
}

Scrubber::~Scrubber() { Stop(); }

std::string Scrubber::InitialState(std::int64_t now_ms) {
  ScrubState state;
  state.last.started_ms = now_ms;
  return EncodeScrubState(state);
}

void Scrubber::Log(LogLevel level, const std::string& message) const {
  if (options_.logger) options_.logger->Log(level, "scrub: " + message);
}

// A store without the row, or with one that cannot be read, has not been scrubbed.
void Scrubber::Load() {
  std::string value;
  const Status status = subject_.data->Get(kMetaFamily, kScrubKey, &value);
  if (status.code() == StatusCode::kNotFound) return;
  Result<ScrubState> state = status.ok() ? DecodeScrubState(value) : status;
  if (!state.ok()) return Log(LogLevel::kWarning, "begins anew: " + state.status().message());
  state_ = std::move(*state);
  progress_ = static_cast<double>(state_.running.step) / static_cast<double>(steps_);
}

// What cannot be stored costs a pass more, nothing else. Buffered and flushed, not logged: a data instance whose log has failed
// must be reopened, one whose flush has met a full disk goes on when there is room; and what lies in its log pins that until the
// family is flushed, which no checkpoint does.
void Scrubber::Save() {
  if (options_.read_only || !subject_.has_room()) return;
  std::string value;
  {
    MutexLock lock(&mu_);
    value = EncodeScrubState(state_);
  }
  const Op op{Op::Type::kPut, kScrubKey, value};
  const Batch batch{kMetaFamily, {}, 0, {&op, 1}};
  Status status = subject_.data->Write({&batch, 1}, {.durability = Durability::kBuffered})[0];
  if (status.ok()) status = subject_.data->Flush(kMetaFamily);
  if (!status.ok()) Log(LogLevel::kWarning, "its state could not be stored: " + status.message());
}

void Scrubber::Note(const ScrubProblem& problem) {
  {
    MutexLock lock(&mu_);
    if (told_.size() >= kToldMax || !told_.insert(problem.place).second) return;
    if (problems_.size() < kScrubProblemsMax) problems_.push_back(Shown(problem));
    if (problem.shard) {
      ++shard_errors_[*problem.shard];
      if (std::string& damage = shard_damage_[*problem.shard]; damage.empty()) damage = Shown(problem);
    } else {
      ++shared_errors_;
    }
  }
  Log(LogLevel::kError, Shown(problem));
}

void Scrubber::Finish(ScrubPass pass) {
  pass.finished_ms = options_.clock->NowMs();
  pass.step = 0;
  pass.behind.clear();
  Log(pass.problems == 0 ? LogLevel::kInfo : LogLevel::kError,
      "checked " + std::to_string(pass.bytes) + " bytes and " + std::to_string(pass.rows) + " rows in " +
          std::to_string(pass.active_ms) + " ms, found " + std::to_string(pass.problems) + " problems");
  MutexLock lock(&mu_);
  state_.last = std::move(pass);
  state_.running = {};
  progress_ = 0;
}

// ---- In the background ----

void Scrubber::Start() {
  if (options_.scrub_interval_ms > 0 && !options_.read_only) thread_ = std::thread([this] { Loop(); });
}

std::int64_t Scrubber::WaitMs(std::int64_t now_ms) const {
  if (state_.running.started_ms != 0) {
    const std::int64_t pause_ms = cut_short_ms_ ? *cut_short_ms_ + kCutShortMs - now_ms : 0;
    return pause_ms > kCutShortMs ? 0 : std::max<std::int64_t>(pause_ms, 0);  // 0 also where the clock was set back
  }
  const std::int64_t since = std::max<std::int64_t>(now_ms - state_.last.started_ms, 0);
  return std::max<std::int64_t>(options_.scrub_interval_ms - since, 0);
}

void Scrubber::Loop() {
  while (true) {
    const std::int64_t now_ms = options_.clock->NowMs();  // without the lock: the clock is the host's, and may take its time
    bool begin = false;
    {
      MutexLock lock(&mu_);
      if (ended_) return;
      const std::int64_t wait_ms = WaitMs(now_ms);
      begin = wait_ms == 0 && !busy_ && !wanted_;
      if (begin) {
        busy_ = true;
        stop_.store(false);
      } else {
        const std::chrono::milliseconds at_most(wait_ms == 0 ? kClockLookMs : std::min(wait_ms, kClockLookMs));
        (void)cv_.WaitUntil(&mu_, std::chrono::steady_clock::now() + at_most);
      }
    }
    if (!begin) continue;
    RunInBackground();
    MutexLock lock(&mu_);
    busy_ = false;
    cv_.SignalAll();
  }
}

void Scrubber::RunInBackground() {
  ScrubPass pass;
  {
    MutexLock lock(&mu_);
    pass = state_.running;
  }
  if (pass.started_ms == 0 || pass.step >= steps_) {
    pass = {};
    pass.started_ms = options_.clock->NowMs();
  }
  const ScrubPosition from{pass.step, pass.behind};
  Watcher watcher(this, options_.scrub_bytes_per_second, nullptr, std::move(pass), nullptr);
  const Status status =
      watcher.TakePlace() ? RunScrubPass(subject_, from, stop_, &watcher) : Cancelled("the store is being closed");
  pass = watcher.TakePass();
  if (status.ok()) {
    Finish(std::move(pass));
  } else {
    const std::int64_t now_ms = options_.clock->NowMs();
    bool cut_short;
    {
      MutexLock lock(&mu_);
      state_.running = std::move(pass);
      cut_short = status.code() != StatusCode::kCancelled || !MustStop(true);
      if (cut_short) cut_short_ms_ = now_ms;
    }
    if (cut_short) Log(LogLevel::kWarning, "goes on in a minute: " + status.message());
  }
  Save();
}

// ---- For the host ----

Result<ScrubReport> Scrubber::Run(const ScrubOptions& options) {
  {
    MutexLock lock(&mu_);
    if (wanted_) return FailedPrecondition("another scrub of this store is under way");
    wanted_ = true;
    if (busy_) stop_.store(true);
    cv_.SignalAll();
    while (busy_) cv_.Wait(&mu_);
    busy_ = true;
    stop_.store(ended_);
  }
  ScrubReport report;
  for (const auto& shard : *subject_.shards) {
    if (!shard->quarantine.ok()) report.quarantined.push_back(shard->id);
  }
  ScrubPass pass;
  pass.started_ms = options_.clock->NowMs();
  Watcher watcher(this, options.bytes_per_second, options.cancelled, std::move(pass), &report);
  const Status status = RunScrubPass(subject_, {}, stop_, &watcher);
  pass = watcher.TakePass();
  report.bytes = pass.bytes;
  report.rows = pass.rows;
  report.complete = status.ok();
  if (status.ok()) {
    Finish(std::move(pass));
    Save();
  }
  bool ended;
  {
    MutexLock lock(&mu_);
    ended = ended_;
    busy_ = false;
    wanted_ = false;
    progress_ = 0;
    cv_.SignalAll();
  }
  if (status.ok() || (status.code() == StatusCode::kCancelled && !ended)) return report;
  return status.code() == StatusCode::kCancelled ? Unavailable("the store was closed or reopened during the scrub") : status;
}

void Scrubber::End() {
  MutexLock lock(&mu_);
  ended_ = true;
  stop_.store(true);
  cv_.SignalAll();
}

void Scrubber::Stop() {
  End();
  if (thread_.joinable()) thread_.join();
}

// ---- Stats ----

void Scrubber::FillStats(StorageStats* stats) const {
  MutexLock lock(&mu_);
  ScrubStats& s = stats->scrub;
  s.running = busy_;
  s.progress = progress_;
  s.bytes = bytes_;
  s.rows = rows_;
  s.last_full_pass_ms = state_.last.finished_ms;
  s.last_pass_seconds = static_cast<double>(state_.last.active_ms) / 1000;
  s.last_pass_problems = state_.last.problems;
  s.last_problems = state_.last.named;
  s.problems = problems_;
  s.shared_errors = shared_errors_;
  for (ShardStats& shard : stats->shards) {
    shard.scrub_errors = shard_errors_[shard.shard];
    shard.scrub_damage = shard_damage_[shard.shard];
  }
}

}  // namespace chronolith
