#include "format/wal_record.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "tests/contract/seed.h"
#include "tests/format/hex.h"

namespace chronolith {
namespace {

constexpr Ordinal kLastOrdinal = 0xffffffffU;
constexpr double kTwo53 = 9007199254740992.0;

double Bits(std::uint64_t bits) { return std::bit_cast<double>(bits); }

// Decodes `bytes` as one record; every check of the log reader's.
Status DecodeAny(const std::string& bytes, std::string* seen = nullptr) {
  const std::vector<char> exact(bytes.begin(), bytes.end());
  std::string_view payload(exact.data(), exact.size());
  RecordView record;
  if (Status status = NextRecord(&payload, &record); !status.ok()) return status;
  if (seen != nullptr) seen->assign(record.body);
  EpochRecord epoch;
  std::vector<SeriesRecordEntry> series;
  std::vector<SampleEntry> samples;
  std::vector<ItemEntry> items;
  DeleteRecord del;
  Timestamp floor;
  std::vector<Ordinal> ordinals;
  switch (record.type) {
    case RecordType::kEpoch:
      return DecodeEpoch(record.body, &epoch);
    case RecordType::kSeries:
      return DecodeSeries(record.body, &series);
    case RecordType::kSamples:
      return DecodeSamples(record.body, &samples);
    case RecordType::kItems:
      return DecodeItems(record.body, &items);
    case RecordType::kDelete:
      return DecodeDelete(record.body, &del);
    case RecordType::kFloor:
      return DecodeFloor(record.body, &floor);
    case RecordType::kRemoveSeries:
      return DecodeRemoveSeries(record.body, &ordinals);
  }
  return InvalidArgument("a type that NextRecord should have refused");
}

// A record around any type, version and body, its length and checksum right.
std::string Sealed(std::uint8_t type, std::uint8_t version, std::string_view body) {
  std::string covered{static_cast<char>(type), static_cast<char>(version)};
  covered.append(body);
  std::string bytes(2, '\0');
  StoreFixed(bytes.data(), static_cast<std::uint16_t>(covered.size() + 4));
  PutFixed32(&bytes, Crc32c(covered));
  return bytes + covered;
}

std::vector<SampleEntry> Entries(const std::vector<std::tuple<Ordinal, Timestamp, double>>& rows) {
  std::vector<SampleEntry> entries;
  for (const auto& [ordinal, timestamp, value] : rows) entries.push_back({ordinal, 0, timestamp, value});
  return entries;
}

void ExpectRoundTrip(std::span<const SampleEntry> samples) {
  std::string bytes = "before";
  AppendSamplesRecord(samples, &bytes);
  ASSERT_EQ(bytes.substr(0, 6), "before") << "what stood before stays";
  bytes.erase(0, 6);
  ASSERT_LE(bytes.size(), kSamplesHeaderBytesMax + samples.size() * kSampleBytesMax);
  std::string_view payload = bytes;
  RecordView record;
  const Status next = NextRecord(&payload, &record);
  ASSERT_TRUE(next.ok()) << next.ToString();
  ASSERT_EQ(record.type, RecordType::kSamples);
  ASSERT_TRUE(payload.empty());
  std::vector<SampleEntry> again;
  const Status status = DecodeSamples(record.body, &again);
  ASSERT_TRUE(status.ok()) << status.ToString();
  ASSERT_EQ(again.size(), samples.size());
  for (std::size_t i = 0; i < samples.size(); ++i) {
    ASSERT_EQ(again[i].ordinal, samples[i].ordinal) << i;
    ASSERT_EQ(again[i].timestamp, samples[i].timestamp) << i;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(again[i].value), std::bit_cast<std::uint64_t>(samples[i].value)) << i;
  }
}

std::string OfSamples(const std::vector<std::tuple<Ordinal, Timestamp, double>>& rows) {
  std::string bytes;
  AppendSamplesRecord(Entries(rows), &bytes);
  return bytes;
}

// One of each type, and of each coding of samples.
std::vector<std::string> Examples() {
  std::vector<std::string> examples;
  std::string bytes;
  AppendEpochRecord(7, 300, &bytes);
  examples.push_back(std::exchange(bytes, {}));
  const std::vector<std::string_view> labels = {"one label set", "another", ""};
  AppendSeriesRecords(5, labels, &bytes);
  examples.push_back(std::exchange(bytes, {}));
  examples.push_back(OfSamples({{3, 1000, 0.5}}));
  examples.push_back(OfSamples({{3, 1000, 1}, {4, 1000, 2}, {5, 1000, 3}}));
  examples.push_back(OfSamples({{3, 1000, 1.5}, {9, 1015, 1.5}, {2, 999, 1.5}}));
  examples.push_back(OfSamples({{3, 1000, 1.5}, {9, 1015, 2.25}}));
  ItemsRecordBuilder items(&bytes);
  items.Add(ItemType::kHistogram, 1, "histogram");
  items.Add(ItemType::kExemplar, 300, "exemplar");
  items.Add(ItemType::kMetadata, kLastOrdinal, "");
  EXPECT_EQ(items.Finish(), 1U);
  examples.push_back(std::exchange(bytes, {}));
  AppendDeleteRecord({-5, 1000}, "bitmap", &bytes);
  examples.push_back(std::exchange(bytes, {}));
  AppendFloorRecord(-1, &bytes);
  examples.push_back(std::exchange(bytes, {}));
  const std::vector<Ordinal> ordinals = {1, 300, kLastOrdinal};
  AppendRemoveSeriesRecord(ordinals, &bytes);
  examples.push_back(std::exchange(bytes, {}));
  return examples;
}

// ---- Golden bytes: a change here is a change of format ----

TEST(WalRecord, Version1HasTheseBytes) {
  const char* const golden[] = {
      "0900201c3b62010107ac02",                                                          // epoch 7 after LSN 300
      "1f002d5eebb7020105030d6f6e65206c6162656c2073657407616e6f7468657200",              // series 5, 6, 7
      "13009f32bdd00301010303d00f000000000000e03f",                                      // one sample
      "0e009c0fa1e60301030b03d00f020202",                                                // whole numbers, consecutive, same time
      "170055740d890301030403d00f0c0d1e3d000000000000f83f",                              // same value
      "1d00bb25d7150301020003d00f0c1e000000000000f83f0000000000000240",                  // raw values
      "250082e5b9c40401010109686973746f6772616d02ac02086578656d706c617203ffffffff0f00",  // items
      "0f004e3264bd050109d00f6269746d6170",                                              // delete
      "0700194e1c50060101",                                                              // floor
      "0f00e1409fc707010301ac02ffffffff0f",                                              // removed series
  };
  const std::vector<std::string> examples = Examples();
  ASSERT_EQ(examples.size(), std::size(golden));
  for (std::size_t i = 0; i < examples.size(); ++i) EXPECT_EQ(Hex(examples[i]), golden[i]) << i;
}

TEST(WalRecord, KeyIsThePrefixAndTheLsnInByteOrder) {
  EXPECT_EQ(Hex(WalKey(0x0102030405060708ULL)), "720102030405060708");
  EXPECT_LT(WalKey(255), WalKey(256));
  EXPECT_LT(WalKey(0), WalKey(std::numeric_limits<Lsn>::max()));
  EXPECT_GT(std::string(kWalStateKey), WalKey(std::numeric_limits<Lsn>::max()));
}

// ---- Round trips ----

TEST(WalRecord, SamplesComeBackBitForBit) {
  const std::vector<double> values = {0.0,
                                      -0.0,
                                      1,
                                      -1,
                                      0.1,
                                      kTwo53 - 1,
                                      kTwo53,
                                      kTwo53 + 2,
                                      -kTwo53 + 1,
                                      -kTwo53,
                                      -kTwo53 - 2,
                                      9.2e18,
                                      -9.3e18,
                                      1e300,
                                      std::numeric_limits<double>::infinity(),
                                      -std::numeric_limits<double>::infinity(),
                                      std::numeric_limits<double>::denorm_min(),
                                      std::numeric_limits<double>::max(),
                                      Bits(kStaleNaNBits),
                                      Bits(0x7ff8000000000001ULL),
                                      Bits(0xfff8000000000000ULL),
                                      Bits(0x7ff4dead0000beefULL)};
  for (const double a : values) {
    ExpectRoundTrip(Entries({{0, 0, a}}));
    for (const double b : values) {
      ExpectRoundTrip(Entries({{0, 0, a}, {1, 0, b}}));
      ExpectRoundTrip(Entries({{0, 0, a}, {1, 0, a}, {2, 0, b}, {3, 0, a}}));
    }
  }
}

TEST(WalRecord, SamplesTakeEveryTimestampAndOrdinal) {
  const std::vector<Timestamp> times = {kMinTimestamp,     kMinTimestamp + 1, -1,           0, 1,
                                        1'700'000'000'000, kMaxTimestamp - 1, kMaxTimestamp};
  const std::vector<Ordinal> ordinals = {0, 1, 2, 0x7fffffff, 0x80000000, kLastOrdinal - 1, kLastOrdinal};
  for (const Timestamp a : times) {
    for (const Timestamp b : times) {
      for (const Timestamp c : times) ExpectRoundTrip(Entries({{1, a, 1}, {2, b, 2}, {3, c, 3}, {4, a, 4}}));
    }
  }
  for (const Ordinal a : ordinals) {
    for (const Ordinal b : ordinals) ExpectRoundTrip(Entries({{a, 5, 1}, {b, 5, 1}, {a, 5, 1}}));
  }
}

TEST(WalRecord, ConsecutiveOrdinalsDoNotWrapAround) {
  // 2^32 - 1 and 0 follow each other only modulo 2^32.
  ExpectRoundTrip(Entries({{kLastOrdinal, 1, 1}, {0, 1, 1}}));
}

TEST(WalRecord, RandomSamplesComeBack) {
  std::mt19937_64 random(TestSeed());
  for (int round = 0; round < 3000; ++round) {
    const std::uint64_t shape = random();
    const std::size_t n = 1 + (round % 50 == 0 ? random() % kSamplesPerRecordMax : random() % 20);
    std::vector<SampleEntry> samples(n);
    auto ordinal = static_cast<Ordinal>(random() >> (random() % 64));
    auto time = static_cast<std::uint64_t>(random()) >> (random() % 64);
    for (SampleEntry& s : samples) {
      ordinal += (shape & 1) != 0 ? 1 : static_cast<Ordinal>(random() >> (random() % 64));
      time += (shape & 2) != 0 ? 0 : (shape & 4) != 0 ? 15000 + random() % 5 : random() >> (random() % 64);
      s.ordinal = ordinal;
      s.timestamp = static_cast<Timestamp>(time);
      switch (shape >> 3 & 3) {
        case 0:
          s.value = 42.5;
          break;
        case 1:
          s.value = static_cast<double>(static_cast<std::int64_t>(random()) >> (10 + random() % 54));
          break;
        case 2:
          s.value = Bits(random());
          break;
        default:
          s.value = static_cast<double>(random() % 1000) / ((shape & 32) != 0 ? 1 : 7);
          break;
      }
    }
    ExpectRoundTrip(samples);
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
}

TEST(WalRecord, TheLargestRecordOfSamplesStaysWithinItsBound) {
  std::vector<SampleEntry> samples;
  for (std::size_t i = 0; i < kSamplesPerRecordMax; ++i) {
    samples.push_back({i % 2 == 0 ? 0 : kLastOrdinal, 0, i % 3 == 0 ? kMinTimestamp : kMaxTimestamp, 0.1 * static_cast<double>(i)});
  }
  std::string bytes;
  AppendSamplesRecord(samples, &bytes);
  EXPECT_LE(bytes.size(), kRecordBytesMax);
  ExpectRoundTrip(samples);
}

TEST(WalRecord, SeriesAreCutIntoRecordsOfBoundedSize) {
  std::mt19937_64 random(TestSeed());
  std::vector<std::string> sets;
  for (int i = 0; i < 300; ++i) sets.push_back(std::string(i % 50 == 7 ? 40000 : random() % 900, static_cast<char>('a' + i % 26)));
  const std::vector<std::string_view> labels(sets.begin(), sets.end());
  std::string bytes;
  const Ordinal first = kLastOrdinal - 299;  // the last one is the last there is
  const std::size_t records = AppendSeriesRecords(first, labels, &bytes);
  EXPECT_GT(records, 1U);
  std::string_view payload = bytes;
  std::size_t at = 0;
  for (std::size_t r = 0; r < records; ++r) {
    const std::size_t before = payload.size();
    RecordView record;
    ASSERT_TRUE(NextRecord(&payload, &record).ok());
    EXPECT_LE(before - payload.size(), kRecordBytesMax);
    ASSERT_EQ(record.type, RecordType::kSeries);
    std::vector<SeriesRecordEntry> entries;
    ASSERT_TRUE(DecodeSeries(record.body, &entries).ok());
    for (const SeriesRecordEntry& entry : entries) {
      ASSERT_LT(at, sets.size());
      EXPECT_EQ(entry.ordinal, first + at);
      EXPECT_EQ(entry.labels, sets[at++]);
    }
  }
  EXPECT_EQ(at, sets.size());
  EXPECT_TRUE(payload.empty());
  EXPECT_EQ(AppendSeriesRecords(0, {}, &bytes), 0U);
}

TEST(WalRecord, TheLargestLabelSetFitsARecord) {
  const std::string set(kLabelSetBytesMax, 'x');
  const std::vector<std::string_view> labels = {set, set};
  std::string bytes;
  ASSERT_EQ(AppendSeriesRecords(kLastOrdinal - 1, labels, &bytes), 2U);
  EXPECT_LE(bytes.size(), 2 * kRecordBytesMax);
  std::string_view payload = bytes;
  for (int i = 0; i < 2; ++i) {
    RecordView record;
    ASSERT_TRUE(NextRecord(&payload, &record).ok());
    std::vector<SeriesRecordEntry> entries;
    ASSERT_TRUE(DecodeSeries(record.body, &entries).ok());
    ASSERT_EQ(entries.size(), 1U);
    EXPECT_EQ(entries[0].labels, set);
  }
}

TEST(WalRecord, ItemsAreCutIntoRecordsOfBoundedSize) {
  std::string bytes;
  ItemsRecordBuilder builder(&bytes);
  std::vector<std::string> contents;
  for (int i = 0; i < 40; ++i) {
    contents.push_back(std::string(i == 20 ? kRecordBytesMax - 32 : static_cast<std::size_t>(i) * 200, static_cast<char>(i)));
    builder.Add(static_cast<ItemType>(1 + i % 3), static_cast<Ordinal>(i), contents.back());
  }
  const std::size_t records = builder.Finish();
  std::string_view payload = bytes;
  std::size_t at = 0;
  std::size_t seen = 0;
  for (; !payload.empty(); ++seen) {
    const std::size_t before = payload.size();
    RecordView record;
    ASSERT_TRUE(NextRecord(&payload, &record).ok());
    EXPECT_LE(before - payload.size(), kRecordBytesMax);
    std::vector<ItemEntry> items;
    ASSERT_TRUE(DecodeItems(record.body, &items).ok());
    for (const ItemEntry& item : items) {
      EXPECT_EQ(item.ordinal, at);
      EXPECT_EQ(item.type, static_cast<ItemType>(1 + at % 3));
      EXPECT_EQ(item.bytes, contents[at++]);
    }
  }
  EXPECT_EQ(seen, records);
  EXPECT_EQ(at, contents.size());
  std::string none;
  EXPECT_EQ(ItemsRecordBuilder(&none).Finish(), 0U);
  EXPECT_TRUE(none.empty());
}

TEST(WalRecord, TheOtherTypesComeBack) {
  std::string bytes;
  AppendEpochRecord(std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<Lsn>::max(), &bytes);
  AppendDeleteRecord({kMinTimestamp, kMaxTimestamp}, std::string("\0\xff", 2), &bytes);
  AppendDeleteRecord({0, 0}, "", &bytes);
  AppendFloorRecord(kMinTimestamp, &bytes);
  AppendFloorRecord(kMaxTimestamp, &bytes);
  const std::vector<Ordinal> removed = {kLastOrdinal, 0, 5};
  AppendRemoveSeriesRecord(removed, &bytes);
  AppendRemoveSeriesRecord({}, &bytes);

  std::string_view payload = bytes;
  RecordView record;
  const auto next = [&](RecordType type) {
    const Status status = NextRecord(&payload, &record);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(record.type, type);
  };
  next(RecordType::kEpoch);
  EpochRecord epoch;
  ASSERT_TRUE(DecodeEpoch(record.body, &epoch).ok());
  EXPECT_EQ(epoch.epoch, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(epoch.previous_end, std::numeric_limits<Lsn>::max());
  next(RecordType::kDelete);
  DeleteRecord del;
  ASSERT_TRUE(DecodeDelete(record.body, &del).ok());
  EXPECT_EQ(del.range, (TimeRange{kMinTimestamp, kMaxTimestamp}));
  EXPECT_EQ(del.bitmap, std::string_view("\0\xff", 2));
  next(RecordType::kDelete);
  ASSERT_TRUE(DecodeDelete(record.body, &del).ok());
  EXPECT_EQ(del.bitmap, "");
  Timestamp floor = 0;
  next(RecordType::kFloor);
  ASSERT_TRUE(DecodeFloor(record.body, &floor).ok());
  EXPECT_EQ(floor, kMinTimestamp);
  next(RecordType::kFloor);
  ASSERT_TRUE(DecodeFloor(record.body, &floor).ok());
  EXPECT_EQ(floor, kMaxTimestamp);
  std::vector<Ordinal> ordinals = {7};
  next(RecordType::kRemoveSeries);
  ASSERT_TRUE(DecodeRemoveSeries(record.body, &ordinals).ok());
  EXPECT_EQ(ordinals, removed);
  next(RecordType::kRemoveSeries);
  ASSERT_TRUE(DecodeRemoveSeries(record.body, &ordinals).ok());
  EXPECT_TRUE(ordinals.empty());
  EXPECT_TRUE(payload.empty());
}

// ---- Damage ----

TEST(WalRecord, EveryFlippedBitAndEveryCutIsAnError) {
  for (const std::string& bytes : Examples()) {
    ASSERT_TRUE(DecodeAny(bytes).ok());
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      std::string damaged = bytes;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      const Status status = DecodeAny(damaged);
      ASSERT_EQ(status.code(), StatusCode::kDataLoss) << Hex(bytes) << " bit " << bit << ": " << status.ToString();
    }
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
      ASSERT_EQ(DecodeAny(bytes.substr(0, cut)).code(), StatusCode::kDataLoss) << Hex(bytes) << " cut at " << cut;
    }
  }
}

TEST(WalRecord, NewerTypesAndVersionsAreNotTakenForDamage) {
  const std::string body("\x07\x0a", 2);
  ASSERT_TRUE(DecodeAny(Sealed(1, 1, body)).ok());
  for (const auto& [type, version] : std::vector<std::pair<int, int>>{{1, 2}, {1, 0}, {1, 255}, {0, 1}, {8, 1}, {255, 1}}) {
    const Status status = DecodeAny(Sealed(static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(version), body));
    EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << type << " " << version;
    EXPECT_NE(status.message().find(std::to_string(type) + " version " + std::to_string(version)), std::string::npos);
  }
}

std::string Varints(std::initializer_list<std::uint64_t> values, std::string_view behind = {}) {
  std::string s;
  for (const std::uint64_t v : values) PutVarint(&s, v);
  return s.append(behind);
}

TEST(WalRecord, MalformedBodiesAreRefusedThoughTheirChecksumIsRight) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  const std::string f64(8, '\0');
  const struct {
    const char* what;
    RecordType type;
    std::string body;
  } rows[] = {
      {"epoch: empty", RecordType::kEpoch, ""},
      {"epoch: without its predecessor's end", RecordType::kEpoch, Varints({1})},
      {"epoch: bytes behind", RecordType::kEpoch, Varints({1, 2, 3})},
      {"series: empty", RecordType::kSeries, ""},
      {"series: fewer than announced", RecordType::kSeries, Varints({0, 2, 0})},
      {"series: more than announced", RecordType::kSeries, Varints({0, 1, 0, 0})},
      {"series: 2^64 - 1 of them", RecordType::kSeries, Varints({0, kMax})},
      {"series: past the last ordinal", RecordType::kSeries, Varints({kLastOrdinal, 2, 0, 0})},
      {"series: first ordinal 2^32", RecordType::kSeries, Varints({1ULL << 32, 0})},
      {"series: ordinals that wrap around 2^64", RecordType::kSeries, Varints({kMax, 1, 0})},
      {"series: labels cut off", RecordType::kSeries, Varints({0, 1, 5}, "abc")},
      {"samples: empty", RecordType::kSamples, ""},
      {"samples: none", RecordType::kSamples, Varints({0, 0, 0, 0})},
      {"samples: too many", RecordType::kSamples, Varints({kSamplesPerRecordMax + 1, 3, 0, 0}, std::string(20000, '\0'))},
      {"samples: 2^64 - 1 of them", RecordType::kSamples, Varints({kMax, 3, 0, 0})},
      {"samples: ordinal 2^32", RecordType::kSamples, Varints({1, 0, 1ULL << 32, 0}, f64)},
      {"samples: consecutive past the last ordinal", RecordType::kSamples, Varints({2, 7, kLastOrdinal, 0}, f64)},
      {"samples: ordinal below 0", RecordType::kSamples, Varints({2, 5, 3, 0, ZigZag(-4)}, f64)},
      {"samples: ordinal step of 2^63 - 1", RecordType::kSamples, Varints({2, 5, 3, 0, kMax - 1}, f64)},
      {"samples: ordinal step of -2^63", RecordType::kSamples, Varints({2, 5, 3, 0, kMax}, f64)},
      {"samples: times cut off", RecordType::kSamples, Varints({2, 2, 3, 0})},
      {"samples: values cut off", RecordType::kSamples, Varints({2, 3, 3, 0}, f64)},
      {"samples: bytes behind", RecordType::kSamples, Varints({2, 7, 3, 0}, f64 + '\0')},
      {"samples: unknown coding of values", RecordType::kSamples, Varints({2, 15, 3, 0}, f64 + f64)},
      {"samples: whole numbers cut off", RecordType::kSamples, Varints({3, 11, 3, 0, 1, 1})},
      {"items: unknown type 0", RecordType::kItems, Varints({0, 0, 0})},
      {"items: unknown type 4", RecordType::kItems, Varints({4, 0, 0})},
      {"items: ordinal 2^32", RecordType::kItems, Varints({1, 1ULL << 32, 0})},
      {"items: bytes cut off", RecordType::kItems, Varints({1, 0, 4}, "abc")},
      {"items: second one cut off", RecordType::kItems, Varints({1, 0, 0, 2})},
      {"delete: without its end", RecordType::kDelete, Varints({1})},
      {"floor: empty", RecordType::kFloor, ""},
      {"floor: bytes behind", RecordType::kFloor, Varints({1, 1})},
      {"removed: empty", RecordType::kRemoveSeries, ""},
      {"removed: fewer than announced", RecordType::kRemoveSeries, Varints({2, 1})},
      {"removed: more than announced", RecordType::kRemoveSeries, Varints({1, 1, 1})},
      {"removed: ordinal 2^32", RecordType::kRemoveSeries, Varints({1, 1ULL << 32})},
      {"removed: 2^64 - 1 of them", RecordType::kRemoveSeries, Varints({kMax, 1})},
  };
  for (const auto& row : rows) {
    const Status status = DecodeAny(Sealed(static_cast<std::uint8_t>(row.type), 1, row.body));
    EXPECT_EQ(status.code(), StatusCode::kDataLoss) << row.what << ": " << status.ToString();
  }
}

TEST(WalRecord, RandomBodiesNeverReadOutside) {
  std::mt19937_64 random(TestSeed());
  for (int i = 0; i < 20000; ++i) {
    std::string body(random() % 40, '\0');
    for (char& c : body) c = static_cast<char>(random() % 3 == 0 ? random() : random() % 8);
    (void)DecodeAny(Sealed(static_cast<std::uint8_t>(1 + i % 7), 1, body));  // the sanitizers watch
  }
}

}  // namespace
}  // namespace chronolith
