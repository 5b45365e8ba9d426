// Text input of a command: a file or stdin, gzip recognised by its first bytes.
#ifndef CHRONOLITH_TOOLS_CLI_INPUT_H_
#define CHRONOLITH_TOOLS_CLI_INPUT_H_

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

  // The next piece, valid until the next call; empty at the end. A cut-off or damaged gzip file is kDataLoss.
  Result<std::string_view> Next();

  // What the ends of the file tell of its format: known for plain files, kAuto for streams and compressed ones, whose end cannot be
  // looked at beforehand.
  interop::TextFormat format() const { return format_; }
  std::uint64_t bytes() const { return bytes_; }  // read so far, uncompressed
  std::uint64_t file_bytes() const;               // of them as they lie in the file

 private:
  explicit TextInput(std::string name) : name_(std::move(name)), buffer_(256 << 10) {}
  void LookAtEnds(int fd);

  std::string name_;
  void* file_ = nullptr;  // gzFile: reads what is not compressed as it is
  std::vector<char> buffer_;
  interop::TextFormat format_ = interop::TextFormat::kAuto;
  std::uint64_t bytes_ = 0;
};

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_INPUT_H_
