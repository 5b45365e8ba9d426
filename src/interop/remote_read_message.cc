#include "interop/remote_read_message.h"

#include <cstring>
#include <optional>
#include <utility>

#include "base/checksum.h"
#include "base/coding.h"
#include "interop/proto_reader.h"
#include "interop/proto_writer.h"
#include "interop/remote_write_message.h"

namespace chronolith::interop {
namespace {

namespace read_request {
constexpr std::uint32_t kQueries = 1, kForms = 2;
}
namespace query {
constexpr std::uint32_t kStart = 1, kEnd = 2, kMatchers = 3;
}
namespace matcher {
constexpr std::uint32_t kType = 1, kName = 2, kValue = 3;
}
namespace read_response {
constexpr int kResults = 1;
}
namespace query_result {
constexpr int kSeries = 1;
}
namespace chunked_response {
constexpr int kSeries = 1, kQuery = 2;
}
namespace chunked_series {
constexpr int kChunks = 2;
}
namespace chunk {
constexpr int kMinTime = 1, kMaxTime = 2, kType = 3, kData = 4;
}

// Of a frame, in front of the labels: its length, its checksum, tag and length of the series.
constexpr std::size_t kFrameFrontMax = kMaxVarint64Bytes + sizeof(std::uint32_t) + 1 + kMaxVarint64Bytes;

Status Malformed(std::string_view what) { return InvalidArgument("malformed read request: " + std::string(what)); }

// Passed over as an unknown field, a matcher of another type would be missing: the query would find more than was asked for.
Status OtherwiseTyped(const ProtoField& field, std::string_view of) {
  return Malformed("field " + std::to_string(field.number) + " of " + std::string(of) + " is of another type");
}

Result<Matcher> DecodeMatcher(std::string_view message) {
  constexpr Matcher::Type kTypes[] = {Matcher::Type::kEqual, Matcher::Type::kNotEqual, Matcher::Type::kRegex,
                                      Matcher::Type::kNotRegex};
  Matcher made;
  ProtoReader in(message);
  for (ProtoField field; in.Next(&field);) {
    if (field.Is(matcher::kType, WireType::kVarint)) {
      if (field.value >= std::size(kTypes)) return Malformed("matcher of type " + std::to_string(field.value));
      made.type = kTypes[field.value];
    } else if (field.Is(matcher::kName, WireType::kLength)) {
      made.name = field.bytes;
    } else if (field.Is(matcher::kValue, WireType::kLength)) {
      made.value = field.bytes;
    } else if (field.number <= matcher::kValue) {
      return OtherwiseTyped(field, "a matcher");
    }
  }
  if (!in.ok()) return Malformed("a matcher");
  if (made.name.empty()) return Malformed("a matcher without a label name");
  return made;
}

Result<RemoteReadQuery> DecodeQuery(std::string_view message) {
  RemoteReadQuery made{.range = {0, 0}, .matchers = {}};
  Timestamp last = 0;
  ProtoReader in(message);
  for (ProtoField field; in.Next(&field);) {
    if (field.Is(query::kStart, WireType::kVarint)) {
      made.range.start = static_cast<Timestamp>(field.value);
    } else if (field.Is(query::kEnd, WireType::kVarint)) {
      last = static_cast<Timestamp>(field.value);
    } else if (field.Is(query::kMatchers, WireType::kLength)) {
      if (made.matchers.size() == kRemoteReadMatchersMax) {
        return InvalidArgument("a query has more than " + std::to_string(kRemoteReadMatchersMax) + " matchers");
      }
      Result<Matcher> one = DecodeMatcher(field.bytes);
      if (!one.ok()) return one.status();
      made.matchers.push_back(std::move(*one));
    } else if (field.number <= query::kMatchers) {
      return OtherwiseTyped(field, "a query");
    }
  }
  if (!in.ok()) return Malformed("a query");
  made.range.end = last == kMaxTimestamp ? last : last + 1;
  return made;
}

class Forms {
 public:
  void Add(std::uint64_t number) {
    any_ = true;
    if (!known_ && number <= static_cast<std::uint64_t>(RemoteReadForm::kStreamedChunks)) {
      known_ = static_cast<RemoteReadForm>(number);
    }
  }
  // Numbers of a packed field.
  bool AddPacked(std::string_view bytes) {
    const char* at = bytes.data();
    const char* const end = at + bytes.size();
    while (at != end) {
      std::uint64_t number = 0;
      at = DecodeVarint(at, end, &number);
      if (at == nullptr) return false;
      Add(number);
    }
    return true;
  }
  Result<RemoteReadForm> Choose() const {
    if (known_) return *known_;
    if (any_) return InvalidArgument("none of the accepted response types is known: SAMPLES and STREAMED_XOR_CHUNKS are");
    return RemoteReadForm::kSamples;
  }

 private:
  bool any_ = false;
  std::optional<RemoteReadForm> known_;
};

}  // namespace

Result<RemoteReadRequest> DecodeRemoteReadRequest(std::string_view message) {
  RemoteReadRequest request;
  Forms forms;
  ProtoReader in(message);
  for (ProtoField field; in.Next(&field);) {
    if (field.Is(read_request::kQueries, WireType::kLength)) {
      if (request.queries.size() == kRemoteReadQueriesMax) {
        return InvalidArgument("a read request has more than " + std::to_string(kRemoteReadQueriesMax) + " queries");
      }
      Result<RemoteReadQuery> one = DecodeQuery(field.bytes);
      if (!one.ok()) return one.status();
      request.queries.push_back(std::move(*one));
    } else if (field.Is(read_request::kForms, WireType::kVarint)) {
      forms.Add(field.value);
    } else if (field.Is(read_request::kForms, WireType::kLength)) {
      if (!forms.AddPacked(field.bytes)) return Malformed("the accepted response types");
    } else if (field.number <= read_request::kForms) {
      return OtherwiseTyped(field, "the request");
    }
  }
  if (!in.ok()) return Malformed("it is cut off, or no Protocol Buffers message");
  const Result<RemoteReadForm> form = forms.Choose();
  if (!form.ok()) return form.status();
  request.form = *form;
  return request;
}

std::size_t BeginRemoteReadResult(std::string* out) { return ProtoWriter(out).Begin(read_response::kResults); }

std::size_t BeginRemoteReadSeries(std::string* out) { return ProtoWriter(out).Begin(query_result::kSeries); }

void EndRemoteReadPart(std::size_t place, std::string* out) { ProtoWriter(out).End(place); }

void RemoteReadFrame::Begin(const Labels& labels) {
  bytes_.resize(kFrameFrontMax);
  data_bytes_ = 0;
  AppendRemoteWriteLabels(labels, &bytes_);
}

void RemoteReadFrame::Add(const PrometheusChunk& c) {
  data_bytes_ += c.data.size();
  ProtoWriter to(&bytes_);
  to.NestedOf(chunked_series::kChunks, ProtoWriter::FieldBytes(chunk::kMinTime, static_cast<std::uint64_t>(c.min_time)) +
                                           ProtoWriter::FieldBytes(chunk::kMaxTime, static_cast<std::uint64_t>(c.max_time)) +
                                           ProtoWriter::FieldBytes(chunk::kType, std::uint64_t{c.encoding}) +
                                           ProtoWriter::FieldBytes(chunk::kData, c.data));
  to.Int(chunk::kMinTime, c.min_time);
  to.Int(chunk::kMaxTime, c.max_time);
  to.Uint(chunk::kType, c.encoding);
  to.Bytes(chunk::kData, c.data);
}

std::string_view RemoteReadFrame::End(std::size_t query) {
  std::string series;  // its tag and length
  ProtoWriter(&series).NestedOf(chunked_response::kSeries, bytes_.size() - kFrameFrontMax);
  ProtoWriter(&bytes_).Uint(chunked_response::kQuery, query);
  const std::size_t message = kFrameFrontMax - series.size();
  bytes_.replace(message, series.size(), series);
  const std::string_view covered = std::string_view(bytes_).substr(message);
  char length[kMaxVarint64Bytes];
  const auto length_bytes = static_cast<std::size_t>(EncodeVarint(length, covered.size()) - length);
  char* const crc = bytes_.data() + message - sizeof(std::uint32_t);
  StoreBigEndian(crc, Crc32c(covered));
  std::memcpy(crc - length_bytes, length, length_bytes);
  return {crc - length_bytes, length_bytes + sizeof(std::uint32_t) + covered.size()};
}

}  // namespace chronolith::interop
