// Chunks of exemplars: Chronolith's own encoding, version 1.
//
//   chunk     version byte = 1 | fixed32 number of exemplars | exemplars
//   exemplar  zigzag varint timestamp (first as it is, second as delta, then deltas of deltas)
//             | value XORed with the one before (0 before the first) as XOR bytes (value_codec.h)
//             | uvarint bytes that the encoded labels share with those before | uvarint length of the rest | the rest
//
// Labels stand as Labels::encoded() has them: exemplars of one series tend to differ only in the value of their last label.
#ifndef CHRONOLITH_CHUNK_EXEMPLAR_CHUNK_H_
#define CHRONOLITH_CHUNK_EXEMPLAR_CHUNK_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "chronolith/result.h"
#include "chronolith/types.h"
#include "chunk/value_codec.h"

namespace chronolith {

inline constexpr std::uint8_t kExemplarChunkVersion = 1;

// Appends to a chunk that it owns. The bytes are a whole chunk after every call. Memory: the chunk and the last labels.
// Thread safety: none; const calls may run side by side.
class ExemplarAppender {
 public:
  ExemplarAppender();

  // Adds an exemplar, in any order of time. Its labels are well-formed (writes have seen to that). O(size), amortised.
  void Append(const Exemplar& exemplar);

  // No append of `exemplar` adds more bytes than this.
  static std::size_t MaxBytes(const Exemplar& exemplar) {
    return exemplar.labels.encoded().size() + 3 * kMaxVarint64Bytes + kMaxXorBytes;
  }

  std::uint32_t count() const { return count_; }
  const std::string& data() const { return data_; }
  // Moves the chunk out and begins the next one.
  std::string Take();

 private:
  std::string data_;
  std::string last_labels_;
  std::uint64_t last_value_ = 0;
  TimeCodec time_;
  std::uint32_t count_ = 0;
};

// Reads a chunk from anywhere; never reads outside of it. The bytes must outlive the iterator. Thread safety: one thread at a time.
class ExemplarIterator {
 public:
  // No exemplars, no error.
  ExemplarIterator() : in_(std::string_view()) {}
  explicit ExemplarIterator(std::string_view chunk);

  std::uint32_t count() const { return count_; }  // as the header says

  // False at the end and after an error: kDataLoss naming the exemplar, kFailedPrecondition for a newer version.
  bool Next();
  const Exemplar& exemplar() const { return exemplar_; }
  const Status& status() const { return status_; }

 private:
  bool ReadExemplar();

  ByteReader in_;
  TimeCodec time_;
  std::uint32_t count_ = 0;
  std::uint32_t read_ = 0;
  std::uint64_t value_ = 0;
  Exemplar exemplar_;
  Status status_;
};

std::string EncodeExemplars(std::span<const Exemplar> exemplars);
Result<std::vector<Exemplar>> DecodeExemplars(std::string_view chunk);

}  // namespace chronolith

#endif  // CHRONOLITH_CHUNK_EXEMPLAR_CHUNK_H_
