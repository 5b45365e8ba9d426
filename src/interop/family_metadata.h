// The "# TYPE", "# HELP" and "# UNIT" lines of a text exposition, by metric family.
#ifndef CHRONOLITH_INTEROP_FAMILY_METADATA_H_
#define CHRONOLITH_INTEROP_FAMILY_METADATA_H_

#include <absl/container/flat_hash_map.h>

#include <string>
#include <string_view>

#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith::interop {

// "counter", "gauge", ...: OpenMetrics' words; "untyped" is the Prometheus format's word for unknown. False: no such type.
bool ParseMetricType(std::string_view word, MetricType* type);
std::string_view MetricTypeName(MetricType type);

// Bounded: beyond kFamiliesMax families all are forgotten. Thread safety: one thread at a time.
class FamilyMetadata {
 public:
  static constexpr std::size_t kFamiliesMax = 1 << 16;

  // One comment line behind its "#": `keyword` is its first word, `rest` what follows. Other keywords are comments and ignored.
  // `changed`: a family that Find has already answered for now says something else.
  Status Read(std::string_view keyword, std::string_view rest, bool* changed);

  // The metadata of the family that a sample named `metric` belongs to: of that name, or of the name without a suffix that
  // OpenMetrics gives to samples (_total, _bucket, ...). Null where there is none. Valid until the next Read.
  const Metadata* Find(std::string_view metric);

 private:
  struct Family {
    Metadata metadata;
    bool answered = false;
  };
  absl::flat_hash_map<std::string, Family> families_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_FAMILY_METADATA_H_
