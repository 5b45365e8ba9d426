#include "ops/backup_manifest.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>
#include <system_error>

#include "ops/checked_lines.h"

namespace chronolith::ops {
namespace {

constexpr std::string_view kMagic = "chronolith backup ";
constexpr std::string_view kFirstLine = "chronolith backup 1";

// A restore writes where this says.
bool IsFileName(std::string_view name) {
  if (name == "STORE") return true;
  if (!name.starts_with("data/") && !name.starts_with("log/")) return false;
  name.remove_prefix(name.find('/') + 1);
  return IsWord(name) && name.find('/') == std::string_view::npos && name != "." && name != "..";
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
  return WithEndLine(std::move(text));
}

Result<BackupManifest> DecodeBackupManifest(std::string_view text) {
  if (!text.starts_with(kMagic)) return DataLoss("is not the description of a backup");
  if (const std::string_view first = text.substr(0, text.find('\n')); first != kFirstLine) {
    return FailedPrecondition("is of a format that this program does not know: " + std::string(first.substr(0, 40)));
  }
  const Result<std::vector<std::string_view>> lines = CheckedLines(text);
  if (!lines.ok()) return lines.status();
  BackupManifest manifest;
  if (!Parse(*lines, &manifest)) return DataLoss("is malformed");
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
