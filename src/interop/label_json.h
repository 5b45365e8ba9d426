// Label sets as JSON: one flat object of strings a line, {"__name__":"up","job":"node"}: what `promtool tsdb bench write` reads.
#ifndef CHRONOLITH_INTEROP_LABEL_JSON_H_
#define CHRONOLITH_INTEROP_LABEL_JSON_H_

#include <string>
#include <string_view>

#include "chronolith/labels.h"
#include "chronolith/result.h"

namespace chronolith::interop {

// One object, all of `line` but white space. kInvalidArgument says what is wrong: other values than strings, a duplicate name, no
// label at all, malformed escapes or UTF-8.
Result<Labels> ParseLabelJson(std::string_view line);

// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 are replaced by U+FFFD.
void AppendJsonString(std::string_view text, std::string* json);
// The same of a label set, as one flat object.
void AppendJsonLabels(const Labels& labels, std::string* json);

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_LABEL_JSON_H_
