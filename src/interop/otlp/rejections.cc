#include "interop/otlp/rejections.h"

#include <algorithm>

namespace chronolith::interop::otlp {

void Rejections::Note(std::string_view reason) {
  if (reason.size() > kReasonBytesMax) {
    // Not within a character.
    std::size_t end = kReasonBytesMax;
    while (end > 0 && (static_cast<unsigned char>(reason[end]) & 0xc0) == 0x80) --end;
    reason = reason.substr(0, end);
  }
  const auto known = std::find_if(reasons_.begin(), reasons_.end(), [&](const auto& r) { return r.first == reason; });
  if (known != reasons_.end()) {
    ++known->second;
  } else if (reasons_.size() < kReasonsMax) {
    reasons_.emplace_back(reason, 1);
  } else {
    ++others_;
  }
}

std::string Rejections::Message() const {
  std::string text;
  for (const auto& [reason, times] : reasons_) {
    if (!text.empty()) text += "; ";
    text += reason;
    if (times > 1) text += " (" + std::to_string(times) + " times)";
  }
  if (others_ > 0) text += "; and " + std::to_string(others_) + " more";
  return text;
}

}  // namespace chronolith::interop::otlp
