// Out-of-line members of the small public types.
#include <algorithm>
#include <chrono>

#include "base/coding.h"
#include "chronolith/archive_marks.h"
#include "chronolith/engine_registry.h"
#include "chronolith/env.h"
#include "chronolith/kv_engine.h"
#include "chronolith/labels.h"
#include "chronolith/log_archiver.h"
#include "chronolith/series_set.h"
#include "chronolith/stats.h"
#include "chronolith/status.h"

namespace chronolith {

std::string_view StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk: return "OK";
    case StatusCode::kInvalidArgument: return "INVALID_ARGUMENT";
    case StatusCode::kNotFound: return "NOT_FOUND";
    case StatusCode::kAlreadyExists: return "ALREADY_EXISTS";
    case StatusCode::kFailedPrecondition: return "FAILED_PRECONDITION";
    case StatusCode::kPermissionDenied: return "PERMISSION_DENIED";
    case StatusCode::kResourceExhausted: return "RESOURCE_EXHAUSTED";
    case StatusCode::kDeadlineExceeded: return "DEADLINE_EXCEEDED";
    case StatusCode::kCancelled: return "CANCELLED";
    case StatusCode::kUnavailable: return "UNAVAILABLE";
    case StatusCode::kUnknown: return "UNKNOWN";
    case StatusCode::kFenced: return "FENCED";
    case StatusCode::kDataLoss: return "DATA_LOSS";
    case StatusCode::kUnimplemented: return "UNIMPLEMENTED";
    case StatusCode::kIoError: return "IO_ERROR";
  }
  return "INVALID_STATUS_CODE";
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  std::string text(StatusCodeName(code_));
  return text.append(": ").append(message_);
}

Status Status::WithContext(std::string_view context) const {
  if (ok()) return *this;
  return {code_, std::string(context).append(": ").append(message_)};
}

MergeFunction::~MergeFunction() = default;
DropFilter::~DropFilter() = default;
KvIterator::~KvIterator() = default;
KvEngine::~KvEngine() = default;
Status KvEngine::Damage(FamilyId) const { return Status::Ok(); }
LogJudge::~LogJudge() = default;
VerifyVisitor::~VerifyVisitor() = default;
EngineFactory::~EngineFactory() = default;
void LogJudge::OnReplayed(FamilyId, std::string_view, std::string_view) {}
bool LogJudge::GivesUpDamage() const { return false; }
Result<std::string> EngineFactory::CheckLog(const std::string&, const EngineOptions&, LogJudge*) {
  return Unimplemented("the engine '" + std::string(Name()) + "' cannot check its log");
}
HeldFiles::~HeldFiles() = default;
Result<std::unique_ptr<HeldFiles>> EngineFactory::HoldFiles(const std::string&) {
  return Unimplemented("the engine '" + std::string(Name()) + "' does not keep its instances in files");
}
Clock::~Clock() = default;
Logger::~Logger() = default;
LogArchiver::~LogArchiver() = default;
ArchiveMarks::~ArchiveMarks() = default;

std::uint64_t KvEngine::BufferedBytes() const {
  std::uint64_t bytes = 0;
  for (const FamilyStats& family : Stats().families) bytes += family.buffered_bytes;
  return bytes;
}

SampleIterator::~SampleIterator() = default;
ChunkIterator::~ChunkIterator() = default;
SeriesSet::~SeriesSet() = default;

namespace {
class SystemClock : public Clock {
 public:
  std::int64_t NowMs() const override {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  }
};
}  // namespace

std::shared_ptr<Clock> Clock::System() { return std::make_shared<SystemClock>(); }

bool MemoryBudget::TryReserve(std::uint64_t bytes) {
  std::uint64_t used = used_bytes_.load(std::memory_order_relaxed);
  do {
    if (used > limit_bytes_ || bytes > limit_bytes_ - used) return false;
  } while (!used_bytes_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
  return true;
}

int ThreadBudget::busy() const {
  const std::lock_guard<std::mutex> lock(mu_);
  return busy_;
}

bool ThreadBudget::AcquireUntil(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock<std::mutex> lock(mu_);
  if (busy_ == threads_ && !freed_.wait_until(lock, deadline, [&] { return busy_ < threads_; })) return false;
  ++busy_;
  return true;
}

void ThreadBudget::Release() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    --busy_;
  }
  freed_.notify_one();
}

double DurationHistogram::Quantile(double q) const {
  if (count == 0) return 0;
  const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(count);
  double seen = 0;
  for (int i = 0; i < kBuckets; ++i) {
    const auto n = static_cast<double>(counts[static_cast<std::size_t>(i)]);
    if (n > 0 && seen + n >= rank) {
      const double low = i == 0 ? 0 : UpperBoundSeconds(i - 1);
      return low + (UpperBoundSeconds(i) - low) * ((rank - seen) / n);
    }
    seen += n;
  }
  return UpperBoundSeconds(kBuckets - 1);
}

void DurationHistogram::Add(const DurationHistogram& other) {
  for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
  count += other.count;
  sum_seconds += other.sum_seconds;
}

Labels::const_iterator& Labels::const_iterator::operator++() {
  at_ = next_;
  if (at_ == end_) return *this;
  std::uint64_t name = 0;
  std::uint64_t value = 0;
  const char* p = DecodeVarint(next_, end_, &name);
  if (p != nullptr && name <= static_cast<std::uint64_t>(end_ - p)) {
    label_.name = {p, name};
    p = DecodeVarint(p + name, end_, &value);
    if (p != nullptr && value <= static_cast<std::uint64_t>(end_ - p)) {
      label_.value = {p, value};
      next_ = p + value;
      return *this;
    }
  }
  at_ = next_ = end_;  // malformed: end early
  return *this;
}

Labels::const_iterator Labels::begin() const { return {encoded_.data(), encoded_.data() + encoded_.size()}; }
Labels::const_iterator Labels::end() const {
  const char* end = encoded_.data() + encoded_.size();
  return {end, end};
}

void Labels::AppendEncoded(std::string_view name, std::string_view value, std::string* encoded) {
  PutBytes(encoded, name);
  PutBytes(encoded, value);
}

Labels Labels::FromEncoded(std::string encoded) {
  Labels l;
  l.encoded_ = std::move(encoded);
  return l;
}

Labels::Labels(std::initializer_list<std::pair<std::string_view, std::string_view>> pairs) {
  std::vector<std::pair<std::string_view, std::string_view>> sorted(pairs);
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [name, value] : sorted) AppendEncoded(name, value, &encoded_);
}

Labels::Labels(std::vector<std::pair<std::string, std::string>> pairs) {
  std::stable_sort(pairs.begin(), pairs.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [name, value] : pairs) AppendEncoded(name, value, &encoded_);
}

std::size_t Labels::size() const {
  std::size_t n = 0;
  for (auto it = begin(); it != end(); ++it) ++n;
  return n;
}

std::string_view Labels::Get(std::string_view name) const {
  for (const Label& label : *this) {
    if (label.name == name) return label.value;
  }
  return {};
}

namespace {
void AppendQuoted(std::string_view value, std::string* text) {
  text->push_back('"');
  for (const char c : value) {
    if (c == '\\' || c == '"') text->push_back('\\');
    if (c == '\n') {
      text->append("\\n");
    } else {
      text->push_back(c);
    }
  }
  text->push_back('"');
}
}  // namespace

std::string Labels::ToString() const {
  std::string text(Get(kMetricName));
  bool open = false;
  for (const Label& label : *this) {
    if (label.name == kMetricName) continue;
    text.append(open ? "," : "{").append(label.name).push_back('=');
    AppendQuoted(label.value, &text);
    open = true;
  }
  if (open) {
    text.push_back('}');
  } else if (text.empty()) {
    text = "{}";
  }
  return text;
}

std::strong_ordering operator<=>(const Labels& a, const Labels& b) {
  auto x = a.begin();
  auto y = b.begin();
  for (; x != a.end() && y != b.end(); ++x, ++y) {
    if (const int c = x->name.compare(y->name); c != 0) return c <=> 0;
    if (const int c = x->value.compare(y->value); c != 0) return c <=> 0;
  }
  if (x == a.end()) return y == b.end() ? std::strong_ordering::equal : std::strong_ordering::less;
  return std::strong_ordering::greater;
}

std::string Matcher::ToString() const {
  static constexpr std::string_view kOperators[] = {"=", "!=", "=~", "!~"};
  std::string text = name;
  text.append(kOperators[static_cast<int>(type)]);
  AppendQuoted(value, &text);
  return text;
}

Status EngineRegistry::Register(std::shared_ptr<EngineFactory> factory) {
  std::string name(factory->Name());
  if (factories_.contains(name)) return AlreadyExists("storage engine '" + name + "' is already registered");
  factories_.emplace(std::move(name), std::move(factory));
  return Status::Ok();
}

Result<std::shared_ptr<EngineFactory>> EngineRegistry::Find(std::string_view name) const {
  if (const auto it = factories_.find(name); it != factories_.end()) return it->second;
  std::string known;
  for (const auto& [n, factory] : factories_) known.append(known.empty() ? "" : ", ").append(n);
  return NotFound("unknown storage engine '" + std::string(name) + "'; this build has: " + known);
}

std::vector<std::string> EngineRegistry::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, factory] : factories_) names.push_back(name);
  return names;
}

}  // namespace chronolith
