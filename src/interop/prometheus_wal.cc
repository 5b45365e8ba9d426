#include "interop/prometheus_wal.h"

#include <snappy.h>

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr std::size_t kPageBytes = 32 << 10;
constexpr std::size_t kHeaderBytes = 7;
constexpr std::size_t kMaxProblems = 1000;
// Snappy's best is 64 bytes of three; what claims more is a lie that must not allocate.
constexpr std::uint64_t kMostOfOneByte = 64;

enum FragmentType : unsigned { kPadding = 0, kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4 };
constexpr unsigned kTypeMask = 7, kSnappy = 8, kZstd = 16;

}  // namespace

Result<std::unique_ptr<PrometheusWalSegment>> PrometheusWalSegment::Open(const std::string& path) {
  auto segment = std::make_unique<PrometheusWalSegment>(path, nullptr);
  if (Status s = segment->file_.Open(path); !s.ok()) return s;
  const FileSource* const file = &segment->file_;
  segment->ahead_ = ReadAhead([file](std::uint64_t at, std::size_t n, std::string* to) { return file->ReadAt(at, n, to); });
  return segment;
}

// False at the end of the file, and where it cannot be read.
bool PrometheusWalSegment::LoadPage() {
  if (loaded_) {
    if (bytes_.size() < kPageBytes) return false;
    page_ += kPageBytes;
  }
  loaded_ = true;
  at_ = 0;
  bytes_ = {};
  status_ = ahead_.View(page_, kPageBytes, &bytes_);
  return status_.ok() && !bytes_.empty();
}

// Goes on with the next page.
PrometheusWalSegment::Found PrometheusWalSegment::Damage(const std::string& how) {
  if (problems_.size() < kMaxProblems) {
    problems_.push_back(DataLoss(name_ + ": byte " + std::to_string(page_ + at_) + ": " + how));
  }
  within_ = false;
  at_ = bytes_.size();
  return Found::kFragment;
}

bool PrometheusWalSegment::Uncompress() {
  std::size_t length = 0;
  if (!snappy::GetUncompressedLength(collected_.data(), collected_.size(), &length)) return false;
  if (length > collected_.size() * kMostOfOneByte) return false;
  uncompressed_.resize(length);
  return snappy::RawUncompress(collected_.data(), collected_.size(), uncompressed_.data());
}

PrometheusWalSegment::Found PrometheusWalSegment::Fragment() {
  if (at_ == bytes_.size() && !LoadPage()) {
    torn_ = torn_ || within_;
    return Found::kEnd;
  }
  const std::string_view left = bytes_.substr(at_);
  const auto head = static_cast<unsigned char>(left[0]);
  const unsigned type = head & kTypeMask;
  if (type == kPadding) {
    if (left.find_first_not_of('\0') != std::string_view::npos) return Damage("padding that is not zeros");
    at_ = bytes_.size();
    return Found::kFragment;
  }
  const bool whole_page = bytes_.size() == kPageBytes;
  const std::size_t length = left.size() < kHeaderBytes ? 0 : LoadBigEndian<std::uint16_t>(left.data() + 1);
  if (left.size() < kHeaderBytes + length) {
    if (whole_page || length > kPageBytes - kHeaderBytes) return Damage("a fragment reaches beyond its page");
    torn_ = true;
    at_ = bytes_.size();
    return Found::kEnd;
  }
  const std::string_view data = left.substr(kHeaderBytes, length);
  if (Crc32c(data) != LoadBigEndian<std::uint32_t>(left.data() + 3)) return Damage("a fragment fails its checksum");
  if (type > kLast || head > (kTypeMask | kSnappy | kZstd)) return Damage("a fragment of unknown type " + std::to_string(head));
  const bool begins = type == kFull || type == kFirst;
  if (begins == within_) {
    // Behind damage fragments of its record are left; otherwise they are damage themselves.
    if (begins || problems_.empty()) return Damage(begins ? "a record begins within another" : "a fragment without its beginning");
    at_ += kHeaderBytes + length;
    return Found::kFragment;
  }
  if (begins) {
    begin_ = page_ + at_;
    collected_.clear();
  }
  collected_.append(data);
  if (type != kFull && type != kLast) {
    within_ = true;
    at_ += kHeaderBytes + length;
    return Found::kFragment;
  }
  if ((head & kZstd) != 0) return Damage("a record is compressed with zstd; only snappy is read");
  compressed_ = (head & kSnappy) != 0 && !collected_.empty();
  if (compressed_ && !Uncompress()) return Damage("a record cannot be uncompressed");
  within_ = false;
  at_ += kHeaderBytes + length;
  record_ = compressed_ ? uncompressed_ : collected_;
  return Found::kRecord;
}

bool PrometheusWalSegment::Next() {
  while (status_.ok() && !torn_) {
    switch (Fragment()) {
      case Found::kRecord:
        return true;
      case Found::kEnd:
        return false;
      case Found::kFragment:
        break;
    }
  }
  return false;
}

}  // namespace chronolith
