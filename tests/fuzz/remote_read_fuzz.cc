// A remote read request: whatever the bytes are, it decodes within its bounds or is refused with a reason.
#include "interop/remote_read_message.h"
#include "tests/fuzz/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace chronolith;
  const auto request = interop::DecodeRemoteReadRequest(FuzzBytes(data, size));
  if (!request.ok()) {
    FUZZ_CHECK(request.status().code() == StatusCode::kInvalidArgument);
    FUZZ_CHECK(!request.status().message().empty());
    return 0;
  }
  FUZZ_CHECK(request->queries.size() <= interop::kRemoteReadQueriesMax);
  for (const interop::RemoteReadQuery& query : request->queries) {
    FUZZ_CHECK(query.matchers.size() <= interop::kRemoteReadMatchersMax);
    for (const Matcher& matcher : query.matchers) FUZZ_CHECK(!matcher.name.empty());
  }
  return 0;
}
