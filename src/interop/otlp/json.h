// OTLP's JSON form as bytes of Protocol Buffers.
#ifndef CHRONOLITH_INTEROP_OTLP_JSON_H_
#define CHRONOLITH_INTEROP_OTLP_JSON_H_

#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace google::protobuf {
class Descriptor;
}

namespace chronolith::interop::otlp {

// The message of `type` that `json` says, as bytes. Proto3's JSON with OTLP's exceptions: trace and span ids are hexadecimal, enums
// may be numbers, unknown members are passed by. (The library's own reader takes ids for base64, and makes objects of everything.)
// Memory: about six times the text and once the result, which is at most four times the text. kInvalidArgument names the place.
Result<std::string> JsonToWire(std::string_view json, const google::protobuf::Descriptor& type);

// {} or {"partialSuccess": ...}.
std::string ResponseJson(std::uint64_t rejected, std::string_view message);
// google.rpc.Status.
std::string StatusJson(int code, std::string_view message);

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_JSON_H_
