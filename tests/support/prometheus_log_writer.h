// A write-ahead log as Prometheus 2.42 writes it, for tests of its readers. Written from the description in Prometheus' sources,
// not with the code under test.
#ifndef CHRONOLITH_TESTS_SUPPORT_PROMETHEUS_LOG_WRITER_H_
#define CHRONOLITH_TESTS_SUPPORT_PROMETHEUS_LOG_WRITER_H_

#include <snappy.h>

#include <algorithm>
#include <bit>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "chronolith/labels.h"
#include "chronolith/types.h"

namespace chronolith::testing {

// The bytes of a record, field by field.
struct RecordBytes {
  std::string bytes;
  explicit RecordBytes(int type) : bytes(1, static_cast<char>(type)) {}
  RecordBytes& Byte(int b) {
    bytes.push_back(static_cast<char>(b));
    return *this;
  }
  RecordBytes& Be64(std::uint64_t v) {
    for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(v >> shift));
    return *this;
  }
  RecordBytes& Float(double v) { return Be64(std::bit_cast<std::uint64_t>(v)); }
  RecordBytes& Uvarint(std::uint64_t v) {
    for (; v >= 128; v >>= 7) bytes.push_back(static_cast<char>(v | 128));
    bytes.push_back(static_cast<char>(v));
    return *this;
  }
  RecordBytes& Varint(std::int64_t v) { return Uvarint(static_cast<std::uint64_t>(v) << 1 ^ static_cast<std::uint64_t>(v >> 63)); }
  RecordBytes& Text(std::string_view s) {
    Uvarint(s.size());
    bytes += s;
    return *this;
  }
  RecordBytes& LabelSet(const Labels& labels) {
    Uvarint(labels.size());
    for (const Label& l : labels) Text(l.name).Text(l.value);
    return *this;
  }
};

inline std::string SeriesRecord(const std::vector<std::pair<std::uint64_t, Labels>>& series) {
  RecordBytes record(1);
  for (const auto& [ref, labels] : series) record.Be64(ref).LabelSet(labels);
  return record.bytes;
}
struct LoggedSample {
  std::uint64_t ref;
  Timestamp t;
  double v;
};
inline std::string SamplesRecord(const std::vector<LoggedSample>& samples) {
  RecordBytes record(2);
  const LoggedSample& base = samples.front();
  record.Be64(base.ref).Be64(static_cast<std::uint64_t>(base.t));
  for (const LoggedSample& s : samples) {
    record.Varint(static_cast<std::int64_t>(s.ref - base.ref)).Varint(s.t - base.t).Float(s.v);
  }
  return record.bytes;
}
// Last time included.
inline std::string TombstoneRecord(std::uint64_t ref, Timestamp first, Timestamp last) {
  return RecordBytes(3).Be64(ref).Varint(first).Varint(last).bytes;
}
inline std::string ExemplarRecord(std::uint64_t ref, Timestamp t, double v, const Labels& labels) {
  return RecordBytes(4).Be64(ref).Be64(static_cast<std::uint64_t>(t)).Varint(0).Varint(0).Float(v).LabelSet(labels).bytes;
}
inline std::string MetadataRecord(std::uint64_t ref, int type, std::string_view unit, std::string_view help) {
  return RecordBytes(6).Uvarint(ref).Byte(type).Uvarint(2).Text("UNIT").Text(unit).Text("HELP").Text(help).bytes;
}

// A segment's bytes.
class SegmentBytes {
 public:
  // Cuts the record into fragments at the ends of pages.
  SegmentBytes& Add(std::string_view record, bool compressed = false) {
    std::string squeezed;
    if (compressed) {
      snappy::Compress(record.data(), record.size(), &squeezed);
      record = squeezed;
    }
    for (bool first = true; first || !record.empty(); first = false) {
      if (Left() < 7) bytes.append(Left(), '\0');
      const std::size_t n = std::min(record.size(), Left() - 7);
      const bool last = n == record.size();
      Fragment((first ? (last ? 1 : 2) : (last ? 4 : 3)) | (compressed ? 8 : 0), record.substr(0, n));
      record.remove_prefix(n);
    }
    return *this;
  }
  SegmentBytes& Fragment(int type, std::string_view data) {
    bytes.push_back(static_cast<char>(type));
    bytes.push_back(static_cast<char>(data.size() >> 8));
    bytes.push_back(static_cast<char>(data.size()));
    const std::uint32_t crc = Crc32c(data);
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(crc >> shift));
    bytes += data;
    return *this;
  }
  // As a new page begins.
  SegmentBytes& EndPage() {
    bytes.append(Left(), '\0');
    return *this;
  }

  std::string bytes;

 private:
  std::size_t Left() const { return 32768 - bytes.size() % 32768; }
};

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_SUPPORT_PROMETHEUS_LOG_WRITER_H_
