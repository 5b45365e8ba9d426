// Whether two stores show the same, whatever shards they have: read side by side, series by series, bit by bit.
#ifndef CHRONOLITH_OPS_STORE_COMPARE_H_
#define CHRONOLITH_OPS_STORE_COMPARE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "chronolith/storage.h"
#include "ops/context.h"
#include "ops/store_copy.h"

namespace chronolith::ops {

struct StoreCompareOptions {
  std::size_t series_at_once = kCopyAtOnce;
  std::function<Status()> between;  // called after some 64 Ki items and after each series more than that; an error ends it
};

// Both stores read-only, or with nobody writing. kDataLoss names the first series, and what is different: samples (time, kind, each
// bit of the value), exemplars, metadata; or the retention floors. Series without any of these are as if they were not there.
// *figures receives those of each shard of `copy`. Memory: 16 bytes a series, the labels of series_at_once of both, and chunks.
Status CompareStores(const OpsContext& context, Storage* original, Storage* copy, const StoreCompareOptions& options,
                     std::vector<StoreFigures>* figures);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_STORE_COMPARE_H_
