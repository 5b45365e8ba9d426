#include "storage/log_archive.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace chronolith {
namespace {

constexpr std::string_view kSegmentPrefix = "segment-";
constexpr std::size_t kSegmentDigits = 10;
constexpr std::size_t kSearchBytes = 1 << 20;

// 0: it is no segment's name.
std::uint64_t SegmentNumber(std::string_view name) {
  if (!name.starts_with(kSegmentPrefix) || name.size() != kSegmentPrefix.size() + kSegmentDigits) return 0;
  name.remove_prefix(kSegmentPrefix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : 0;
}

}  // namespace

std::string ArchiveSegmentName(std::uint64_t number) {
  char name[32];
  std::snprintf(name, sizeof(name), "segment-%010llu", static_cast<unsigned long long>(number));
  return name;
}

Result<std::vector<ArchiveSegment>> ListArchiveSegments(const std::string& directory) {
  std::error_code error;
  std::vector<ArchiveSegment> segments;
  for (std::filesystem::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::uint64_t number = SegmentNumber(it->path().filename().string());
    std::error_code gone;
    const std::uint64_t bytes = number > 0 ? it->file_size(gone) : 0;
    if (number > 0 && !gone) segments.push_back({number, it->path().string(), bytes});
  }
  if (error == std::errc::no_such_file_or_directory) return NotFound("there is no log archive " + directory);
  if (error) return ErrnoStatus("cannot list " + directory, error);
  std::sort(segments.begin(), segments.end(), [](const auto& a, const auto& b) { return a.number < b.number; });
  return segments;
}

Result<ArchiveHeader> ReadArchiveIdentity(const std::string& directory) {
  const Result<std::vector<ArchiveSegment>> segments = ListArchiveSegments(directory);
  if (!segments.ok()) return segments.status();
  Status status = NotFound("nothing was archived in " + directory + " yet");
  for (auto segment = segments->rbegin(); segment != segments->rend(); ++segment) {
    const Result<std::unique_ptr<ArchiveReader>> reader = ArchiveReader::Open(segment->path);
    if (reader.ok()) return (*reader)->header();
    status = reader.status();
  }
  return status;
}

Result<std::unique_ptr<ArchiveReader>> ArchiveReader::Open(const std::string& path) {
  Result<FileDescriptor> file = OpenFile(path, O_RDONLY);
  if (!file.ok()) return file.status();
  std::unique_ptr<ArchiveReader> reader(new ArchiveReader(path, std::move(*file)));
  ArchiveBlock block;
  if (reader->Next(&block) && block.type == ArchiveBlockType::kHeader) {
    reader->header_ = std::move(block.header);
    return reader;
  }
  return reader->status_.ok() ? DataLoss(path + " is no part of a log archive: it has no header") : reader->status_;
}

Status ArchiveReader::ReadBlock(std::uint64_t offset, ArchiveBlock* block) {
  char prefix[kArchivePrefixBytes];
  Result<std::size_t> n = ReadFully(file_.get(), offset, prefix, path_);
  if (!n.ok()) return n.status();
  if (*n == 0) return NotFound("the file ends here");
  const Result<std::uint32_t> payload = ArchivePayloadBytes({prefix, *n});
  if (!payload.ok()) return payload.status();
  buffer_.resize(sizeof(prefix) + *payload);
  n = ReadFully(file_.get(), offset, buffer_, path_);
  if (!n.ok()) return n.status();
  return DecodeArchiveBlock({buffer_.data(), *n}, block);
}

bool ArchiveReader::Next(ArchiveBlock* block) {
  if (!status_.ok()) return false;
  status_ = ReadBlock(offset_, block);
  if (status_.ok()) {
    offset_ += buffer_.size();
    return true;
  }
  if (status_.code() == StatusCode::kNotFound) {
    status_ = Status::Ok();
  } else {
    status_ = status_.WithContext(path_ + " at offset " + std::to_string(offset_));
  }
  return false;
}

Result<bool> ArchiveReader::IsTornEnd() {
  std::string piece(kSearchBytes, '\0');
  ArchiveBlock block;
  for (std::uint64_t at = offset_ + 1;; at += piece.size() - kArchivePrefixBytes + 1) {
    const Result<std::size_t> n = ReadFully(file_.get(), at, piece, path_);
    if (!n.ok()) return n.status();
    for (std::size_t i = 0; i + kArchivePrefixBytes <= *n; ++i) {
      if (!ArchivePayloadBytes({piece.data() + i, kArchivePrefixBytes}).ok()) continue;
      const Status whole = ReadBlock(at + i, &block);
      if (whole.ok()) return false;
      if (whole.code() != StatusCode::kDataLoss && whole.code() != StatusCode::kNotFound) return whole;
    }
    if (*n < piece.size()) return true;
  }
}

}  // namespace chronolith
