// Text input of a command: a file or stdin, gzip recognised by its first bytes.
#ifndef CHRONOLITH_TOOLS_CLI_INPUT_H_
#define CHRONOLITH_TOOLS_CLI_INPUT_H_

#include <zlib.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronolith/result.h"
#include "interop/openmetrics.h"

namespace chronolith::cli {

class TextInput {
 public:
  // "-" is stdin. Errors name the file.
  static Result<std::unique_ptr<TextInput>> Open(const std::string& path);
  ~TextInput();
  TextInput(const TextInput&) = delete;
  TextInput& operator=(const TextInput&) = delete;

  // The next piece, valid until the next call; empty at the end. Of a stream: what has come, as soon as it has. A cut-off or
  // damaged gzip file is kDataLoss; kCancelled: interrupted.
  Result<std::string_view> Next();

  // What the ends of the file tell of its format: known for plain files, kAuto for streams and compressed ones, whose end cannot be
  // looked at beforehand.
  interop::TextFormat format() const { return format_; }
  std::uint64_t bytes() const { return bytes_; }            // read so far, uncompressed
  std::uint64_t file_bytes() const { return file_bytes_; }  // of them as they lie in the file

 private:
  enum class Form : std::uint8_t { kUnknown, kPlain, kGzip };
  static constexpr std::size_t kPieceBytes = 256 << 10;

  TextInput(std::string name, int fd) : name_(std::move(name)), fd_(fd), raw_(kPieceBytes) {}
  void LookAtEnds();
  // Puts more bytes behind what is left of raw_; none at the end.
  Status Fill();
  // With at least two bytes, but at the end.
  Status FillForMagic();
  std::string_view TakeRaw();
  // Where a gzip member follows: in_member_. What stands behind the last one is passed by.
  Status BeginMember();
  Result<std::string_view> Inflate();  // empty: the member ended

  const std::string name_;
  const int fd_;
  Form form_ = Form::kUnknown;
  std::vector<char> raw_;  // bytes of the file: those of [raw_begin_, raw_end_) are not taken yet
  std::size_t raw_begin_ = 0;
  std::size_t raw_end_ = 0;
  bool ended_ = false;
  z_stream zip_{};
  bool in_member_ = false;
  std::vector<char> text_;  // what was compressed
  interop::TextFormat format_ = interop::TextFormat::kAuto;
  std::uint64_t bytes_ = 0;
  std::uint64_t file_bytes_ = 0;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INPUT_H_
