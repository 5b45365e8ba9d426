#include "tools/cli/replay_target.h"

#include <cstdio>
#include <utility>

#include "interop/file_sink.h"
#include "interop/time_text.h"
#include "ops/sink_database.h"
#include "ops/sink_remote_write.h"
#include "ops/sink_text.h"
#include "tools/cli/common.h"
#include "tools/cli/output.h"

namespace chronolith::cli {
namespace {

// The first line of a file: a secret, which is not to stand on a command line.
Status ReadSecret(const std::string& path, std::string* secret) {
  if (path.empty()) return Status::Ok();
  Result<std::string> text = ReadWholeFile(path);
  if (!text.ok()) return text.status();
  *secret = text->substr(0, text->find_first_of("\r\n"));
  return secret->empty() ? InvalidArgument(path + " is empty") : Status::Ok();
}

Result<std::unique_ptr<ops::RecordTarget>> MakeRemoteWrite(const TargetFlags& flags, const std::string& url,
                                                           const TargetContext& context) {
  ops::RemoteWriteTargetOptions options;
  options.http.url = url;
  options.http.version = flags.protocol == "2.0" ? interop::RemoteWriteVersion::k2 : interop::RemoteWriteVersion::k1;
  options.http.user = flags.user;
  options.http.ca_file = flags.ca_file;
  options.http.headers = flags.headers;
  options.http.user_agent = "chronolith/" CHRONOLITH_VERSION;
  if (!flags.password_file.empty() && flags.user.empty()) return InvalidArgument("--password-file needs --user");
  if (!flags.user.empty() && !flags.bearer_token_file.empty())
    return InvalidArgument("--user and --bearer-token-file exclude each other");
  if (Status s = ReadSecret(flags.password_file, &options.http.password); !s.ok()) return s;
  if (Status s = ReadSecret(flags.bearer_token_file, &options.http.bearer_token); !s.ok()) return s;
  const auto give_up_after = interop::ParseDuration(flags.give_up_after);
  if (!give_up_after.ok()) return give_up_after.status();
  options.http.give_up_after_ms = *give_up_after;
  interop::RemoteWriteHooks hooks;
  hooks.on_retry = [](const std::string& why, std::int64_t wait_ms) {
    std::fprintf(stderr, "%s; again in %s\n", why.c_str(), HumanSeconds(static_cast<double>(wait_ms) / 1000).c_str());
  };
  return ops::NewRemoteWriteTarget(std::move(options), context.cancelled, std::move(hooks));
}

// What reading the source takes is taken before, and a sixteenth is for the labels of the series that are read, and batches.
std::uint64_t ShareOfTarget(std::uint64_t limit, std::uint64_t log_bytes) {
  return limit - limit / 16 - std::min(limit / 2, log_bytes);
}

}  // namespace

Result<std::unique_ptr<ops::RecordTarget>> MakeTarget(const TargetFlags& flags, const TargetContext& context,
                                                      const ops::OfflineStore* store) {
  const std::size_t colon = flags.text.find(':');
  const std::string kind = flags.text.substr(0, colon);
  const std::string where = colon == std::string::npos ? "" : flags.text.substr(colon + 1);
  if (kind == "null" && where.empty()) return ops::NewNullTarget();
  if ((kind == "jsonl" || kind == "openmetrics") && !where.empty()) {
    if (context.resumable && where == "-") {
      return InvalidArgument("--cursor needs a file: nobody can go on with what stdout was given");
    }
    return ops::NewTextTarget({.form = kind == "jsonl" ? ops::TextForm::kJsonLines : ops::TextForm::kOpenMetrics,
                               .path = where,
                               .overwrite = flags.overwrite,
                               .resumable = context.resumable});
  }
  if (kind == "remote-write" && !where.empty()) return MakeRemoteWrite(flags, where, context);
  if (kind == "db" && !where.empty()) {
    ops::DatabaseTargetOptions options{.path = where, .source = context.source, .cancelled = context.cancelled};
    if (store != nullptr) {
      options.shards = static_cast<int>(store->shards());
      options.window_ms = store->manifest().window_ms;
      options.memory_limit_bytes = ShareOfTarget(context.memory_limit_bytes, store->LogMemoryBytes());
    }
    return ops::NewDatabaseTarget(std::move(options));
  }
  return InvalidArgument("there is no target '" + flags.text +
                         "'; expected null, jsonl:FILE, openmetrics:FILE (- is stdout), db:DIR or remote-write:URL");
}

void AddTargetFlags(CLI::App* command, TargetFlags* flags) {
  command
      ->add_option("--target", flags->text,
                   "null (default): check that all of it decodes; jsonl:FILE, openmetrics:FILE (- is stdout): text; "
                   "db:DIR: another database, created where it is missing; remote-write:URL: a Prometheus remote write endpoint")
      ->option_text("TARGET");
  command->add_flag("--overwrite", flags->overwrite, "replace a file that is there");
  CLI::Option_group* const remote = command->add_option_group("Remote write");
  remote->add_option("--protocol", flags->protocol, "1.0 (default) or 2.0")
      ->check(CLI::IsMember({"1.0", "2.0"}).description(""))
      ->option_text("VERSION");
  remote
      ->add_option("--header", flags->headers,
                   "sent with each request, such as 'X-Scope-OrgID: team-1'; may be given several times")
      ->option_text("HEADER");
  remote->add_option("--user", flags->user, "for HTTP basic authentication")->option_text("NAME");
  remote->add_option("--password-file", flags->password_file, "its password is the first line of this file")->option_text("FILE");
  remote->add_option("--bearer-token-file", flags->bearer_token_file, "a bearer token is the first line of this file")
      ->option_text("FILE");
  remote->add_option("--ca-file", flags->ca_file, "certificate authorities to trust in place of the system's, PEM")
      ->option_text("FILE");
  remote
      ->add_option("--give-up-after", flags->give_up_after,
                   "end a shard where a request has not got through for so long (10m; 0s: never)")
      ->option_text("DURATION");
}

}  // namespace chronolith::cli
