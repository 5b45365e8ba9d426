// Any bytes as the target of a request, as a form and as a time: what is understood reads the same when it is written again, and
// parameters are refused by name.
#include <string>

#include "server/api_response.h"
#include "server/http_message.h"
#include "tests/fuzz/fuzz_check.h"

using namespace chronolith;
using namespace chronolith::server;

namespace {

std::string Escaped(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    out.push_back('%');
    out.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

std::string Form(const Pairs& pairs) {
  std::string out;
  for (const auto& [name, value] : pairs) out.append(Escaped(name)).append("=").append(Escaped(value)).append("&");
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = FuzzBytes(data, size);
  std::string path, again;
  Pairs query, pairs;
  if (ParseTarget(text, &path, &query).ok()) {
    FUZZ_CHECK(path.starts_with('/') && path.find('\0') == std::string::npos);
    FUZZ_CHECK(ParseTarget("/" + Escaped(path.substr(1)) + "?" + Form(query), &again, &pairs).ok());
    FUZZ_CHECK(again == path && pairs == query);
  }
  HttpRequest request{
      .method = "POST", .headers = {{"content-type", "application/x-www-form-urlencoded; x"}}, .body = std::string(text)};
  Pairs form;
  const Status parsed = request.Parameters(&form);
  const Result<ApiParameters> asked = ParseApiParameters(request);
  FUZZ_CHECK(parsed.ok() || !asked.ok());
  if (asked.ok()) {
    FUZZ_CHECK(asked->range.start <= asked->range.end);
  } else {
    FUZZ_CHECK(asked.status().code() == StatusCode::kInvalidArgument && ApiError(asked.status()).status == 400);
  }
  if (const Result<Timestamp> time = ParseApiTime(text); !time.ok()) {
    FUZZ_CHECK(time.status().code() == StatusCode::kInvalidArgument);
  }
  return 0;
}
