// Why points of a request were not taken: counted, with the first few reasons as text.
#ifndef CHRONOLITH_INTEROP_OTLP_REJECTIONS_H_
#define CHRONOLITH_INTEROP_OTLP_REJECTIONS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chronolith::interop::otlp {

// Thread safety: one thread at a time.
class Rejections {
 public:
  // One more data point.
  void Reject(std::string_view reason) {
    ++points_;
    Note(reason);
  }
  // Something else that was not taken: a warning, in the protocol's words.
  void Note(std::string_view reason);

  std::uint64_t points() const { return points_; }
  std::string Message() const;

 private:
  static constexpr std::size_t kReasonsMax = 8;
  static constexpr std::size_t kReasonBytesMax = 300;

  std::uint64_t points_ = 0;
  std::vector<std::pair<std::string, std::uint64_t>> reasons_;  // and how often
  std::uint64_t others_ = 0;
};

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_REJECTIONS_H_
