// The status page at /, and the figures that it shows.
#ifndef CHRONOLITH_SERVER_PAGE_PAGE_HANDLERS_H_
#define CHRONOLITH_SERVER_PAGE_PAGE_HANDLERS_H_

#include <string>
#include <vector>

#include "chronolith/storage.h"
#include "server/live_cardinality.h"
#include "server/page/status_history.h"
#include "server/router.h"

namespace chronolith::server {

struct PageParts {
  Storage* storage = nullptr;
  const StatusHistory* history = nullptr;
  LiveCardinality* cardinality = nullptr;
  std::vector<std::string> directories;  // whose disks the page watches: of the store, of its log
};

// /                                     the page, whole in itself
// /api/v1/status/page?since=MS&shard=N  what it shows now, and the history later than `since` (all where there is none), with that
// of
//                                       shard N where it is asked for. JSON; for the page, and as stable as the page is.
// /api/v1/status/page/cardinality       top metrics and labels; 503 with {"error"} while they cannot be counted
// All must outlive the server.
void AddPageHandlers(const PageParts& parts, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_PAGE_PAGE_HANDLERS_H_
