# cmake -DDIR=... -DOUT=... -P embed.cmake: one HTML of page.html, page.css and page.js, as a C++ string.
foreach(part html css js)
  file(READ ${DIR}/page.${part} ${part})
endforeach()
string(REPLACE "/*page.css*/" "${css}" html "${html}")
string(REPLACE "/*page.js*/" "${js}" html "${html}")
file(WRITE ${OUT} "#include \"server/page/page.h\"\n\nnamespace chronolith::server {\n
const std::string_view kStatusPage = R\"page(${html})page\";\n\n}  // namespace chronolith::server\n")
