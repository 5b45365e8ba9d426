// A temporary directory and the built program, for tests that use it as a user would.
#ifndef CHRONOLITH_TESTS_TOOLS_CLI_TEST_BASE_H_
#define CHRONOLITH_TESTS_TOOLS_CLI_TEST_BASE_H_

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/subprocess.h"

namespace chronolith::testing {

enum : int { kOk = 0, kFailure = 1, kUsage = 2, kProblems = 3 };

class CliTest : public ::testing::Test {
 protected:
  CliTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "chronolith-cli-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    db_ = directory_ + "/db";
  }
  ~CliTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  static std::vector<std::string> Command(std::vector<std::string> args) {
    args.insert(args.begin(), CHRONOLITH_CLI);
    return args;
  }
  static ProcessResult Cli(std::vector<std::string> args, std::string_view input = {}) {
    return RunProcess(Command(std::move(args)), input);
  }

  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  std::string WriteFile(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name), std::ios::binary) << text;
    return Path(name);
  }
  std::string WriteGzip(const std::string& name, const std::string& text) const {
    gzFile file = gzopen(Path(name).c_str(), "wb");
    gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
    return Path(name);
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  // Spoils the byte at this part of the file, 0 to 1.
  static void FlipByte(const std::string& path, double where) {
    std::string bytes = ReadFile(path);
    const auto at = static_cast<std::size_t>(static_cast<double>(bytes.size()) * where);
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    std::ofstream(path, std::ios::binary) << bytes;
  }
  // The tables of a database with rows of the family (such as "chunk.1"), the largest first; in the data instance not those of the
  // shards' epochs.
  static std::vector<std::string> TablesOf(const std::string& db, const std::string& family, std::string_view instance = "/data") {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(db + std::string(instance))) {
      const std::string path = entry.path();
      if (!path.ends_with(".sst")) continue;
      const std::string bytes = ReadFile(path);
      const bool of_epochs = instance == "/data" && bytes.find("epoch/") != std::string::npos;
      if (bytes.find(family) != std::string::npos && !of_epochs) found.push_back(path);
    }
    EXPECT_FALSE(found.empty()) << "no table of " << family;
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return std::filesystem::file_size(a) > std::filesystem::file_size(b); });
    return found;
  }
  // The largest of them.
  static std::string TableOf(const std::string& db, const std::string& family, std::string_view instance = "/data") {
    const std::vector<std::string> tables = TablesOf(db, family, instance);
    return tables.empty() ? "" : tables.front();
  }
  // Of a log's directory.
  static std::string LargestLog(const std::string& directory) {
    std::string log;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      const std::string path = entry.path();
      if (path.ends_with(".log") && (log.empty() || entry.file_size() > std::filesystem::file_size(log))) log = path;
    }
    return log;
  }

  ProcessResult Import(std::string_view text, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"import", "--db", db_, "--format", "json"};
    args.insert(args.end(), more.begin(), more.end());
    return Cli(args, text);
  }
  // Rows of `query --format csv`, without the header.
  std::vector<std::string> Query(const std::string& selector, std::vector<std::string> more = {}) const {
    std::vector<std::string> args = {"query", "--db", db_, "--format", "csv", selector};
    args.insert(args.end(), more.begin(), more.end());
    const ProcessResult result = Cli(args);
    EXPECT_EQ(result.exit_code, kOk) << result.err;
    return Lines(result.out, 1);
  }
  static std::vector<std::string> Lines(const std::string& text, std::size_t skip = 0) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(std::min(skip, lines.size())));
    return lines;
  }
  static nlohmann::json Json(const ProcessResult& result) {
    nlohmann::json json = nlohmann::json::parse(result.out, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << result.out << result.err;
    return json.is_discarded() ? nlohmann::json::object() : json;
  }

  std::string directory_;
  std::string db_;
};

// The N of the last complete "logged N" line, or 0.
inline std::uint64_t LastLogged(const std::string& err) {
  const std::size_t end = err.rfind('\n');
  const std::size_t at = end == std::string::npos ? end : err.rfind("logged ", end);
  return at == std::string::npos ? 0 : std::strtoull(err.c_str() + at + 7, nullptr, 10);
}

}  // namespace chronolith::testing

#endif  // CHRONOLITH_TESTS_TOOLS_CLI_TEST_BASE_H_
