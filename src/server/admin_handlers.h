// What changes or copies the database as a whole, as Prometheus' admin API has it: delete_series, clean_tombstones, snapshot.
#ifndef CHRONOLITH_SERVER_ADMIN_HANDLERS_H_
#define CHRONOLITH_SERVER_ADMIN_HANDLERS_H_

#include <string>

#include "chronolith/storage.h"
#include "server/router.h"

namespace chronolith::server {

struct AdminOptions {
  bool enabled = false;            // else each call is answered 403
  std::string snapshot_directory;  // holds the copies; created where it is missing
};

// POST and PUT. `storage` must outlive the router.
void AddAdminHandlers(Storage* storage, const AdminOptions& options, Router* router);

}  // namespace chronolith::server

#endif  // CHRONOLITH_SERVER_ADMIN_HANDLERS_H_
