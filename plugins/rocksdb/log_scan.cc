#include "plugins/rocksdb/log_scan.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr std::size_t kSectorBytes = 512;
constexpr std::size_t kPageBytes = 4096;                // of the page cache, which is written back whole
constexpr std::size_t kTailBytesMin = 16;               // fewer zeroes occur at the end of a page that was written
constexpr std::size_t kReadBytes = 8 * kLogBlockBytes;  // stays in the second-level cache between reading and checking

struct Fragment {
  FragmentType type;
  std::string_view payload;
};

std::optional<Fragment> ParseFragment(std::string_view bytes) {
  if (bytes.size() < kFragmentHeaderBytes) return std::nullopt;
  const auto type = static_cast<std::uint8_t>(bytes[6]);
  const std::size_t length = LoadFixed<std::uint16_t>(bytes.data() + 4);
  if (type < kWhole || type > kLast || length > bytes.size() - kFragmentHeaderBytes) return std::nullopt;
  if (LoadFixed<std::uint32_t>(bytes.data()) != MaskedLogChecksum(bytes.substr(6, 1 + length))) return std::nullopt;
  return Fragment{static_cast<FragmentType>(type), bytes.substr(kFragmentHeaderBytes, length)};
}

// The bytes up to the end of the file look like the beginning of a fragment.
bool IsCutFragment(std::string_view bytes, std::size_t room) {
  if (bytes.size() < kFragmentHeaderBytes) return true;
  const auto type = static_cast<std::uint8_t>(bytes[6]);
  const std::size_t length = LoadFixed<std::uint16_t>(bytes.data() + 4);
  return type >= kWhole && type <= kLast && length > bytes.size() - kFragmentHeaderBytes && length <= room - kFragmentHeaderBytes;
}

// Whether a whole sector of 512 bytes is zero, or the first one from where the bytes begin in it, or the end of a page: a sector
// that reached the disk with the end of what was written then, and not again with what was added.
bool HasUnwritten(std::string_view bytes, std::uint64_t offset) {
  static constexpr char kZeroes[kSectorBytes] = {};
  for (std::size_t at = 0; true;) {
    const std::size_t end = at + kSectorBytes - (offset + at) % kSectorBytes;
    if (end > bytes.size()) return false;
    const bool ends_page = (offset + end) % kPageBytes == 0;
    const std::size_t length = ends_page ? std::min(end - at, kTailBytesMin) : end - at;
    if (std::memcmp(bytes.data() + end - length, kZeroes, length) == 0) return true;
    at = end;
  }
}

class Scanner {
 public:
  Scanner(const rocksdb::RandomAccessFile& file, std::string path, bool put_together, const LogScanCallbacks& callbacks,
          std::uint64_t end)
      : file_(file),
        path_(std::move(path)),
        put_together_(put_together),
        callbacks_(callbacks),
        end_(end),
        buffer_(std::min<std::uint64_t>(kReadBytes, end)) {}

  Status Run() {
    while (true) {
      std::size_t size = 0;
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), end_ - offset_));
      if (wanted > 0) {  // RocksDB takes a read of nothing for an error
        if (Status s = Read(offset_, wanted, buffer_.data(), &size); !s.ok()) return s;
      }
      for (std::size_t at = 0; at < size; at += kLogBlockBytes) {
        const std::string_view block(buffer_.data() + at, std::min(kLogBlockBytes, size - at));
        ScanBlock(block, offset_ + at);
      }
      offset_ += size;
      if (callbacks_.on_bytes && !callbacks_.on_bytes(size)) return Cancelled("reading '" + path_ + "' was stopped");
      if (size < kReadBytes) break;
    }
    if (in_record_) {
      cut_ = !damage_;
      BeginDamage(record_begin_);
    }
    if (damage_) ends_.push_back({*damage_, offset_, cut_, true});
    return TellDamage();
  }

 private:
  // Less than wanted only at the end of the file.
  Status Read(std::uint64_t offset, std::size_t wanted, char* to, std::size_t* size) const {
    rocksdb::Slice read;
    if (rocksdb::Status s = file_.Read(offset, wanted, &read, to); !s.ok())
      return IoError("reading '" + path_ + "': " + s.ToString());
    if (read.data() != to) std::memmove(to, read.data(), read.size());
    *size = read.size();
    return Status::Ok();
  }

  void BeginDamage(std::uint64_t at) {
    if (!damage_) damage_ = at;
    in_record_ = false;
  }

  // A record that began and did not go on is damaged from its beginning.
  void Break(std::uint64_t at) { BeginDamage(in_record_ ? record_begin_ : at); }

  void ScanBlock(std::string_view block, std::uint64_t offset) {
    std::size_t at = 0;
    while (block.size() - at >= kFragmentHeaderBytes) {
      const std::optional<Fragment> fragment = ParseFragment(block.substr(at));
      if (!fragment) {
        if (!damage_ && block.size() < kLogBlockBytes) cut_ = IsCutFragment(block.substr(at), kLogBlockBytes - at);
        Break(offset + at);
        ++at;  // what is intact behind it begins somewhere
        continue;
      }
      OnFragment(*fragment, offset + at);
      at += kFragmentHeaderBytes + fragment->payload.size();
    }
    if (block.size() < kLogBlockBytes && at < block.size()) {  // the file ends within a header
      if (!damage_) cut_ = true;
      Break(offset + at);
    }
  }

  void OnFragment(const Fragment& fragment, std::uint64_t at) {
    if (fragment.type == kWhole || fragment.type == kFirst) {
      if (in_record_) Break(at);
      EndDamage(at);
      record_begin_ = at;
      record_.clear();
    } else if (!in_record_) {
      Break(at);  // its beginning is missing
      return;
    }
    if (put_together_) record_.append(fragment.payload);
    in_record_ = fragment.type == kFirst || fragment.type == kMiddle;
    if (in_record_) return;
    // Damage in front of a record is told before it; an error of reading it again is returned at the end.
    if (Status s = TellDamage(); !s.ok() && error_.ok()) error_ = s;
    callbacks_.on_record(record_);
  }

  void EndDamage(std::uint64_t at) {
    if (damage_) ends_.push_back({*damage_, at, false, false});
    damage_.reset();
    cut_ = false;
  }

  // Looks at the damaged bytes once more, since a long damage was not kept.
  Status TellDamage() {
    if (ends_.empty()) return error_;
    std::vector<char> piece;
    for (DamagedBytes& d : ends_) {
      std::uint64_t at = d.begin - d.begin % kSectorBytes;
      piece.resize(std::min<std::uint64_t>(kReadBytes, d.end - at));  // a log may have many small damages
      for (; at < d.end && !d.unwritten; at += piece.size()) {
        const std::uint64_t from = std::max(at, d.begin);
        const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(at + piece.size(), d.end) - from);
        std::size_t size = 0;
        if (Status s = Read(from, wanted, piece.data(), &size); !s.ok()) return s;
        d.unwritten = HasUnwritten({piece.data(), size}, from);
      }
      callbacks_.on_damage(d);
    }
    ends_.clear();
    return error_;
  }

  const rocksdb::RandomAccessFile& file_;
  const std::string path_;
  const bool put_together_;
  const LogScanCallbacks& callbacks_;
  const std::uint64_t end_;
  std::vector<char> buffer_;
  std::uint64_t offset_ = 0;
  bool in_record_ = false;
  std::uint64_t record_begin_ = 0;
  std::string record_;
  std::optional<std::uint64_t> damage_;  // where the one that has not ended begins
  bool cut_ = false;                     // so far it looks like a record that the end of the file cuts off
  std::vector<DamagedBytes> ends_;       // found and not told yet
  Status error_;
};

}  // namespace

std::uint32_t MaskedLogChecksum(std::string_view type_and_payload) {
  const std::uint32_t crc = Crc32c(type_and_payload);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

Status ScanLogFile(rocksdb::Env* env, const std::string& path, bool put_together, const LogScanCallbacks& callbacks,
                   std::uint64_t end) {
  std::unique_ptr<rocksdb::RandomAccessFile> file;
  if (rocksdb::Status s = env->NewRandomAccessFile(path, &file, rocksdb::EnvOptions()); !s.ok())
    return IoError("opening '" + path + "': " + s.ToString());
  return Scanner(*file, path, put_together, callbacks, end).Run();
}

}  // namespace chronolith
