// Whether a selector selects: as Prometheus, the HTTP API wants it said where all series are meant.
#ifndef CHRONOLITH_OPS_SELECTIVE_H_
#define CHRONOLITH_OPS_SELECTIVE_H_

#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"

namespace chronolith::ops {

// False where every matcher takes a series that has not its label, as those of {} and {a=~".*"}. kInvalidArgument: an expression.
Result<bool> IsSelective(const std::vector<Matcher>& selector);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SELECTIVE_H_
