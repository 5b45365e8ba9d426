#include "interop/prometheus_meta.h"

#include <charconv>
#include <optional>

#include "interop/json_read.h"

namespace chronolith {
namespace {

using interop::JsonText;
namespace ondemand = simdjson::ondemand;

template <typename T>
Status Number(JsonText* json, ondemand::value value, const char* what, T* number) {
  std::string text;
  if (Status s = json->Scalar(value, what, &text); !s.ok()) return s;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  return error == std::errc() && end == text.data() + text.size() ? Status::Ok() : json->Error(std::string("expected ") + what);
}

Status ReadCompaction(JsonText* json, ondemand::value value, PrometheusBlockMeta* meta) {
  return json->ReadObject(value, [&](std::string_view name, ondemand::value member) {
    if (name != "sources" && name != "hints") return Status::Ok();
    const bool sources = name == "sources";
    return json->ReadArray(member, [&](ondemand::value element) {
      std::string text;
      Status s = json->String(element, "a string", &text);
      if (sources) meta->sources.push_back(text);
      meta->out_of_order = meta->out_of_order || (!sources && text == "from-out-of-order");
      return s;
    });
  });
}

}  // namespace

Result<PrometheusBlockMeta> ParsePrometheusMeta(std::string_view text) {
  JsonText json(text);
  PrometheusBlockMeta meta;
  std::optional<Timestamp> min_time, max_time;
  std::int64_t version = 0;
  const Status s = json.ReadAll([&](std::string_view name, ondemand::value value) {
    if (name == "ulid") return json.String(value, "a ULID", &meta.ulid);
    if (name == "minTime") return Number(&json, value, "a time", &min_time.emplace());
    if (name == "maxTime") return Number(&json, value, "a time", &max_time.emplace());
    if (name == "version") return Number(&json, value, "a version", &version);
    if (name == "compaction") return ReadCompaction(&json, value, &meta);
    if (name != "stats") return Status::Ok();
    return json.ReadObject(value, [&](std::string_view field, ondemand::value number) {
      return field == "numSamples" ? Number(&json, number, "a number of samples", &meta.samples) : Status::Ok();
    });
  });
  if (!s.ok()) return DataLoss(s.message());
  if (version != 1) return FailedPrecondition("version " + std::to_string(version) + "; only 1 is read");
  if (!min_time || !max_time || meta.ulid.empty()) return DataLoss("ulid, minTime or maxTime is missing");
  meta.min_time = *min_time;
  meta.max_time = *max_time;
  return meta;
}

bool IsUlid(std::string_view name) {
  return name.size() == 26 && name.find_first_not_of("0123456789ABCDEFGHJKMNPQRSTVWXYZ") == std::string_view::npos;
}

}  // namespace chronolith
