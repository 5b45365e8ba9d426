// The "# TYPE", "# HELP" and "# UNIT" lines of a text exposition, by metric family.
#ifndef CHRONOLITH_INTEROP_FAMILY_METADATA_H_
#define CHRONOLITH_INTEROP_FAMILY_METADATA_H_

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith::interop {

// "counter", "gauge", ...: OpenMetrics' words; "untyped" is the Prometheus format's word for unknown. False: no such type.
bool ParseMetricType(std::string_view word, MetricType* type);
std::string_view MetricTypeName(MetricType type);
// To tell whether metadata has changed. Not 0.
std::uint64_t FingerprintOf(const Metadata& metadata);

// Bounded: beyond kFamiliesMax families all are forgotten. Thread safety: one thread at a time.
class FamilyMetadata {
 public:
  static constexpr std::size_t kFamiliesMax = 1 << 16;

  // One comment line behind its "#": `keyword` is its first word, `rest` what follows. Other keywords are comments and ignored.
  Status Read(std::string_view keyword, std::string_view rest);

  // The lines read last, all of one family, changed what was known of it: series that were told its metadata may have to be told
  // again. Ends with the next family, which is enough, as samples follow the lines of their family.
  bool changed() const { return changed_; }

  struct Entry {
    const Metadata* metadata = nullptr;
    std::uint64_t fingerprint = 0;  // of the metadata
  };
  // The metadata of the family that a sample named `metric` belongs to: of that name, or of the name without a suffix that
  // OpenMetrics gives to samples (_total, _bucket, ...). {} where there is none. Valid until the next Read.
  Entry Find(std::string_view metric) const;

 private:
  absl::flat_hash_map<std::string, Metadata> families_;
  std::string current_;  // the family of the last line
  bool changed_ = false;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_FAMILY_METADATA_H_
