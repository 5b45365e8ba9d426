// ToldFamilies: which series have been told the metadata of their family.
#ifndef CHRONOLITH_SERVER_TOLD_FAMILIES_H_
#define CHRONOLITH_SERVER_TOLD_FAMILIES_H_

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "chronolith/storage.h"

namespace chronolith::server {

// Remote write 1.0 sends metadata by metric family, apart from any series, every minute; the store has it by series. Bounded by the
// number of series, and of families. Thread safety: safe.
class ToldFamilies {
 public:
  explicit ToldFamilies(Storage* storage) : storage_(storage) {}

  // The family's series that have not been told `metadata`; they count as told, unless Forget is called.
  Status Untold(const std::string& family, const Metadata& metadata, std::vector<SeriesRef>* untold);
  // After a commit that refused something: all is told again the next time.
  void Forget();

 private:
  struct Family {
    std::uint64_t metadata = 0;   // its fingerprint
    std::vector<SeriesRef> told;  // ascending
  };
  static constexpr std::size_t kFamiliesMax = 1 << 16;

  Storage* const storage_;
  Mutex mu_;
  absl::flat_hash_map<std::string, Family> families_ ABSL_GUARDED_BY(mu_);
};

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_TOLD_FAMILIES_H_
