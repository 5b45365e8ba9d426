// The list of what a salvage lost, as JSON: one object a line in the file kSalvageListName of the new store, and the same objects
// in what the command line prints. Internal to salvage, and for who prints its report.
//
// The file: a line for each loss, and a last one with what else the report says. It is written while the store is made, all of it:
// the report itself keeps the first kLossesListedMax.
#ifndef CHRONOLITH_OPS_SALVAGE_LIST_H_
#define CHRONOLITH_OPS_SALVAGE_LIST_H_

#include <string>
#include <string_view>

#include "chronolith/result.h"
#include "ops/salvage.h"

namespace chronolith::ops {

// An object.
std::string LossJson(const SalvageLoss& loss);
// The members of an object, without its braces: all but the losses.
std::string SummaryJson(const SalvageReport& report);

// kNotFound; kDataLoss names the line.
Result<SalvageReport> ReadSalvageList(const std::string& path);

}  // namespace chronolith::ops

#endif  // CHRONOLITH_OPS_SALVAGE_LIST_H_
