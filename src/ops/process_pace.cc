#include "ops/process_pace.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

namespace chronolith::ops {
namespace {

constexpr double kNanosMax = 1e17;  // three years

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

Result<ProcessPace> ProcessPace::Start(const OpsContext& context, std::uint64_t bytes_per_second) {
  if (bytes_per_second == 0) return ProcessPace(context, 0, 0);
  const std::optional<std::uint64_t> bytes = BytesOfProcess();
  if (!bytes) return IoError("cannot keep to a limit: /proc/self/io does not tell what was read and written");
  return ProcessPace(context, bytes_per_second, *bytes);
}

std::uint64_t ProcessPace::GoOnNs() const {
  const std::uint64_t now = BytesOfProcess().value_or(bytes_);
  const double ns = static_cast<double>(now - std::min(now, bytes_)) * 1e9 / static_cast<double>(bytes_per_second_);
  return start_ns_ + static_cast<std::uint64_t>(std::min(ns, kNanosMax));
}

bool ProcessPace::Owes() const { return bytes_per_second_ != 0 && GoOnNs() > context_->clock->NowNanos(); }

Status ProcessPace::Wait() const { return context_->WaitUntil(bytes_per_second_ == 0 ? 0 : GoOnNs()); }

}  // namespace chronolith::ops
