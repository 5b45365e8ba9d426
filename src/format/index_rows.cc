#include "format/index_rows.h"

#include <algorithm>

#include "base/checksum.h"
#include "base/coding.h"
#include "base/hash.h"
#include "chronolith/labels.h"
#include "format/row_keys.h"

namespace chronolith::index_rows {
namespace {

constexpr char kEscape = '\0';
constexpr char kEscapedNul = '\xff';
constexpr char kEnd = '\x01';
constexpr char kFolded = '\x02';
constexpr std::size_t kEnvelopeBytes = 1 + sizeof(std::uint32_t);

// Appends escaped bytes while they fit in `room`; false where some were left out.
bool AppendEscaped(std::string_view bytes, std::size_t room, std::string* key) {
  for (const char c : bytes) {
    const std::size_t need = c == kEscape ? 2 : 1;
    if (room < need) return false;
    room -= need;
    key->push_back(c);
    if (c == kEscape) key->push_back(kEscapedNul);
  }
  return true;
}

// True where the component had to be folded.
bool AppendComponent(std::string_view bytes, std::size_t room, std::string* key) {
  const bool folded = !AppendEscaped(bytes, room, key);
  key->push_back(kEscape);
  key->push_back(folded ? kFolded : kEnd);
  if (folded) PutBigEndian64(key, StableHash(bytes));
  return folded;
}

bool ParseComponent(std::string_view* rest, std::string* bytes, bool* folded) {
  while (rest->size() >= 2) {
    if (rest->front() != kEscape) {
      bytes->push_back(rest->front());
      rest->remove_prefix(1);
      continue;
    }
    const char kind = (*rest)[1];
    rest->remove_prefix(2);
    if (kind == kEscapedNul) {
      bytes->push_back('\0');
    } else if (kind == kEnd) {
      *folded = false;
      return true;
    } else if (kind == kFolded && rest->size() >= sizeof(std::uint64_t)) {
      *folded = true;
      rest->remove_prefix(sizeof(std::uint64_t));
      return true;
    } else {
      return false;
    }
  }
  return false;
}

}  // namespace

std::string PrintableKey(std::string_view key) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : key.substr(0, 80)) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      text.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      text.append("\\x").push_back(kHex[byte >> 4]);
      text.push_back(kHex[byte & 15]);
    }
  }
  return key.size() > 80 ? text.append("...") : text;
}

Status Damaged(std::string_view key, std::string_view what) {
  return DataLoss("index row '" + PrintableKey(key) + "': " + std::string(what));
}

void BeginValue(std::string* value) { value->push_back(static_cast<char>(kVersion)); }

void SealValue(std::string_view key, std::string* value, std::size_t begin) {
  PutFixed32(value, Crc32c(std::string_view(*value).substr(begin), Crc32c(key)));
}

Status OpenValue(std::string_view key, std::string_view value, std::string_view* payload) {
  if (value.size() < kEnvelopeBytes) return Damaged(key, "value is cut short");
  const std::string_view covered = value.substr(0, value.size() - sizeof(std::uint32_t));
  if (Crc32c(covered, Crc32c(key)) != LoadFixed<std::uint32_t>(value.data() + covered.size())) {
    return Damaged(key, "checksum does not match");
  }
  const auto version = static_cast<std::uint8_t>(covered[0]);
  if (version > kVersion) {
    return FailedPrecondition("index row '" + PrintableKey(key) + "' has format version " + std::to_string(version) +
                              "; this build reads up to " + std::to_string(kVersion));
  }
  if (version == 0) return Damaged(key, "format version 0");
  *payload = covered.substr(1);
  return Status::Ok();
}

// ---- Keys ----

std::string StateKey() { return std::string(1, kStatePrefix); }

std::string OrdinalKey(char prefix, Ordinal ordinal) {
  std::string key(1, prefix);
  PutBigEndian32(&key, ordinal);
  return key;
}

std::string PartKey(char prefix, Ordinal ordinal, std::uint16_t part) {
  std::string key = OrdinalKey(prefix, ordinal);
  AppendHigh(part, &key);
  return key;
}

void AppendHashKey(std::uint64_t hash, std::string* key) {
  key->push_back(kHashPrefix);
  PutBigEndian64(key, hash);
}

bool ParseHashKey(std::string_view key, std::uint64_t* hash) {
  if (key.size() != 9 || key.front() != kHashPrefix) return false;
  *hash = LoadBigEndian<std::uint64_t>(key.data() + 1);
  return true;
}

bool ParseOrdinalKey(std::string_view key, Ordinal* ordinal, std::uint16_t* part) {
  if ((key.size() != 5 && key.size() != 7) || (key.front() != kLabelsPrefix && key.front() != kMetadataPrefix)) return false;
  *ordinal = LoadBigEndian<Ordinal>(key.data() + 1);
  *part = key.size() == 5 ? 0 : LoadBigEndian<std::uint16_t>(key.data() + 5);
  return true;
}

PairKey MakePairKey(std::string_view name, std::string_view value) {
  PairKey key;
  key.bytes.reserve(name.size() + value.size() + 8);
  key.bytes.push_back(kPostingsPrefix);
  const bool name_folded = AppendComponent(name, kNameBytesMax, &key.bytes);
  const bool value_folded = AppendComponent(value, kValueBytesMax, &key.bytes);
  if (name_folded || value_folded) Labels::AppendEncoded(name, value, &key.text);
  return key;
}

void AppendHigh(std::uint16_t high, std::string* key) {
  char b[2];
  StoreBigEndian(b, high);
  key->append(b, 2);
}

std::string PairKeyPrefix(std::string_view name, std::string_view value_prefix) {
  std::string key(1, kPostingsPrefix);
  AppendComponent(name, kNameBytesMax, &key);
  AppendEscaped(value_prefix, kValueBytesMax, &key);  // what does not fit is not in the keys either
  return key;
}

std::string NameKeyPrefix(std::string_view name_prefix) {
  std::string key(1, kPostingsPrefix);
  AppendEscaped(name_prefix, kNameBytesMax, &key);
  return key;
}

std::string PrefixEnd(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

bool ParsePairKey(std::string_view key, ParsedPairKey* parsed) {
  parsed->name.clear();
  parsed->value.clear();
  if (key.empty() || key.front() != kPostingsPrefix) return false;
  std::string_view rest = key.substr(1);
  if (!ParseComponent(&rest, &parsed->name, &parsed->name_folded)) return false;
  parsed->name_end = key.size() - rest.size();
  if (!ParseComponent(&rest, &parsed->value, &parsed->value_folded) || rest.size() != 2) return false;
  parsed->high = LoadBigEndian<std::uint16_t>(rest.data());
  return true;
}

// ---- State ----

std::string EncodeState(const State& state) {
  std::string value;
  BeginValue(&value);
  PutVarint(&value, state.applied_lsn);
  PutVarint(&value, state.next_ordinal);
  PutVarint(&value, state.series);
  SealValue(StateKey(), &value);
  return value;
}

Result<State> DecodeState(std::string_view value) {
  std::string_view payload;
  if (Status s = OpenValue(StateKey(), value, &payload); !s.ok()) return s;
  ByteReader reader(payload);
  State state;
  state.applied_lsn = reader.Varint();
  state.next_ordinal = reader.Varint();
  state.series = reader.Varint();
  if (!reader.AtEnd()) return Damaged(StateKey(), "malformed state");
  return state;
}

// ---- Long rows ----

void AppendLongHead(const LongRow& row, std::uint64_t total, std::uint64_t parts, std::string* payload) {
  payload->push_back(row.removed ? 1 : 0);
  PutVarint(payload, row.removed_lsn);
  PutFixed64(payload, row.hash);
  PutVarint(payload, total);
  PutVarint(payload, parts);
}

void EncodeLongRow(char prefix, Ordinal ordinal, const LongRow& row, std::string_view bytes,
                   std::vector<std::pair<std::string, std::string>>* rows) {
  const std::size_t parts = std::max<std::size_t>(1, (bytes.size() + kPartBytesMax - 1) / kPartBytesMax);
  std::string value;
  BeginValue(&value);
  AppendLongHead(row, bytes.size(), parts, &value);
  value.append(bytes.substr(0, kPartBytesMax));
  std::string key = OrdinalKey(prefix, ordinal);
  SealValue(key, &value);
  rows->emplace_back(std::move(key), std::move(value));
  for (std::size_t part = 1; part < parts; ++part) {
    std::string part_value;
    BeginValue(&part_value);
    part_value.append(bytes.substr(part * kPartBytesMax, kPartBytesMax));
    std::string part_key = PartKey(prefix, ordinal, static_cast<std::uint16_t>(part));
    SealValue(part_key, &part_value);
    rows->emplace_back(std::move(part_key), std::move(part_value));
  }
}

Status DecodeLongRow(std::string_view key, std::string_view value, LongRow* row) {
  std::string_view payload;
  if (Status s = OpenValue(key, value, &payload); !s.ok()) return s;
  ByteReader reader(payload);
  const auto flags = reader.Fixed<std::uint8_t>();
  row->removed = (flags & 1) != 0;
  row->removed_lsn = reader.Varint();
  row->hash = reader.Fixed<std::uint64_t>();
  row->total = reader.Varint();
  row->parts = reader.Varint();
  if (!reader.ok() || row->parts == 0 || row->parts > 0xffff || flags > 1) return Damaged(key, "malformed row");
  row->bytes.assign(reader.position(), reader.remaining());
  return Status::Ok();
}

Status AppendPart(std::string_view key, std::string_view value, LongRow* row) {
  std::string_view payload;
  if (Status s = OpenValue(key, value, &payload); !s.ok()) return s;
  row->bytes.append(payload);
  return Status::Ok();
}

Status CheckComplete(std::string_view key, const LongRow& row) {
  return row.bytes.size() == row.total ? Status::Ok() : Damaged(key, "its parts do not add up");
}

void EncodeMetadata(const Metadata& metadata, std::string* bytes) {
  bytes->push_back(static_cast<char>(metadata.type));
  PutBytes(bytes, metadata.unit);
  PutBytes(bytes, metadata.help);
}

bool DecodeMetadata(std::string_view bytes, Metadata* metadata) {
  ByteReader reader(bytes);
  const auto type = reader.Fixed<std::uint8_t>();
  metadata->type = static_cast<MetricType>(type);
  metadata->unit = reader.LengthPrefixed();
  metadata->help = reader.LengthPrefixed();
  return reader.AtEnd() && type <= static_cast<std::uint8_t>(MetricType::kStateSet);
}

}  // namespace chronolith::index_rows
