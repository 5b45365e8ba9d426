// The status page: page.html with page.css and page.js put in at build time.
#ifndef CHRONOLITH_SERVER_PAGE_PAGE_H_
#define CHRONOLITH_SERVER_PAGE_PAGE_H_

#include <string_view>

namespace chronolith::server {

extern const std::string_view kStatusPage;

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PAGE_PAGE_H_
