// Series selectors as PromQL writes them: metric{job="node",mode=~"idle|user"}. Only the selector: PromQL is not evaluated here.
#ifndef CHRONOLITH_INTEROP_SELECTOR_H_
#define CHRONOLITH_INTEROP_SELECTOR_H_

#include <string_view>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"

namespace chronolith::interop {

// A metric name, matchers in braces, or both; "{}" has no matcher and selects everything. Operators: = != =~ !~. Values stand in
// double or single quotes with Go's escapes (\n, \x41, \u00e9, ...), or in backticks without any. A trailing comma is allowed.
// kInvalidArgument: "position 7: expected a label name, got '='"; positions count bytes from 1. Regular expressions are checked by
// whoever uses the matchers.
Result<std::vector<Matcher>> ParseSelector(std::string_view text);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_SELECTOR_H_
