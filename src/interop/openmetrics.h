// Reads metrics in text form: OpenMetrics 1.0 and the Prometheus text format 0.0.4.
//
//   Sink sink;                                     // what becomes of the samples
//   ExpositionParser parser({}, &sink);
//   while (... read a block of bytes ...) parser.Feed(bytes);
//   parser.Finish();
//
// The two formats differ in what can hang on the choice: a timestamp counts milliseconds in Prometheus text and seconds in
// OpenMetrics. See DetectTextFormat. Otherwise the parser is as tolerant as Prometheus' own: CRLF, blanks, comments, a missing last
// newline, several expositions one behind the other (concatenated scrapes), {__name__="up"} as `promtool tsdb dump` prints it.
//
// A bad line is refused, reported with its number, and the rest is kept; see ParserOptions::strict.
#ifndef CHRONOLITH_INTEROP_OPENMETRICS_H_
#define CHRONOLITH_INTEROP_OPENMETRICS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "chronolith/labels.h"
#include "chronolith/result.h"
#include "chronolith/status.h"
#include "chronolith/types.h"

namespace chronolith::interop {

enum class TextFormat : std::uint8_t { kAuto, kPrometheus, kOpenMetrics };

// Decides by the first bytes of an input; `complete`: there are no more. In this order: what only one of the formats has ("# EOF",
// "# UNIT", an exemplar, a timestamp with a fraction, a type of its own); an input that ends without "# EOF" is Prometheus text;
// else the first timestamp: below 1e11 it is seconds (as ms it would lie before March 1973), otherwise milliseconds.
TextFormat DetectTextFormat(std::string_view prefix, bool complete);

// Receives what is read, on the thread that calls Feed. An error refuses the line and is reported through OnRefused.
class ExpositionSink {
 public:
  virtual ~ExpositionSink();

  // A series that the parser has no handle for. Answer any number that stands for it until OnForgetSeries. The same labels may be
  // announced several times. Empty labels and duplicate names never come here.
  virtual Result<std::uint64_t> OnSeries(const Labels& labels) = 0;
  // What "# TYPE", "# HELP" and "# UNIT" lines said of the series' family: before its first sample, and again where it changed.
  virtual Status OnMetadata(std::uint64_t series, std::uint64_t line, const Metadata& metadata) = 0;
  virtual Status OnSample(std::uint64_t series, std::uint64_t line, Sample sample) = 0;
  // Follows the sample on the same line.
  virtual Status OnExemplar(std::uint64_t series, std::uint64_t line, Exemplar exemplar) = 0;
  // All handles given so far are forgotten.
  virtual void OnForgetSeries() {}
  // `reason` names the culprit, not the line.
  virtual void OnRefused(std::uint64_t line, const Status& reason) = 0;
};

struct ParserOptions {
  TextFormat format = TextFormat::kAuto;
  // For samples without a timestamp; none: they are refused.
  std::optional<Timestamp> default_timestamp;
  bool strict = false;  // the first refused line ends the input: Feed and Finish return its reason from then on
  std::size_t max_line_bytes = 1 << 20;
  // Bound on the text of series that are remembered, so that repeated lines need not be parsed again. Beyond: all are forgotten.
  std::size_t series_cache_bytes = 128 << 20;
};

struct ParserStats {
  std::uint64_t lines = 0;
  std::uint64_t samples = 0;
  std::uint64_t exemplars = 0;
  std::uint64_t refused = 0;  // lines, and exemplars whose sample was kept
};

// Memory is bounded by the options, whatever comes in. After Finish another input may be fed: line numbers start again, remembered
// series stay. Thread safety: one thread at a time.
class ExpositionParser {
 public:
  // `sink` must outlive the parser.
  ExpositionParser(const ParserOptions& options, ExpositionSink* sink);
  ~ExpositionParser();
  ExpositionParser(const ExpositionParser&) = delete;
  ExpositionParser& operator=(const ExpositionParser&) = delete;

  // The format of the next input; before its first Feed.
  void SetFormat(TextFormat format);
  // Any number of bytes; lines may be cut anywhere. Not ok only in strict mode: "line 7: ...".
  Status Feed(std::string_view bytes);
  // The end of one input.
  Status Finish();
  // The same for an input that was cut off: the beginning of a line that it may have ended with is not taken.
  void Abandon();

  const ParserStats& stats() const;  // of all inputs
  TextFormat format() const;         // of the current or last input; kAuto while undecided
  bool eof_seen() const;             // "# EOF" was the last line of content: an OpenMetrics input without it was cut off

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_OPENMETRICS_H_
