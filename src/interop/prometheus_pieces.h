// Series of a block that come in pieces, each in order within itself, put in one order. For a store that is read piece by piece.
#ifndef CHRONOLITH_INTEROP_PROMETHEUS_PIECES_H_
#define CHRONOLITH_INTEROP_PROMETHEUS_PIECES_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "interop/prometheus_index.h"
#include "interop/spool_file.h"

namespace chronolith {

// The series wait in one file: fixed32 length | labels, length-prefixed | of each chunk 24 bytes. Memory:
// SpoolReader::BufferBytes, while they are merged. Thread safety: one thread at a time.
class PrometheusSeriesPieces {
 public:
  using Visit = std::function<Status(const Labels& labels, std::span<const PrometheusChunkRef> chunks)>;

  // The file must not exist, and is removed in the end.
  explicit PrometheusSeriesPieces(std::string file) : file_(std::move(file)) {}

  // Of the piece at hand.
  Status Add(const Labels& labels, std::span<const PrometheusChunkRef> chunks);
  // What comes now is the next piece.
  void EndPiece();
  // All series in order of labels, where each piece was; else `visit` sees the disorder. Once.
  Status Merge(const Visit& visit);

 private:
  class Reader;
  SpoolFile file_;
  std::vector<std::uint64_t> ends_;  // of pieces in the file
};

}  // namespace chronolith

#endif  // CHRONOLITH_INTEROP_PROMETHEUS_PIECES_H_
