#include "server/admin_handlers.h"

#include <chrono>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>

#include "base/posix_file.h"
#include "interop/label_json.h"
#include "interop/time_text.h"
#include "server/api_response.h"

namespace chronolith::server {
namespace {

// "20261122T071500Z-1a2b3c4d"
std::string SnapshotName() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  std::string name;
  for (const char c : interop::FormatTime(std::chrono::duration_cast<std::chrono::milliseconds>(now).count()).substr(0, 19)) {
    if (c != '-' && c != ':') name.push_back(c);
  }
  name += "Z-";
  std::random_device random;
  for (int i = 0; i < 8; ++i) name.push_back("0123456789abcdef"[random() % 16]);
  return name;
}

HttpResponse NoContent() { return {.status = 204}; }

// Each of these needs all shards. A worker that waited for replay would be taken from those who could be served.
class Admin {
 public:
  Admin(Storage* storage, AdminOptions options) : storage_(storage), options_(std::move(options)) {}

  HttpResponse Delete(const HttpRequest& request) const {
    const Result<ApiParameters> asked = ParseApiParameters(request);
    if (!asked.ok()) return ApiError(asked.status());
    if (asked->selectors.empty()) return ApiError(InvalidArgument("no match[] parameter provided"));
    if (const Status s = Ready(); !s.ok()) return ApiError(s);
    for (const std::vector<Matcher>& selector : asked->selectors) {
      if (const WriteResult deleted = storage_->Delete(selector, asked->range); !deleted.ok()) return ApiError(deleted.status);
    }
    return NoContent();
  }

  HttpResponse CleanTombstones(const HttpRequest& request) const {
    if (const Status s = Ready(); !s.ok()) return ApiError(s);
    CompactOptions options;
    options.cancelled = request.cancelled;
    const Result<CompactResult> compacted = storage_->Compact(options);
    if (!compacted.ok()) return ApiError(compacted.status());
    return compacted->complete ? NoContent() : ApiError(Unavailable("the server ends; what is done stays, call again"));
  }

  HttpResponse Snapshot(const HttpRequest&) const {
    if (const Status s = Ready(); !s.ok()) return ApiError(s);
    std::error_code error;
    std::filesystem::create_directories(options_.snapshot_directory, error);
    if (error) return ApiError(ErrnoStatus("cannot create " + options_.snapshot_directory, error));
    const std::string name = SnapshotName();
    if (const Status s = storage_->Snapshot(options_.snapshot_directory + "/" + name); !s.ok()) return ApiError(s);
    std::string body = R"({"status":"success","data":{"name":)";
    interop::AppendJsonString(name, &body);
    return HttpResponse::Json(200, body + "}}\n");
  }

 private:
  // Says which shards are still being replayed.
  Status Ready() const { return storage_->WaitReady(std::chrono::steady_clock::now()); }

  Storage* const storage_;
  const AdminOptions options_;
};

}  // namespace

void AddAdminHandlers(Storage* storage, const AdminOptions& options, Router* router) {
  const Admin admin(storage, options);
  const auto add = [&](const char* name, HttpResponse (Admin::*call)(const HttpRequest&) const) {
    for (const char* const method : {"POST", "PUT"}) {
      router->Add(
          {method, std::string("/api/v1/admin/tsdb/") + name, [admin, call, enabled = options.enabled](const HttpRequest& r) {
             return enabled ? (admin.*call)(r)
                            : ApiError(403, "the admin API is off: start the server with --web.enable-admin-api");
           }});
    }
  };
  add("delete_series", &Admin::Delete);
  add("clean_tombstones", &Admin::CleanTombstones);
  add("snapshot", &Admin::Snapshot);
}

}  // namespace chronolith::server
