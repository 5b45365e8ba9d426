#include "interop/prometheus_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"
#include "chunk/xor_chunk.h"
#include "tests/contract/seed.h"

namespace chronolith {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kGolden = CHRONOLITH_GOLDEN_DIR;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream s;
  s << in.rdbuf();
  return s.str();
}

void WriteFile(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

fs::path GoldenBlock() { return fs::directory_iterator(kGolden / "prometheus_block")->path(); }

// A series with its chunks; PrometheusChunk only views the bytes.
struct Series {
  Labels labels;
  std::vector<PrometheusChunk> chunks;
  std::vector<std::string> data;
};

PrometheusChunk MakeChunk(const std::vector<Sample>& samples, std::string* data) {
  *data = EncodeXor(samples);
  PrometheusChunk c;
  c.min_time = samples.front().timestamp;
  c.max_time = samples.back().timestamp;
  c.samples = static_cast<std::uint32_t>(samples.size());
  c.data = *data;
  return c;
}

class PrometheusBlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "prometheus_block_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::unique_ptr<PrometheusBlockWriter> NewWriter(PrometheusBlockWriter::Options options = {}) {
    Result<std::unique_ptr<PrometheusBlockWriter>> w = PrometheusBlockWriter::Create(dir_.string(), options);
    EXPECT_TRUE(w.ok()) << w.status().ToString();
    return std::move(*w);
  }

  fs::path dir_;
};

using Points = std::vector<std::pair<Timestamp, double>>;

Points Decode(std::span<const PrometheusChunk> chunks) {
  Points points;
  for (const PrometheusChunk& c : chunks) {
    Result<std::vector<Sample>> samples = DecodeXor(c.data);
    EXPECT_TRUE(samples.ok()) << samples.status().ToString();
    if (!samples.ok()) continue;
    EXPECT_EQ(samples->size(), c.samples);
    EXPECT_EQ(samples->front().timestamp, c.min_time);
    EXPECT_EQ(samples->back().timestamp, c.max_time);
    for (const Sample& s : *samples) points.emplace_back(s.timestamp, s.value);
  }
  return points;
}

bool SamePoints(const Points& a, const Points& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.first == y.first && (x.second == y.second || (std::isnan(x.second) && std::isnan(y.second)));
  });
}

// What `promtool tsdb dump` prints: labels as it writes them -> samples.
std::map<std::string, Points> Dump(const fs::path& directory) {
  fs::create_directory(directory / "wal");  // promtool insists on one, be it empty
  std::map<std::string, Points> series;
  FILE* pipe = popen(("promtool tsdb dump " + directory.string() + " 2>&1").c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  std::string text;
  char buffer[65536];
  while (const std::size_t n = fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, n);
  const int rc = pclose(pipe);
  EXPECT_TRUE(WIFEXITED(rc) && WEXITSTATUS(rc) == 0) << "promtool (Debian package prometheus) is needed: " << text;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    const std::size_t time = line.rfind(' ');
    const std::size_t value = line.rfind(' ', time - 1);
    if (time == std::string::npos || value == std::string::npos || !line.starts_with('{')) {
      ADD_FAILURE() << "unexpected line: " << line;
      continue;
    }
    series[line.substr(0, value)].emplace_back(std::strtoll(line.c_str() + time, nullptr, 10),
                                               std::strtod(line.c_str() + value, nullptr));
  }
  return series;
}

// Go's rendering of a label set.
std::string GoLabels(const Labels& labels) {
  std::string s = "{";
  for (const Label& l : labels) {
    if (s.size() > 1) s += ", ";
    s += std::string(l.name) + "=\"";
    for (const char c : l.value) s += c == '"' || c == '\\' ? std::string("\\") + c : c == '\n' ? "\\n" : std::string(1, c);
    s += "\"";
  }
  return s + "}";
}

std::vector<Series> RandomSeries(std::mt19937_64* rng, std::size_t n) {
  std::vector<Labels> all;
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<std::pair<std::string, std::string>> pairs = {{"__name__", "metric_" + std::to_string((*rng)() % 7)},
                                                              {"instance", "host-" + std::to_string(i)}};
    if ((*rng)() % 2 == 0) pairs.emplace_back("path", "/a\"b\\c\nd" + std::to_string((*rng)() % 5));
    if ((*rng)() % 3 == 0) pairs.emplace_back("zone", "Zürich");
    all.emplace_back(std::move(pairs));
  }
  std::sort(all.begin(), all.end(), [](const Labels& a, const Labels& b) { return (a <=> b) < 0; });
  std::vector<Series> series;
  for (Labels& labels : all) {
    Series s;
    s.labels = std::move(labels);
    Timestamp t = 1'700'000'000'000 + static_cast<Timestamp>((*rng)() % 100'000) - 50'000;
    const std::size_t chunks = 1 + (*rng)() % 4;
    s.data.resize(chunks);
    for (std::size_t c = 0; c < chunks; ++c) {
      std::vector<Sample> samples;
      double v = static_cast<double>((*rng)() % 1000);
      for (std::size_t k = 1 + (*rng)() % 130; k > 0; --k) {
        t += 1 + static_cast<Timestamp>((*rng)() % 30'000);
        if ((*rng)() % 3 != 0) v += static_cast<double>((*rng)() % 1000) / 8;
        samples.push_back({t, (*rng)() % 50 == 0 ? std::bit_cast<double>((*rng)()) : v});
      }
      s.chunks.push_back(MakeChunk(samples, &s.data[c]));
    }
    series.push_back(std::move(s));
  }
  return series;
}

TEST_F(PrometheusBlockTest, PromtoolPrintsTheSamplesThatWentIn) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<Series> series = RandomSeries(&rng, 300);
  auto writer = NewWriter({.segment_bytes = 40'000});
  std::map<std::string, Points> expected;
  for (const Series& s : series) {
    ASSERT_EQ(writer->Add(s.labels, s.chunks), Status::Ok());
    expected[GoLabels(s.labels)] = Decode(s.chunks);
  }
  Result<PrometheusBlockWriter::Summary> summary = writer->Finish();
  ASSERT_TRUE(summary.ok()) << summary.status().ToString();
  EXPECT_EQ(summary->series, series.size());
  EXPECT_TRUE(fs::exists(fs::path(summary->directory) / "chunks" / "000003")) << "the test wants several segments";

  const std::map<std::string, Points> dumped = Dump(dir_);
  ASSERT_EQ(dumped.size(), expected.size());
  for (const auto& [labels, points] : expected) {
    ASSERT_TRUE(dumped.contains(labels)) << labels;
    ASSERT_TRUE(SamePoints(dumped.at(labels), points)) << labels;
  }
  // promtool's own analysis walks the postings of every label.
  EXPECT_EQ(std::system(("promtool tsdb analyze " + dir_.string() + " > /dev/null 2>&1").c_str()), 0);
}

TEST_F(PrometheusBlockTest, TheReaderGivesBackWhatTheWriterTook) {
  std::mt19937_64 rng(TestSeed());
  const std::vector<Series> series = RandomSeries(&rng, 200);
  auto writer = NewWriter({.segment_bytes = 20'000});
  for (const Series& s : series) ASSERT_EQ(writer->Add(s.labels, s.chunks), Status::Ok());
  auto reader = PrometheusBlockReader::Open(writer->Finish()->directory);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  for (const Series& s : series) {
    ASSERT_TRUE((*reader)->Next()) << (*reader)->status().ToString();
    ASSERT_EQ((*reader)->labels(), s.labels);
    ASSERT_EQ((*reader)->chunks().size(), s.chunks.size());
    for (std::size_t i = 0; i < s.chunks.size(); ++i) {
      const PrometheusChunk& c = (*reader)->chunks()[i];
      ASSERT_EQ(c.data, s.chunks[i].data);
      ASSERT_EQ(c.min_time, s.chunks[i].min_time);
      ASSERT_EQ(c.max_time, s.chunks[i].max_time);
      ASSERT_EQ(c.samples, s.chunks[i].samples);
    }
  }
  EXPECT_FALSE((*reader)->Next());
  EXPECT_EQ((*reader)->status(), Status::Ok());
}

TEST_F(PrometheusBlockTest, ABlockOfPrometheusIsReadAsTheTextItWasMadeOf) {
  std::map<std::pair<std::string, std::string>, Points> expected;  // by name and instance
  std::ifstream text(kGolden / "prometheus_block.om");
  std::string line;
  while (std::getline(text, line)) {
    if (line.starts_with('#')) continue;
    const std::size_t time = line.rfind(' ');
    const std::size_t value = line.rfind(' ', time - 1);
    const std::size_t instance = line.find("instance=\"") + 10;
    expected[{line.substr(0, line.find('{')), line.substr(instance, line.find('"', instance) - instance)}].emplace_back(
        static_cast<Timestamp>(std::strtod(line.c_str() + time, nullptr) * 1000), std::strtod(line.c_str() + value, nullptr));
  }
  ASSERT_EQ(expected.size(), 9u);
  auto reader = PrometheusBlockReader::Open(GoldenBlock().string());
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  std::size_t n = 0;
  for (; (*reader)->Next(); ++n) {
    const Labels& labels = (*reader)->labels();
    EXPECT_EQ(labels.Get("path"), "/\\\"x\n");
    EXPECT_EQ(labels.Get("zone"), "Zürich");
    const std::pair key{std::string(labels.Get(kMetricName)), std::string(labels.Get("instance"))};
    EXPECT_TRUE(SamePoints(Decode((*reader)->chunks()), expected[key])) << labels.ToString();
    EXPECT_TRUE((*reader)->deleted().empty());
  }
  EXPECT_EQ((*reader)->status(), Status::Ok());
  EXPECT_EQ(n, expected.size());
}

TEST_F(PrometheusBlockTest, WritesTheVeryBytesThatPrometheusDoes) {
  const fs::path golden = GoldenBlock();
  auto reader = PrometheusBlockReader::Open(golden.string());
  ASSERT_TRUE(reader.ok());
  auto writer = NewWriter({.ulid = golden.filename().string()});
  while ((*reader)->Next()) ASSERT_EQ(writer->Add((*reader)->labels(), (*reader)->chunks()), Status::Ok());
  const fs::path made = writer->Finish()->directory;
  for (const char* file : {"index", "chunks/000001", "tombstones", "meta.json"}) {
    EXPECT_EQ(ReadFile(made / file), ReadFile(golden / file)) << file;
  }
}

TEST_F(PrometheusBlockTest, NothingOfItsMakingStaysInABlock) {
  for (const bool in_pieces : {false, true}) {
    auto w = NewWriter({.in_pieces = in_pieces});
    std::string data;
    for (const char* i : {"a", "b"}) {
      const PrometheusChunk chunk = MakeChunk({{1000, 1.0}, {2000, 2.0}}, &data);
      ASSERT_EQ(w->Add(Labels{{"__name__", "m"}, {"i", i}}, {&chunk, 1}), Status::Ok());
      if (in_pieces) w->EndPiece();
    }
    const auto block = w->Finish();
    ASSERT_TRUE(block.ok()) << block.status().ToString();
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(block->directory)) names.push_back(entry.path().filename());
    EXPECT_THAT(names, ::testing::UnorderedElementsAre("chunks", "index", "meta.json", "tombstones"));
  }
}

TEST_F(PrometheusBlockTest, ABlockOfNothingIsNotWritten) {
  auto writer = NewWriter();
  ASSERT_EQ(writer->Add({{"a", "b"}}, {}), Status::Ok());
  EXPECT_EQ(writer->Finish()->directory, "");
  writer.reset();
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(PrometheusBlockTest, AnUnfinishedBlockLeavesNothingBehind) {
  std::string data;
  const PrometheusChunk c = MakeChunk({{1, 1}}, &data);
  auto writer = NewWriter();
  ASSERT_EQ(writer->Add({{"a", "b"}}, {&c, 1}), Status::Ok());
  EXPECT_THAT(fs::directory_iterator(dir_)->path().string(), HasSubstr(".tmp-for-creation"));
  writer.reset();
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(PrometheusBlockTest, RefusesWhatPrometheusCouldNotRead) {
  std::string d1, d2, d3;
  const PrometheusChunk early = MakeChunk({{1, 1}, {10, 1}}, &d1), late = MakeChunk({{10, 1}, {20, 1}}, &d2);
  PrometheusChunk histogram = early, wrong_count = early, empty = early, reversed = early,
                  last = MakeChunk({{kMaxTimestamp, 1}}, &d3);
  histogram.encoding = 4;
  wrong_count.samples = 3;
  empty.data = std::string_view("\0\0", 2);
  empty.samples = 0;
  reversed.min_time = 11;
  const struct {
    const char* says;
    StatusCode code;
    Labels labels;
    std::vector<PrometheusChunk> chunks;
  } rows[] = {
      {"does not come behind", StatusCode::kInvalidArgument, {{"a", "a"}}, {early}},
      {"does not come behind", StatusCode::kInvalidArgument, {{"a", "b"}}, {early}},
      {"label \"b\"", StatusCode::kInvalidArgument, {{"a", "c"}, {"b", ""}}, {early}},
      {"label \"\"", StatusCode::kInvalidArgument, {{"b", "c"}, {"", "x"}}, {early}},
      {"label \"b\"", StatusCode::kInvalidArgument, {{"b", "c"}, {"b", "d"}}, {early}},
      {"chunk 1 is not in order", StatusCode::kInvalidArgument, {{"b", "c"}}, {early, late}},
      {"chunk 0 is not in order", StatusCode::kInvalidArgument, {{"b", "c"}}, {reversed}},
      {"has encoding 4", StatusCode::kUnimplemented, {{"b", "c"}}, {histogram}},
      {"does not hold the 3 samples", StatusCode::kInvalidArgument, {{"b", "c"}}, {wrong_count}},
      {"does not hold the 0 samples", StatusCode::kInvalidArgument, {{"b", "c"}}, {empty}},
      {"last timestamp", StatusCode::kInvalidArgument, {{"b", "c"}}, {last}},
  };
  auto writer = NewWriter();
  ASSERT_EQ(writer->Add({{"a", "b"}}, {&early, 1}), Status::Ok());
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const Status s = writer->Add(row.labels, row.chunks);
    EXPECT_EQ(s.code(), row.code);
    EXPECT_THAT(s.message(), HasSubstr(row.says));
  }
  // What was refused is not there, and what comes after it is taken.
  ASSERT_EQ(writer->Add({{"z", "z"}}, {&late, 1}), Status::Ok());
  ASSERT_TRUE(writer->Finish().ok());
  const std::map<std::string, Points> dumped = Dump(dir_);
  EXPECT_EQ(dumped.size(), 2u);
  EXPECT_TRUE(dumped.contains("{a=\"b\"}") && dumped.contains("{z=\"z\"}"));
}

TEST_F(PrometheusBlockTest, CreateNamesWhatIsInTheWay) {
  EXPECT_EQ(PrometheusBlockWriter::Create((dir_ / "missing").string(), {}).status().code(), StatusCode::kNotFound);
  fs::create_directory(dir_ / "X");
  EXPECT_EQ(PrometheusBlockWriter::Create(dir_.string(), {.ulid = "X"}).status().code(), StatusCode::kAlreadyExists);
  fs::create_directory(dir_ / "Y.tmp-for-creation");
  EXPECT_EQ(PrometheusBlockWriter::Create(dir_.string(), {.ulid = "Y"}).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(fs::exists(dir_ / "Y.tmp-for-creation"));
}

TEST_F(PrometheusBlockTest, TombstonesHideRanges) {
  const fs::path block = dir_ / GoldenBlock().filename();
  fs::copy(GoldenBlock(), block, fs::copy_options::recursive);
  std::string deletes;
  PutVarint(&deletes, 9);  // the second series: its entry stands at byte 9 * 16
  PutZigZag(&deletes, 1'700'000'000'000);
  PutZigZag(&deletes, 1'700'000'030'000);
  std::string file("\x01\x30\xba\x30\x01", 5);
  file += deletes;
  PutBigEndian32(&file, Crc32c(deletes));
  WriteFile(block / "tombstones", file);
  auto reader = PrometheusBlockReader::Open(block.string());
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  ASSERT_TRUE((*reader)->Next());
  EXPECT_TRUE((*reader)->deleted().empty());
  ASSERT_TRUE((*reader)->Next());
  ASSERT_EQ((*reader)->deleted().size(), 1u);
  EXPECT_EQ((*reader)->deleted()[0], (TimeRange{1'700'000'000'000, 1'700'000'030'001}));
  // promtool agrees on which series that is.
  EXPECT_EQ(Dump(dir_).at(GoLabels((*reader)->labels())).size(), 117u);

  for (const std::string& bad : {file.substr(0, 8), "x" + file.substr(1), std::string("\x01\x30\xba\x30\x02", 5) + file.substr(5),
                                 file.substr(0, 6) + "x" + file.substr(7)}) {
    WriteFile(block / "tombstones", bad);
    EXPECT_FALSE(PrometheusBlockReader::Open(block.string()).ok());
  }
}

// In place: rewriting a whole file thousands of times takes its time on a real disk.
void FlipBits(const fs::path& path, std::size_t at) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(at));
  const char byte = static_cast<char>(file.get() ^ 0x10);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

// Reads a whole block: the labels and samples it got to, and how it ended.
Status ReadAll(const fs::path& block, std::string* seen) {
  auto reader = PrometheusBlockReader::Open(block.string());
  if (!reader.ok()) return reader.status();
  while ((*reader)->Next()) {
    *seen += (*reader)->labels().ToString();
    for (const PrometheusChunk& c : (*reader)->chunks()) seen->append(c.data);
  }
  return (*reader)->status();
}

TEST_F(PrometheusBlockTest, AFlippedByteIsNeverReadAsOtherData) {
  const fs::path block = dir_ / "block";
  fs::copy(GoldenBlock(), block, fs::copy_options::recursive);
  std::string intact;
  ASSERT_EQ(ReadAll(block, &intact), Status::Ok());
  for (const char* file : {"index", "chunks/000001"}) {
    const std::size_t size = fs::file_size(block / file);
    std::size_t noticed = 0;
    for (std::size_t i = 0; i < size; ++i) {
      FlipBits(block / file, i);
      std::string seen;
      const Status s = ReadAll(block, &seen);
      noticed += !s.ok();
      // Padding, and tables that this reader has no use for, may be damaged without effect.
      ASSERT_TRUE(intact.starts_with(seen)) << file << " byte " << i;
      ASSERT_EQ(s.ok(), seen == intact) << file << " byte " << i << ": " << s.ToString();
      FlipBits(block / file, i);
    }
    EXPECT_GE(noticed, size / 3) << file;
  }
}

TEST_F(PrometheusBlockTest, ACutFileIsAnError) {
  const fs::path block = dir_ / "block";
  fs::copy(GoldenBlock(), block, fs::copy_options::recursive);
  for (const char* file : {"index", "chunks/000001"}) {
    const std::string bytes = ReadFile(block / file);
    for (std::size_t cut = bytes.size(); cut-- > 0;) {
      fs::resize_file(block / file, cut);
      std::string seen;
      ASSERT_EQ(ReadAll(block, &seen).code(), StatusCode::kDataLoss) << file << " cut to " << cut;
    }
    fs::remove(block / file);
    std::string seen;
    EXPECT_EQ(ReadAll(block, &seen).code(), StatusCode::kNotFound);
    WriteFile(block / file, bytes);
  }
}

TEST_F(PrometheusBlockTest, UnknownVersionsAndEncodingsAreNamed) {
  const fs::path block = dir_ / "block";
  fs::copy(GoldenBlock(), block, fs::copy_options::recursive);
  std::string seen;
  const std::string index = ReadFile(block / "index"), segment = ReadFile(block / "chunks/000001");
  WriteFile(block / "index", std::string(index).replace(4, 1, "\x03"));
  Status s = ReadAll(block, &seen);
  EXPECT_EQ(s.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(s.message(), HasSubstr("version 3"));
  WriteFile(block / "index", index);
  WriteFile(block / "chunks/000001", std::string(segment).replace(4, 1, "\x02"));
  EXPECT_EQ(ReadAll(block, &seen).code(), StatusCode::kFailedPrecondition);
  // A chunk of the future, with its checksum right.
  std::uint64_t length = 0;
  const char* body = DecodeVarint(segment.data() + 8, segment.data() + segment.size(), &length);
  const auto at = static_cast<std::size_t>(body - segment.data());
  std::string future = segment;
  future[at] = 9;
  StoreBigEndian(future.data() + at + 1 + length, Crc32c(std::string_view(future).substr(at, 1 + length)));
  WriteFile(block / "chunks/000001", future);
  s = ReadAll(block, &seen);
  EXPECT_EQ(s.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(s.message(), HasSubstr("encoding is 9"));
}

TEST(MakeUlid, IsTimeThenRandomBitsInCrockfordsDigits) {
  EXPECT_EQ(MakeUlid(0, {}), "00000000000000000000000000");
  EXPECT_EQ(MakeUlid(1469918176385, {}).substr(0, 10), "01ARYZ6S41");  // the specification's example
  EXPECT_EQ(MakeUlid((1LL << 48) - 1, {255, 255, 255, 255, 255, 255, 255, 255, 255, 255}), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
  EXPECT_EQ(MakeUlid(0, {0, 0, 0, 0, 0, 0, 0, 0, 0, 33}), "00000000000000000000000011");
}

}  // namespace
}  // namespace chronolith
