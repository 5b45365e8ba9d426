// The braces of a text line, {name="value",...}: found, checked, unescaped, sorted.
#ifndef CHRONOLITH_INTEROP_LABEL_TEXT_H_
#define CHRONOLITH_INTEROP_LABEL_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/status.h"

namespace chronolith::interop {

// The length of the series at the start of `line`, a metric name, labels in braces or both; blanks in between are part of it. Only
// quotes and the closing brace are looked at: SeriesText::Parse finds what is wrong inside. A brace or quote that is never closed
// makes the whole line the series. 0: the line starts with neither.
std::size_t SeriesTextLength(std::string_view line);

// Parses label sets, keeping its buffers between calls. Thread safety: one thread at a time.
class SeriesText {
 public:
  // All of `text`, as SeriesTextLength found it. kInvalidArgument names the culprit: a missing metric name, a duplicate label, ...
  // Labels with an empty value are left out, as they equal missing ones. On success labels() and name() hold the result.
  Status Parse(std::string_view text);
  // Labels alone, as an exemplar has them: "{...}", no metric name required.
  Status ParseBraces(std::string_view text);

  Labels labels() const;                                  // sorted, distinct
  std::string_view metric_name() const;                   // "" where there is none; valid until the next Parse
  std::size_t characters() const { return characters_; }  // of all names and values in UTF-8: the bound on exemplars counts them

 private:
  struct Part {
    std::size_t name = 0, name_size = 0, value = 0, value_size = 0;  // in arena_
  };
  Status ParseBody(std::string_view body);
  Status ParseValue(std::string_view* rest, std::string_view name);
  Status Sort();
  std::string_view Name(const Part& p) const { return std::string_view(arena_).substr(p.name, p.name_size); }
  std::string_view Value(const Part& p) const { return std::string_view(arena_).substr(p.value, p.value_size); }

  std::string arena_;
  std::vector<Part> parts_;
  std::size_t characters_ = 0;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_LABEL_TEXT_H_
