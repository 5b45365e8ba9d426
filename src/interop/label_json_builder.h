// A label set of the members of a JSON object. Included by sources only.
#ifndef CHRONOLITH_INTEROP_LABEL_JSON_BUILDER_H_
#define CHRONOLITH_INTEROP_LABEL_JSON_BUILDER_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/labels.h"
#include "interop/json_read.h"

namespace chronolith::interop {

class LabelJsonBuilder {
 public:
  Status Add(JsonText* json, std::string_view name, ondemand::value value);
  // kInvalidArgument: no label, or one twice.
  Status Finish(Labels* labels);

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_LABEL_JSON_BUILDER_H_
