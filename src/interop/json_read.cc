#include "interop/json_read.h"

namespace chronolith::interop {

Status JsonText::String(ondemand::value value, const char* what, std::string* text) {
  std::string_view view;
  const auto error = value.get_string().get(view);
  if (error) return Unexpected(error, std::string(what) + " in double quotes");
  if (view.find('\0') != std::string_view::npos) return Error("the string has a zero character");
  text->assign(view);
  return Status::Ok();
}

Status JsonText::Scalar(ondemand::value value, const char* what, std::string* text) {
  ondemand::json_type type{};
  if (value.type().get(type) || type == ondemand::json_type::array || type == ondemand::json_type::object) {
    return Error(std::string("expected ") + what);
  }
  if (type == ondemand::json_type::string) return String(value, what, text);
  const std::string_view token = value.raw_json_token();
  text->assign(token.substr(0, token.find_last_not_of(" \t\r\n") + 1));
  return Status::Ok();
}

Status JsonText::Error(const std::string& what) {
  const char* at = nullptr;
  if (document_.is_alive() && !document_.current_location().get(at)) {
    return InvalidArgument("byte " + std::to_string(at - padded_.data() + 1) + ": " + what);
  }
  return InvalidArgument(what);
}

}  // namespace chronolith::interop
