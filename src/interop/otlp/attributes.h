// Attributes of OpenTelemetry as labels of Prometheus.
#ifndef CHRONOLITH_INTEROP_OTLP_ATTRIBUTES_H_
#define CHRONOLITH_INTEROP_OTLP_ATTRIBUTES_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/status.h"
#include "interop/otlp/metrics.pb.h"

namespace chronolith::interop::otlp {

namespace pb = ::opentelemetry::proto::metrics::v1;

using Pairs = std::vector<std::pair<std::string, std::string>>;
using Attributes = google::protobuf::RepeatedPtrField<pb::KeyValue>;

// Strings as they are, numbers in decimal, bytes in base64, lists and maps as JSON: what OpenTelemetry says of values that are not
// strings. "" for no value.
std::string AnyValueText(const pb::AnyValue& value);

// Appends the labels of `attributes`, each name once: where several keys become one name, their values are joined by ';' in the
// order of the keys. Empty values are left out, as a missing label is the same. kInvalidArgument: an empty key.
Status AppendLabels(const Attributes& attributes, Pairs* labels);

// The labels of both; where both have a name, `over` wins.
Labels Merge(const Pairs& labels, const Pairs& over);

// Lower-case hexadecimal, as trace and span ids are written.
std::string HexText(std::string_view bytes);

}  // namespace chronolith::interop::otlp

#endif  // CHRONOLITH_INTEROP_OTLP_ATTRIBUTES_H_
