#include "ops/backup_manifest.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>
#include <system_error>

#include "base/checksum.h"

namespace chronolith::ops {
namespace {

constexpr std::string_view kMagic = "chronolith backup ";
constexpr std::string_view kFirstLine = "chronolith backup 1";
constexpr std::string_view kEnd = "end ";

std::string Hex32(std::uint32_t n) {
  char text[9];
  std::snprintf(text, sizeof(text), "%08x", n);
  return text;
}

template <typename T>
bool ParseNumber(std::string_view text, T* number, int base = 10) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *number, base);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty();
}

bool ParseHex32(std::string_view text, std::uint32_t* number) { return text.size() == 8 && ParseNumber(text, number, 16); }

bool IsWord(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// A restore writes where this says.
bool IsFileName(std::string_view name) {
  if (name == "STORE") return true;
  if (!name.starts_with("data/") && !name.starts_with("log/")) return false;
  name.remove_prefix(name.find('/') + 1);
  return IsWord(name) && name.find('/') == std::string_view::npos && name != "." && name != "..";
}

// The fields of a line that begins with `word`.
bool Fields(std::string_view line, std::string_view word, std::size_t count, std::vector<std::string_view>* fields) {
  if (!line.starts_with(word) || line.size() <= word.size() || line[word.size()] != ' ') return false;
  line.remove_prefix(word.size() + 1);
  fields->clear();
  while (true) {
    const std::size_t blank = line.find(' ');
    fields->push_back(line.substr(0, blank));
    if (!IsWord(fields->back())) return false;
    if (blank == std::string_view::npos) return fields->size() == count;
    line.remove_prefix(blank + 1);
  }
}

bool ParseFile(std::string_view line, BackupFile* file) {
  std::vector<std::string_view> fields;
  if (!Fields(line, "file", 4, &fields) || !IsFileName(fields[0])) return false;
  file->name = fields[0];
  file->immutable = fields[3] == "table";
  return ParseNumber(fields[1], &file->bytes) && ParseHex32(fields[2], &file->crc32c) && (file->immutable || fields[3] == "other");
}

bool Parse(const std::vector<std::string_view>& lines, BackupManifest* manifest) {
  std::vector<std::string_view> fields;
  if (lines.size() < 5 || lines[0] != kFirstLine) return false;
  if (!Fields(lines[1], "id", 1, &fields) || BackupNumber(fields[0]) == 0) return false;
  manifest->id = fields[0];
  if (!Fields(lines[2], "store", 4, &fields)) return false;
  manifest->uuid = fields[0];
  manifest->engine = fields[3];
  if (!ParseNumber(fields[1], &manifest->incarnation) || !ParseNumber(fields[2], &manifest->shards)) return false;
  if (!Fields(lines[3], "taken", 1, &fields) || !ParseNumber(fields[0], &manifest->taken_ms)) return false;
  if (!Fields(lines[4], "parent", 1, &fields)) return false;
  if (fields[0] != "-" && BackupNumber(fields[0]) == 0) return false;
  if (fields[0] != "-") manifest->parent = fields[0];
  for (std::size_t i = 5; i < lines.size(); ++i) {
    if (!ParseFile(lines[i], &manifest->files.emplace_back())) return false;
  }
  return true;
}

}  // namespace

std::uint64_t BackupManifest::bytes() const {
  std::uint64_t total = 0;
  for (const BackupFile& file : files) total += file.bytes;
  return total;
}

std::string BackupId(std::int64_t time_ms, std::uint64_t number) {
  const std::time_t seconds = time_ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time[32];
  std::strftime(time, sizeof(time), "%Y%m%dT%H%M%SZ", &utc);
  char text[64];
  std::snprintf(text, sizeof(text), "%s-%04llu", time, static_cast<unsigned long long>(number));
  return text;
}

std::uint64_t BackupNumber(std::string_view id) {
  constexpr std::string_view kForm = "00000000T000000Z-";
  if (id.size() < kForm.size() + 4 || id.size() > kForm.size() + 18) return 0;
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] == '0' ? id[i] < '0' || id[i] > '9' : id[i] != kForm[i]) return 0;
  }
  std::uint64_t number = 0;
  return ParseNumber(id.substr(kForm.size()), &number) ? number : 0;
}

std::string EncodeBackupManifest(const BackupManifest& m) {
  std::string text = std::string(kFirstLine) + "\nid " + m.id + "\nstore " + m.uuid + " " + std::to_string(m.incarnation) + " " +
                     std::to_string(m.shards) + " " + m.engine + "\ntaken " + std::to_string(m.taken_ms) + "\nparent " +
                     (m.parent.empty() ? "-" : m.parent) + "\n";
  for (const BackupFile& file : m.files) {
    text += "file " + file.name + " " + std::to_string(file.bytes) + " " + Hex32(file.crc32c) +
            (file.immutable ? " table\n" : " other\n");
  }
  return text + std::string(kEnd) + Hex32(Crc32c(text)) + "\n";
}

Result<BackupManifest> DecodeBackupManifest(std::string_view text) {
  if (!text.starts_with(kMagic)) return DataLoss("is not the description of a backup");
  if (const std::string_view first = text.substr(0, text.find('\n')); first != kFirstLine) {
    return FailedPrecondition("is of a format that this program does not know: " + std::string(first.substr(0, 40)));
  }
  std::vector<std::string_view> lines;
  std::size_t last = 0;  // where the last line begins
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string_view::npos) return DataLoss("is cut off");
    lines.push_back(text.substr(at, end - at));
    last = at;
    at = end + 1;
  }
  std::uint32_t crc = 0;
  if (!lines.back().starts_with(kEnd) || !ParseHex32(lines.back().substr(kEnd.size()), &crc)) return DataLoss("is cut off");
  if (crc != Crc32c(text.substr(0, last))) return DataLoss("does not match its checksum");
  lines.pop_back();
  BackupManifest manifest;
  if (!Parse(lines, &manifest)) return DataLoss("is malformed");
  return manifest;
}

Result<BackupManifest> ReadBackupManifest(const std::string& directory) {
  const std::string path = directory + "/" + std::string(kBackupFile);
  std::ifstream in(path, std::ios::binary);
  if (!in) return NotFound("there is no complete backup in " + directory + " (no file " + path + ")");
  std::stringstream bytes;
  bytes << in.rdbuf();
  Result<BackupManifest> manifest = DecodeBackupManifest(bytes.str());
  if (manifest.ok()) return manifest;
  return Status(manifest.status().code(), path + " " + manifest.status().message());
}

}  // namespace chronolith::ops
