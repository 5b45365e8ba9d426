// Reads JSON text token by token; the readers of label sets and of JSON lines are made of it.
#ifndef CHRONOLITH_INTEROP_JSON_SCAN_H_
#define CHRONOLITH_INTEROP_JSON_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "chronolith/status.h"

namespace chronolith::interop {

// Never reads outside of the text, whatever it is. Thread safety: one thread at a time.
class JsonScanner {
 public:
  explicit JsonScanner(std::string_view text) : text_(text) {}

  // kInvalidArgument: "byte 7: ...", counted from 1.
  Status Error(const std::string& what) const;

  // Blanks, then `c`: taken where it stands there.
  bool Take(char c);
  // What stands there after blanks is `c`; nothing is taken.
  bool At(char c);
  bool AtEnd();

  // A string without its quotes, escapes resolved. Valid UTF-8, without U+0000. `what` is named where there is none.
  Status String(const char* what, std::string* value);
  // A number, or a string: its text as it stands there, for the caller to make sense of. null, true and false too.
  Status Scalar(const char* what, std::string* text);
  // Any value, passed by. At most 64 levels deep.
  Status Skip();

 private:
  void SkipSpace();
  Status Escape(std::string* value);
  bool Hex4(std::uint32_t* rune);
  Status SkipNested(int levels);

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_JSON_SCAN_H_
