// What the readers of JSON here share: a line that simdjson reads on demand, with errors that say where. Included by sources only.
#ifndef CHRONOLITH_INTEROP_JSON_READ_H_
#define CHRONOLITH_INTEROP_JSON_READ_H_

#include <simdjson.h>

#include <string>
#include <string_view>

#include "chronolith/result.h"

namespace chronolith::interop {

namespace ondemand = simdjson::ondemand;

// One JSON text, read once, from its begin to its end. Memory: about six times the text. Thread safety: one thread at a time.
class JsonText {
 public:
  explicit JsonText(std::string_view text) : padded_(text) {}

  // The object that is all of the text; see ReadObject.
  template <typename Read>
  Status ReadAll(Read read) {
    if (const auto error = parser_.iterate(padded_).get(document_); error) return Error(error);
    ondemand::object object;
    if (const auto error = document_.get_object().get(object); error) return Unexpected(error, "an object, {...}");
    if (Status s = ReadObject(object, read); !s.ok()) return s;
    const char* rest = nullptr;
    const bool at_end = document_.current_location().get(rest) == simdjson::OUT_OF_BOUNDS;
    return at_end ? Status::Ok() : Error("expected the end");
  }

  // Calls `read` with the name and value of each member; values that it leaves alone are passed by.
  template <typename Read>
  Status ReadObject(ondemand::object object, Read read) {
    for (auto member : object) {
      std::string_view name;
      ondemand::value value;
      if (const auto error = member.unescaped_key().get(name); error) return Error(error);
      if (const auto error = member.value().get(value); error) return Error(error);
      if (Status s = read(name, value); !s.ok()) return s;
    }
    return Status::Ok();
  }
  template <typename Read>
  Status ReadObject(ondemand::value value, Read read) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object); error) return Unexpected(error, "an object, {...}");
    return ReadObject(object, read);
  }
  // Calls `read` with each value.
  template <typename Read>
  Status ReadArray(ondemand::value value, Read read) {
    ondemand::array array;
    if (const auto error = value.get_array().get(array); error) return Unexpected(error, "a list, [...]");
    for (auto item : array) {
      ondemand::value element;
      if (const auto error = item.get(element); error) return Error(error);
      if (Status s = read(element); !s.ok()) return s;
    }
    return Status::Ok();
  }

  // A string without its quotes, escapes resolved; valid UTF-8 without U+0000. `what` is named where there is none.
  Status String(ondemand::value value, const char* what, std::string* text);
  // A number, a string, null, true or false: its text, for the caller to make sense of.
  Status Scalar(ondemand::value value, const char* what, std::string* text);

  // kInvalidArgument: "byte 7: ...", counted from 1, where the place is known.
  Status Error(const std::string& what);
  Status Error(simdjson::error_code error) { return Error(std::string(simdjson::error_message(error))); }

 private:
  Status Unexpected(simdjson::error_code error, const std::string& wanted) {
    return error == simdjson::INCORRECT_TYPE ? Error("expected " + wanted) : Error(error);
  }

  const simdjson::padded_string padded_;
  ondemand::parser parser_;
  ondemand::document document_;
};

}  // namespace chronolith::interop

#endif  // CHRONOLITH_INTEROP_JSON_READ_H_
