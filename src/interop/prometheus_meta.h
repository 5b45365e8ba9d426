// meta.json of a block of Prometheus.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_META_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_META_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "chronolith/types.h"

namespace chronolith {

struct PrometheusBlockMeta {
  std::string ulid;
  Timestamp min_time = 0;
  Timestamp max_time = 0;  // exclusive
  std::uint64_t samples = 0;
  std::vector<std::string> sources;  // the blocks that it was made of, itself where it was made of the head
  bool out_of_order = false;         // of samples that came late: says nothing of what the head has
};

// kDataLoss: not JSON, or without the fields that every block has; kFailedPrecondition: another version than 1.
Result<PrometheusBlockMeta> ParsePrometheusMeta(std::string_view json);

// Whether a directory of this name may be a block.
bool IsUlid(std::string_view name);

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_META_H_
