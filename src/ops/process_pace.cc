#include "ops/process_pace.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "base/counters.h"

namespace chronolith::ops {
namespace {

constexpr double kNanosMax = 1e17;               // three years
constexpr std::chrono::milliseconds kLook{100};  // how often a wait looks whether it is cancelled

// All bytes of reads and writes so far.
std::optional<std::uint64_t> BytesOfProcess() {
  std::ifstream file("/proc/self/io");
  std::uint64_t total = 0;
  int found = 0;
  std::string name;
  for (std::uint64_t n = 0; file >> name >> n;) {
    if (name != "rchar:" && name != "wchar:") continue;
    total += n;
    ++found;
  }
  return found == 2 ? std::optional(total) : std::nullopt;
}

}  // namespace

Result<ProcessPace> ProcessPace::Start(std::uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return ProcessPace(0, 0, 0);
  const std::optional<std::uint64_t> bytes = BytesOfProcess();
  if (!bytes) return IoError("cannot keep to a limit: /proc/self/io does not tell what was read and written");
  return ProcessPace(bytes_per_second, *bytes, NowNanos());
}

std::uint64_t ProcessPace::GoOnNs() const {
  const std::uint64_t now = BytesOfProcess().value_or(bytes_);
  const double ns = static_cast<double>(now - std::min(now, bytes_)) * 1e9 / static_cast<double>(bytes_per_second_);
  return start_ns_ + static_cast<std::uint64_t>(std::min(ns, kNanosMax));
}

bool ProcessPace::Owes() const { return bytes_per_second_ != 0 && GoOnNs() > NowNanos(); }

Status ProcessPace::Wait(const OpsContext& context) const {
  const std::uint64_t go_on_ns = bytes_per_second_ == 0 ? 0 : GoOnNs();
  while (true) {
    if (Status s = context.CheckCancelled(); !s.ok()) return s;
    const std::uint64_t now = NowNanos();
    if (now >= go_on_ns) return Status::Ok();
    std::this_thread::sleep_for(std::min<std::chrono::nanoseconds>(kLook, std::chrono::nanoseconds(go_on_ns - now)));
  }
}

}  // namespace chronolith::ops
