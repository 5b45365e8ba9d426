#include "index/label_validation.h"

#include <string>

#include "format/wal_record.h"
#include "index/symbols.h"
#include "index/utf8.h"

namespace chronolith {
namespace {

// For messages: printable, at most about 64 characters.
std::string Quote(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  static constexpr std::size_t kShown = 64;
  std::string quoted = "\"";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted.push_back('\\');
      quoted.push_back(c);
    } else if (byte >= 0x20 && byte < 0x7f) {
      quoted.push_back(c);
    } else {
      quoted.append("\\x").push_back(kHex[byte >> 4]);
      quoted.push_back(kHex[byte & 15]);
    }
  }
  quoted.push_back('"');
  if (text.size() > kShown) quoted.append("... (").append(std::to_string(text.size())).append(" bytes)");
  return quoted;
}

Status TooLong(std::string_view what, std::string_view option, std::uint32_t limit) {
  return InvalidArgument(std::string(what) + " is longer than " + std::string(option) + " (" + std::to_string(limit) + ")");
}

[[gnu::noinline]] Status Explain(const Label& label, std::string_view previous, bool first, const LabelLimits& limits) {
  if (label.name.empty()) return InvalidArgument("a label with value " + Quote(label.value) + " has an empty name");
  const std::string who = "label " + Quote(label.name);
  if (label.name.size() > limits.max_label_name_bytes) {
    return TooLong("name of " + who, "max_label_name_bytes", limits.max_label_name_bytes);
  }
  if (!IsValidUtf8(label.name)) return InvalidArgument("name of " + who + " is not valid UTF-8");
  if (!first && label.name == previous) return InvalidArgument(who + " is there twice");
  if (!first && label.name < previous) {
    return InvalidArgument("labels are not sorted by name: " + who + " stands behind " + Quote(previous));
  }
  if (label.value.empty()) return InvalidArgument("value of " + who + " is empty, which equals a missing label: leave it out");
  if (label.value.size() > limits.max_label_value_bytes) {
    return TooLong("value of " + who, "max_label_value_bytes", limits.max_label_value_bytes);
  }
  return InvalidArgument("value of " + who + " is not valid UTF-8: " + Quote(label.value));
}

}  // namespace

Status ValidateLabels(std::string_view encoded, const LabelLimits& limits) {
  if (encoded.empty()) return InvalidArgument("a series needs at least one label");
  if (encoded.size() > kLabelSetBytesMax) {
    return InvalidArgument("the labels take " + std::to_string(encoded.size()) + " bytes together, more than " +
                           std::to_string(kLabelSetBytesMax));
  }
  const bool ascii = IsAscii(encoded);  // then all names and values are
  std::string_view rest = encoded;
  std::string_view pair;
  std::string_view previous;
  std::uint32_t count = 0;
  while (!rest.empty()) {
    Label label;
    if (!NextPair(&rest, &pair, &label)) {
      return InvalidArgument("malformed encoding of a label set behind label " + std::to_string(count) + " " + Quote(previous));
    }
    if (count == limits.max_labels_per_series) {
      return InvalidArgument("more labels than max_labels_per_series (" + std::to_string(limits.max_labels_per_series) +
                             "): the first beyond is " + Quote(label.name));
    }
    const bool good = !label.name.empty() && !label.value.empty() && (count == 0 || previous < label.name) &&
                      label.name.size() <= limits.max_label_name_bytes && label.value.size() <= limits.max_label_value_bytes &&
                      (ascii || (IsValidUtf8(label.name) && IsValidUtf8(label.value)));
    if (!good) return Explain(label, previous, count == 0, limits);
    previous = label.name;
    ++count;
  }
  return Status::Ok();
}

}  // namespace chronolith
