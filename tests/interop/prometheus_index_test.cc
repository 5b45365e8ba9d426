// What the index is made of: records and symbols, more than memory holds.
#include "interop/prometheus_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "interop/prometheus_symbols.h"
#include "interop/record_sorter.h"
#include "tests/contract/seed.h"
#include "tests/support/temp_directory.h"

namespace chronolith {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing_support::TempDirectory;

std::vector<std::string> FilesIn(const TempDirectory& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path())) names.push_back(entry.path().filename());
  return names;
}

using Triple = std::array<std::uint32_t, 3>;

TEST(RecordSorter, GivesAllRecordsInOrderWhateverTheRuns) {
  const TempDirectory directory;
  const std::uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (const std::size_t run : {1, 7, 100, 1000}) {
    std::vector<Triple> expected, sorted;
    {
      RecordSorter sorter(directory / "runs", run);
      for (int i = 0; i < 500; ++i) {
        const auto any = [&random] { return static_cast<std::uint32_t>(random() % 5 == 0 ? random() : random() % 20); };
        expected.push_back({any(), any(), any()});
        ASSERT_EQ(sorter.Add({expected.back()[0], expected.back()[1], expected.back()[2]}), Status::Ok());
      }
      std::sort(expected.begin(), expected.end());
      ASSERT_EQ(sorter.Finish(), Status::Ok());
      EXPECT_EQ(FilesIn(directory).size(), run < 500 ? 1U : 0U) << "only what does not fit goes to a file";
      while (sorter.Next()) sorted.push_back({sorter.record().major, sorter.record().minor, sorter.record().value});
      EXPECT_EQ(sorter.status(), Status::Ok());
    }
    EXPECT_EQ(sorted, expected) << "runs of " << run;
    EXPECT_THAT(FilesIn(directory), IsEmpty());
  }
}

TEST(RecordSorter, AFileThatIsInTheWayIsNamed) {
  const TempDirectory directory;
  RecordSorter first(directory / "runs", 1), second(directory / "runs", 1);
  for (std::uint32_t i = 0; i < 2; ++i) ASSERT_EQ(first.Add({i, 0, 0}), Status::Ok());
  ASSERT_EQ(second.Add({0, 0, 0}), Status::Ok());
  const Status s = second.Add({1, 0, 0});
  EXPECT_EQ(s.code(), StatusCode::kAlreadyExists);
  EXPECT_THAT(s.message(), HasSubstr(directory / "runs"));
}

// Strings of all lengths, some of which come often.
std::string AnySymbol(std::mt19937_64* random) {
  const std::size_t lengths[] = {0, 3, 30, 300, 70'000};
  const std::size_t kind = (*random)() % 100;
  const std::size_t length = lengths[kind < 40 ? 1 : kind < 90 ? 2 : kind < 98 ? 3 : kind < 99 ? 0 : 4];
  std::string s(length, 'x');
  for (std::size_t i = 0; i < std::min<std::size_t>(length, 3); ++i) s[i] = static_cast<char>((*random)());
  return s;
}

TEST(PrometheusSymbols, EachRunsNumbersLeadToItsSymbols) {
  const TempDirectory directory;
  const std::uint64_t seed = TestSeed();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (const std::size_t run_bytes : {1, 1000, 100'000'000}) {
    PrometheusSymbolRuns runs(directory / "spool", run_bytes, 50);
    std::vector<std::map<std::string, std::uint32_t>> in_run(1);
    std::set<std::string> all;
    for (int i = 0; i < 2000; ++i) {
      const std::string s = AnySymbol(&random);
      if (runs.IsFull(s.size())) {
        ASSERT_EQ(runs.EndRun(), Status::Ok());
        in_run.emplace_back();
      }
      const std::uint32_t number = runs.Intern(s);
      const auto [at, fresh] = in_run.back().emplace(s, number);
      EXPECT_EQ(at->second, number) << "a symbol has one number a run";
      all.insert(s);
    }
    EXPECT_EQ(in_run.size() > 1, run_bytes < 100'000'000);
    ASSERT_EQ(runs.Finish(), Status::Ok());
    ASSERT_EQ(runs.size(), all.size());
    PrometheusSymbols symbols;
    const SpoolFile& table = runs.table();
    const auto read = [&table](std::uint64_t at, std::size_t n, std::string* to) { return table.source().ReadAt(at, n, to); };
    ASSERT_EQ(symbols.Open(read, 0, table.size(), runs.size()), Status::Ok());
    std::string_view text;
    std::uint32_t place = 0;
    for (const std::string& s : all) {
      ASSERT_EQ(symbols.Get(place++, &text), Status::Ok());
      EXPECT_EQ(text, s);
    }
    for (const auto& run : in_run) {
      std::vector<std::uint32_t> numbers;
      ASSERT_EQ(runs.NextRun(&numbers), Status::Ok());
      ASSERT_EQ(numbers.size(), run.size());
      for (const auto& [s, number] : run) {
        std::string_view before;
        ASSERT_EQ(symbols.Get(numbers[number], &before), Status::Ok());
        ASSERT_EQ(symbols.Get(numbers[0], &text), Status::Ok());
        EXPECT_EQ(before, s) << "two stay valid";
      }
    }
  }
}

TEST(PrometheusSymbols, RefusesATableThatEndsTooEarlyOrChanges) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes += "\x04" + std::to_string(1000 + i);
  const auto read = [&bytes](std::uint64_t at, std::size_t n, std::string* to) {
    to->assign(bytes, std::min<std::size_t>(at, bytes.size()), n);
    return Status::Ok();
  };
  PrometheusSymbols symbols;
  std::string_view text;
  EXPECT_THAT(symbols.Open(read, 0, 499, 100).ToString(), HasSubstr("symbol 99 is cut off"));
  EXPECT_THAT(symbols.Open(read, 0, 500, 101).ToString(), HasSubstr("symbol 100 is cut off"));
  EXPECT_THAT(symbols.Open(read, 0, 1000, 101).ToString(), HasSubstr("symbol 100 is cut off"));
  ASSERT_EQ(symbols.Open(read, 0, 500, 100), Status::Ok());
  EXPECT_EQ(symbols.Get(100, &text).code(), StatusCode::kDataLoss);
  ASSERT_EQ(symbols.Get(99, &text), Status::Ok());
  EXPECT_EQ(text, "1099");
  bytes[3] = 'x';
  EXPECT_THAT(symbols.Get(31, &text).ToString(), HasSubstr("has changed"));
  EXPECT_EQ(symbols.Get(98, &text), Status::Ok());
  bytes.resize(450);
  EXPECT_THAT(symbols.Get(70, &text).ToString(), HasSubstr("has changed"));
}

std::string Index(const TempDirectory& directory, const std::vector<Labels>& series,
                  const PrometheusIndexWriter::Options& options) {
  auto writer = std::make_unique<PrometheusIndexWriter>(directory / "spool", options);
  for (std::size_t i = 0; i < series.size(); ++i) {
    const PrometheusChunkRef chunks[] = {{1000, 2000, 8 + i * 30}, {2001, 3000, 20 + i * 30}};
    EXPECT_EQ(writer->Add(series[i], std::span(chunks).first(1 + i % 2)), Status::Ok());
  }
  FileSink out;
  EXPECT_EQ(out.Create(directory / "index"), Status::Ok());
  EXPECT_EQ(writer->WriteTo(&out), Status::Ok());
  EXPECT_EQ(out.Close(), Status::Ok());
  writer = nullptr;
  EXPECT_THAT(FilesIn(directory), ::testing::ElementsAre("index"));
  std::string bytes = ReadWholeFile(directory / "index").value();
  std::filesystem::remove(directory / "index");
  return bytes;
}

TEST(PrometheusIndex, IsTheSameWhetherItsPartsFitIntoMemoryOrNot) {
  const TempDirectory directory;
  std::vector<Labels> series;
  for (int i = 0; i < 500; ++i) {
    series.push_back(Labels{{"__name__", "m" + std::to_string(i / 100)},
                            {i % 3 == 0 ? "own" : "other", "value-" + std::to_string(10'000 + i * 7919 % 10'000)},
                            {"zone", i % 2 == 0 ? "a" : "m0"}});
  }
  std::sort(series.begin(), series.end(), [](const Labels& a, const Labels& b) { return (a <=> b) < 0; });
  const std::string whole = Index(directory, series, {});
  EXPECT_THAT(FilesIn(directory), IsEmpty());
  for (const PrometheusIndexWriter::Options options :
       {PrometheusIndexWriter::Options{1, 1}, {1, 1000}, {500, 64}, {5000, 10'000'000}}) {
    EXPECT_TRUE(Index(directory, series, options) == whole) << options.symbol_bytes << " " << options.records;
  }
  auto reader = PrometheusIndexReader::Open(whole);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  EXPECT_EQ(reader->series(), series.size());
  for (std::size_t i = 0; i < series.size(); ++i) {
    ASSERT_TRUE(reader->Next()) << reader->status().ToString();
    EXPECT_EQ(reader->labels(), series[i]);
    ASSERT_EQ(reader->chunks().size(), 1 + i % 2);
    EXPECT_EQ(reader->chunks()[0].ref, 8 + i * 30);
  }
  EXPECT_FALSE(reader->Next());
}

}  // namespace
}  // namespace chronolith
