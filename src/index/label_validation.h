// ValidateLabels: whether a label set may identify a series.
#ifndef CHRONOLITH_INDEX_LABEL_VALIDATION_H_
#define CHRONOLITH_INDEX_LABEL_VALIDATION_H_

#include <cstdint>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith {

// The bounds of Options of the same names, which messages tell.
struct LabelLimits {
  std::uint32_t max_labels_per_series = 30;
  std::uint32_t max_label_name_bytes = 1024;
  std::uint32_t max_label_value_bytes = 2048;
};

// `encoded` as Labels::encoded(). kInvalidArgument names the first label at fault (escaped, shortened) and the limit: an empty set,
// malformed bytes, an empty name, names that are not ascending or twice there, an empty value (which means "no such label": leave
// it out), text that is no UTF-8, too many labels, or too long ones. About 100 ns for nine labels; allocates only for a message.
Status ValidateLabels(std::string_view encoded, const LabelLimits& limits);

}  // namespace chronolith

#endif  // CHRONOLITH_INDEX_LABEL_VALIDATION_H_
