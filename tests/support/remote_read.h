// Remote read from the client's side: requests, and what a stream of chunks says.
#ifndef CHRONOLITH_TESTS_SUPPORT_REMOTE_READ_H_
#define CHRONOLITH_TESTS_SUPPORT_REMOTE_READ_H_

#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "chronolith/labels.h"
#include "chronolith/types.h"
#include "chunk/xor_chunk.h"
#include "interop/prometheus_histogram.h"
#include "interop/proto_reader.h"
#include "interop/proto_writer.h"

namespace chronolith::testing {

using interop::ProtoField;
using interop::ProtoReader;
using interop::ProtoWriter;
using interop::WireType;

// What a series' answer says, in words that can be compared: one for each sample.
using Said = std::map<std::string, std::vector<std::string>>;

inline std::string Words(Timestamp t, double v) {
  return std::to_string(t) + " " + std::to_string(std::bit_cast<std::uint64_t>(v));
}
inline std::string Words(const HistogramSample& s) {
  return std::to_string(s.timestamp) + std::visit(
                                           [](const auto& h) {
                                             std::string words = " schema " + std::to_string(h.schema) + " count " +
                                                                 std::to_string(h.count) + " sum " + std::to_string(h.sum);
                                             for (const BucketSpan& span : h.positive_spans) {
                                               words += " span " + std::to_string(span.offset) + "+" + std::to_string(span.length);
                                             }
                                             for (const double bound : h.custom_values) words += " bound " + std::to_string(bound);
                                             return words;
                                           },
                                           s.histogram);
}

inline std::string MatcherBytes(int type, std::string_view name, std::string_view value) {
  std::string bytes;
  ProtoWriter to(&bytes);
  to.Uint(1, static_cast<std::uint64_t>(type));
  to.Bytes(2, name);
  to.Bytes(3, value);
  return bytes;
}
inline std::string QueryBytes(Timestamp first, Timestamp last, const std::vector<std::string>& matchers) {
  std::string bytes;
  ProtoWriter to(&bytes);
  to.Int(1, first);
  to.Int(2, last);
  for (const std::string& m : matchers) to.BytesAlways(3, m);
  return bytes;
}
inline std::string ReadRequest(const std::vector<std::string>& queries, const std::vector<std::uint32_t>& forms = {}) {
  std::string bytes;
  ProtoWriter to(&bytes);
  for (const std::string& q : queries) to.BytesAlways(1, q);
  to.PackedUint(2, forms);
  return bytes;
}

// Of one ChunkedReadResponse.
inline void DecodeFrame(std::string_view message, std::uint64_t* query, Said* said) {
  *query = 0;
  std::string name;
  ProtoReader in(message);
  for (ProtoField field; in.Next(&field);) {
    if (field.Is(2, WireType::kVarint)) *query = field.value;
    if (!field.Is(1, WireType::kLength)) continue;
    ProtoReader series(field.bytes);
    std::vector<std::pair<std::string, std::string>> labels;
    for (ProtoField part; series.Next(&part);) {
      ProtoReader fields(part.bytes);
      if (part.number == 1) {
        labels.emplace_back();
        for (ProtoField f; fields.Next(&f);) (f.number == 1 ? labels.back().first : labels.back().second) = f.bytes;
        continue;
      }
      std::uint64_t type = 0;
      std::string_view data;
      Timestamp min = 0, max = 0;
      for (ProtoField f; fields.Next(&f);) {
        if (f.number == 1) min = static_cast<Timestamp>(f.value);
        if (f.number == 2) max = static_cast<Timestamp>(f.value);
        if (f.number == 3) type = f.value;
        if (f.number == 4) data = f.bytes;
      }
      std::vector<std::string>& words = (*said)[Labels(labels).ToString()];
      Timestamp first = kMaxTimestamp, last = kMinTimestamp;
      const auto saw = [&](Timestamp t) {
        first = std::min(first, t);
        last = std::max(last, t);
      };
      if (type == 1) {
        XorIterator samples(data);
        while (samples.Next()) {
          saw(samples.sample().timestamp);
          words.push_back(Words(samples.sample().timestamp, samples.sample().value));
        }
        EXPECT_TRUE(samples.ok());
      } else {
        EXPECT_TRUE(DecodePrometheusHistograms(static_cast<unsigned>(type), data, [&](HistogramSample s) {
                      saw(s.timestamp);
                      words.push_back(Words(s));
                      return Status::Ok();
                    }).ok());
      }
      EXPECT_EQ(std::pair(first, last), std::pair(min, max));
    }
    EXPECT_TRUE(series.ok());
  }
  EXPECT_TRUE(in.ok());
}

// Of a whole stream, a map for each query.
inline std::vector<Said> DecodeStream(std::string_view bytes, std::size_t* frames) {
  std::vector<Said> said;
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  for (*frames = 0; at != end; ++*frames) {
    std::uint64_t length = 0;
    at = DecodeVarint(at, end, &length);
    if (at == nullptr || static_cast<std::uint64_t>(end - at) < length + 4) {
      ADD_FAILURE() << "frame " << *frames << " is cut off";
      return said;
    }
    std::uint32_t crc = 0;
    for (int i = 0; i < 4; ++i) crc = crc << 8 | static_cast<unsigned char>(*at++);
    const std::string_view message(at, length);
    EXPECT_EQ(crc, Crc32c(message));
    EXPECT_LE(length, 1U << 20);
    Said part;
    std::uint64_t query = 0;
    DecodeFrame(message, &query, &part);
    EXPECT_EQ(part.size(), 1U) << "a frame is of one series";
    if (said.size() <= query) said.resize(query + 1);
    for (auto& [name, words] : part) said[query][name].insert(said[query][name].end(), words.begin(), words.end());
    at += length;
  }
  return said;
}

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_REMOTE_READ_H_
