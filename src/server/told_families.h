// ToldFamilies: which series have been told the metadata of their family, and metadata that waits for a series.
#ifndef CHRONOLITH_SERVER_TOLD_FAMILIES_H_
#define CHRONOLITH_SERVER_TOLD_FAMILIES_H_

#include <absl/container/flat_hash_map.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "chronolith/storage.h"

namespace chronolith::server {

// Remote write 1.0 sends metadata by metric family, apart from any series, every minute; the store has it by series. What comes
// before the first series of its family waits here, in memory only. Bounded by the number of series, of families, and
// kAwaitedBytesMax: beyond that leaves what nobody has sent for the longest time. Thread safety: safe.
class ToldFamilies {
 public:
  using Awaited = absl::flat_hash_map<std::string, std::shared_ptr<const Metadata>>;  // by family
  static constexpr std::uint64_t kAwaitedBytesMax = 8 << 20;

  explicit ToldFamilies(Storage* storage) : storage_(storage) {}

  // The family's series that have not been told `metadata`; they count as told, unless Forget is called. Where there is none,
  // it waits for the first. kInvalidArgument: it is larger than all that may wait.
  Status Untold(const std::string& family, const Metadata& metadata, std::vector<SeriesRef>* untold);
  // Adds to *awaited what waited for series like these, which are there now: for Untold.
  void Await(std::span<const Labels> series, Awaited* awaited) const;
  // After a commit that refused something: all is told again the next time.
  void Forget();

 private:
  struct Family {
    std::uint64_t metadata = 0;   // its fingerprint
    std::vector<SeriesRef> told;  // ascending
  };
  static constexpr std::size_t kFamiliesMax = 1 << 16;

  Status IdsOf(const std::string& family, MetricType type, std::vector<SeriesRef>* ids) const;
  // As the newest. False: it waits already.
  Result<bool> Keep(const std::string& family, const Metadata& metadata);
  void Drop(const std::string& family) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Storage* const storage_;
  mutable Mutex mu_;
  absl::flat_hash_map<std::string, Family> families_ ABSL_GUARDED_BY(mu_);
  struct Waiting {
    std::shared_ptr<const Metadata> metadata;
    std::uint64_t sent = 0;  // in by_age_
  };
  absl::flat_hash_map<std::string, Waiting> awaited_ ABSL_GUARDED_BY(mu_);
  std::map<std::uint64_t, std::string> by_age_ ABSL_GUARDED_BY(mu_);
  std::uint64_t sent_ ABSL_GUARDED_BY(mu_) = 0;
  std::uint64_t awaited_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<std::size_t> awaited_count_{0};  // of awaited_, for a look without the lock
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_TOLD_FAMILIES_H_
