#include "format/store_manifest.h"

#include "base/checksum.h"
#include "base/coding.h"

namespace chronolith {
namespace {

constexpr char kFormat = 2;
constexpr char kFormatWithoutCopies = 1;  // and without flags
constexpr char kComplete = 1;

}  // namespace

std::string StoreManifest::UuidHex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const char c : uuid) {
    hex.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    hex.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return hex;
}

std::string EncodeManifest(const StoreManifest& manifest) {
  std::string bytes(1, kFormat);
  bytes.append(manifest.uuid.data(), manifest.uuid.size());
  PutVarint(&bytes, manifest.incarnation);
  PutVarint(&bytes, manifest.parent);
  bytes.push_back(manifest.complete ? kComplete : '\0');
  PutVarint(&bytes, manifest.shards);
  PutVarint(&bytes, static_cast<std::uint64_t>(manifest.window_ms));
  PutBytes(&bytes, manifest.engine);
  PutBytes(&bytes, manifest.log_path);
  PutBytes(&bytes, manifest.partition_map);
  PutFixed32(&bytes, Crc32c(bytes));
  return bytes;
}

Result<StoreManifest> DecodeManifest(std::string_view bytes) {
  if (bytes.size() < 5) return DataLoss("the store's manifest is cut off");
  if (bytes[0] != kFormat && bytes[0] != kFormatWithoutCopies) {
    return FailedPrecondition("the store has format version " + std::to_string(static_cast<unsigned char>(bytes[0])) +
                              ", this build reads 1 and 2: use a newer Chronolith");
  }
  const std::string_view covered = bytes.substr(0, bytes.size() - 4);
  if (Crc32c(covered) != LoadFixed<std::uint32_t>(bytes.data() + covered.size())) {
    return DataLoss("the store's manifest has a wrong checksum");
  }
  ByteReader in(covered.substr(1));
  StoreManifest m;
  const std::string_view uuid = in.Bytes(m.uuid.size());
  if (in.ok()) std::copy(uuid.begin(), uuid.end(), m.uuid.begin());
  m.incarnation = in.Varint();
  std::uint8_t flags = 0;
  if (bytes[0] != kFormatWithoutCopies) {
    m.parent = in.Varint();
    flags = in.Fixed<std::uint8_t>();
    m.complete = flags == kComplete;
  }
  const std::uint64_t shards = in.Varint();
  m.shards = static_cast<std::uint32_t>(shards);
  m.window_ms = static_cast<std::int64_t>(in.Varint());
  m.engine = in.LengthPrefixed();
  m.log_path = in.LengthPrefixed();
  m.partition_map = in.LengthPrefixed();
  if (!in.AtEnd() || flags > kComplete || shards < 1 || shards > 31 || m.window_ms <= 0)
    return DataLoss("the store's manifest is malformed");
  return m;
}

}  // namespace chronolith
