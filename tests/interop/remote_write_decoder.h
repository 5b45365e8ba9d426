// Reads the messages of remote write and the answers of remote read back: written against the specification's field numbers, and
// sharing nothing with the encoder. Anything unexpected is a failure with its name in `error`.
#ifndef CHRONOLITH_TESTS_INTEROP_REMOTE_WRITE_DECODER_H_
#define CHRONOLITH_TESTS_INTEROP_REMOTE_WRITE_DECODER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/types.h"

namespace chronolith::testing {

struct DecodedRequest {
  std::string error;  // "" where all was understood
  std::vector<TimeSeries> series;
  std::map<std::string, Metadata> families;  // 1.0 only
  std::vector<std::string> symbols;          // 2.0 only
};

DecodedRequest DecodeRequest1(std::string_view message);
// Checks besides: symbol 0 is "", no symbol twice, an even number of references, all of them within the table.
DecodedRequest DecodeRequest2(std::string_view message);
// A ReadResponse with raw samples: the series of all its results.
DecodedRequest DecodeReadResponse(std::string_view message);

// "" where the body is no snappy block.
std::string Unsnappy(std::string_view compressed);

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_INTEROP_REMOTE_WRITE_DECODER_H_
