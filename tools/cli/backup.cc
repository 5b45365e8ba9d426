// chronolith backup, restore: copies of a database that are made beside its writer, and databases made of them.
#include "ops/backup.h"

#include <sys/resource.h>

#include <cstdio>
#include <string>

#include "interop/time_text.h"
#include "ops/restore.h"
#include "tools/cli/common.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/measure.h"
#include "tools/cli/output.h"
#include "tools/cli/store.h"
#include "tools/cli/work_progress.h"

namespace chronolith::cli {

namespace {

struct BackupFlags {
  std::string db;
  std::string log_dir;
  std::string to;
  std::string from;  // list, verify, restore
  bool link = false;
  std::string archive;  // restore
  std::string to_time;
  bool allow_earlier = false;
  bool dry_run = false;
  std::uint64_t rate_limit = 0;
  std::uint64_t memory_limit = kToolMemoryBytes;
  Format format = Format::kTable;
};

ops::OpsContext MakeContext(const BackupFlags& flags, WorkProgress* progress) {
  ops::OpsContext context;
  context.cancelled = InterruptFlag();
  context.progress = progress;
  context.memory_limit_bytes = flags.memory_limit;
  context.logger = MakeOptions({}).logger;
  return context;
}

// Each file of the database is held open meanwhile.
void AllowManyOpenFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int Backup(const BackupFlags& flags) {
  AllowManyOpenFiles();
  Result<ops::BackupReport> made = Unavailable("");
  Stopwatch watch;
  watch.Start();
  {
    WorkProgress progress;
    ops::BackupOptions options;
    options.log_path = flags.log_dir;
    options.link_tables = flags.link;
    options.dry_run = flags.dry_run;
    options.bytes_per_second = flags.rate_limit;
    made = ops::MakeBackup(flags.db, flags.to, options, MakeContext(flags, &progress));
  }
  if (!made.ok()) return FailOrUsage(made.status(), "the same command goes on with what was copied");
  const ops::BackupReport& report = *made;
  const ops::BackupManifest& backup = report.manifest;
  const struct {
    const char* name;
    std::uint64_t files, bytes;
  } kParts[] = {{"copied", report.files_copied, report.bytes_copied},
                {"shared", report.files_shared, report.bytes_shared},
                {"linked", report.files_linked, report.bytes_linked},
                {"resumed", report.files_resumed, report.bytes_resumed}};
  Output out;
  if (flags.format == Format::kJson) {
    JsonWriter json(&out);
    json.BeginObject().Key("id").String(backup.id).Key("path").String(report.path).Key("store").String(backup.uuid);
    json.Key("dry_run")
        .Bool(flags.dry_run)
        .Key("incarnation")
        .String(std::to_string(backup.incarnation))
        .Key("taken_ms")
        .Integer(backup.taken_ms);
    json.Key("parent").String(backup.parent).Key("shards").Unsigned(backup.shards).Key("series").Unsigned(report.series);
    json.Key("files").Unsigned(backup.files.size()).Key("bytes").Unsigned(backup.bytes());
    for (const auto& part : kParts) {
      json.Key(std::string("files_") + part.name).Unsigned(part.files);
      json.Key(std::string("bytes_") + part.name).Unsigned(part.bytes);
    }
    json.Key("attempts").Unsigned(static_cast<std::uint64_t>(report.attempts)).Key("seconds").Double(watch.ElapsedSeconds());
    json.EndObject().Newline();
  } else {
    Table table(
        {flags.dry_run ? "would be made" : "backup", "taken", "series", "files", "bytes", "copied", "shared", "linked", "resumed"});
    const bool csv = flags.format == Format::kCsv;
    const auto bytes = [&](std::uint64_t n) { return csv ? std::to_string(n) : HumanBytes(n); };
    std::vector<std::string> row = {report.path, interop::FormatTime(backup.taken_ms),
                                    flags.dry_run ? "" : std::to_string(report.series), std::to_string(backup.files.size()),
                                    bytes(backup.bytes())};
    for (const auto& part : kParts) row.push_back(bytes(part.bytes));
    table.Add(std::move(row));
    table.Print(csv, &out);
  }
  return Finish(&out, kExitOk);
}

int List(const BackupFlags& flags) {
  const Result<std::vector<ops::BackupEntry>> entries = ops::ListBackups(flags.from);
  if (!entries.ok()) return Fail(entries.status());
  int code = kExitOk;
  const auto state = [](const ops::BackupEntry& e) { return !e.complete ? "incomplete" : e.status.ok() ? "complete" : "damaged"; };
  Output out;
  JsonWriter json(&out);
  Table table({"backup", "state", "taken", "store", "incarnation", "files", "bytes", "parent"});
  if (flags.format == Format::kJson) json.BeginArray();
  for (const ops::BackupEntry& entry : *entries) {
    if (entry.complete && !entry.status.ok()) {
      PrintError(entry.status.message());
      code = kExitProblems;
    }
    const ops::BackupManifest& m = entry.manifest;
    if (flags.format == Format::kJson) {
      json.BeginObject().Key("id").String(entry.id).Key("state").String(state(entry)).Key("taken_ms").Integer(m.taken_ms);
      json.Key("store").String(m.uuid).Key("incarnation").String(std::to_string(m.incarnation));
      json.Key("files").Unsigned(m.files.size()).Key("bytes").Unsigned(m.bytes()).Key("parent").String(m.parent).EndObject();
    } else {
      const std::string bytes = flags.format == Format::kCsv ? std::to_string(m.bytes()) : HumanBytes(m.bytes());
      table.Add({entry.id, state(entry), entry.status.ok() ? interop::FormatTime(m.taken_ms) : "", m.uuid,
                 std::to_string(m.incarnation), std::to_string(m.files.size()), bytes, m.parent});
    }
  }
  if (flags.format == Format::kJson) {
    json.EndArray().Newline();
  } else {
    table.Print(flags.format == Format::kCsv, &out);
  }
  return Finish(&out, code);
}

int Verify(const BackupFlags& flags) {
  Result<ops::BackupVerification> verified = Unavailable("");
  {
    WorkProgress progress;
    verified = ops::VerifyBackup(flags.from, flags.rate_limit, MakeContext(flags, &progress));
  }
  if (!verified.ok()) return FailOrInterrupted(verified.status(), "nothing is known of the files that were not read");
  Output out;
  if (flags.format == Format::kJson) {
    JsonWriter json(&out);
    json.BeginObject().Key("path").String(verified->path).Key("files").Unsigned(verified->manifest.files.size());
    json.Key("bytes").Unsigned(verified->bytes).Key("problems").BeginArray();
    for (const ops::BackupProblem& problem : verified->problems) {
      json.BeginObject().Key("file").String(problem.file).Key("problem").String(problem.status.message()).EndObject();
    }
    json.EndArray().EndObject().Newline();
  } else if (flags.format == Format::kCsv) {
    Table table({"file", "problem"});
    for (const ops::BackupProblem& problem : verified->problems) table.Add({problem.file, problem.status.message()});
    table.PrintCsv(&out);
  } else {
    for (const ops::BackupProblem& problem : verified->problems) out << problem.file << ": " << problem.status.message() << "\n";
    out << verified->path << ": " << std::to_string(verified->manifest.files.size()) << " files, " << HumanBytes(verified->bytes)
        << " read, " << std::to_string(verified->problems.size()) << " problems\n";
  }
  return Finish(&out, verified->problems.empty() ? kExitOk : kExitProblems);
}

void PrintRestored(const BackupFlags& flags, const ops::RestoreReport& report, Output* out) {
  std::uint64_t series = 0;
  std::uint64_t replayed = 0;
  for (const ShardStats& shard : report.stats.shards) {
    series += shard.series_total;
    replayed += shard.replayed_records;
  }
  const bool point = !flags.archive.empty();
  if (flags.format == Format::kJson) {
    JsonWriter json(out);
    json.BeginObject().Key("backup").String(report.backup.id).Key("path").String(flags.to).Key("store").String(report.backup.uuid);
    json.Key("dry_run").Bool(flags.dry_run).Key("incarnation").String(std::to_string(report.store.incarnation));
    json.Key("incarnation_of_backup").String(std::to_string(report.backup.incarnation));
    json.Key("taken_ms").Integer(report.backup.taken_ms).Key("shards").Unsigned(report.backup.shards);
    json.Key("series").Unsigned(series).Key("replayed_records").Unsigned(replayed);
    json.Key("backup_bytes").Unsigned(report.backup.bytes());
    json.Key("files_copied").Unsigned(report.files).Key("bytes_copied").Unsigned(report.bytes);
    json.Key("files_resumed").Unsigned(report.files_resumed).Key("bytes_resumed").Unsigned(report.bytes_resumed);
    if (point) {
      json.Key("archived_rows").Unsigned(report.archived_rows).Key("archived_bytes").Unsigned(report.archived_bytes);
      json.Key("reached_ms").Integer(report.reached_ms).Key("shortfall").String(report.shortfall.message());
      json.Key("passed_by").BeginArray();
      for (const std::string& why : report.passed_by) json.String(why);
      json.EndArray();
    }
    json.EndObject().Newline();
    return;
  }
  const bool csv = flags.format == Format::kCsv;
  const auto bytes = [&](std::uint64_t n) { return csv ? std::to_string(n) : HumanBytes(n); };
  std::vector<std::string> header = {flags.dry_run ? "would become" : "database", "of backup", "taken", "shards", "bytes"};
  std::vector<std::string> row = {flags.to, report.backup.id, interop::FormatTime(report.backup.taken_ms),
                                  std::to_string(report.backup.shards), bytes(report.backup.bytes())};
  if (point) {
    header.insert(header.end(), {"archived rows", "bytes", "as of"});
    row.insert(row.end(),
               {std::to_string(report.archived_rows), bytes(report.archived_bytes), interop::FormatTime(report.reached_ms)});
  }
  if (!flags.dry_run) {
    header.insert(header.end(), {"incarnation", "series"});
    row.insert(row.end(), {std::to_string(report.store.incarnation), std::to_string(series)});
  }
  Table table(std::move(header));
  table.Add(std::move(row));
  table.Print(csv, out);
}

int Restore(const BackupFlags& flags) {
  ops::RestoreOptions options;
  options.bytes_per_second = flags.rate_limit;
  options.dry_run = flags.dry_run;
  if (!flags.archive.empty()) {
    options.point = ops::PointInTime{.archive = flags.archive, .to_ms = {}, .allow_earlier = flags.allow_earlier};
    if (!flags.to_time.empty()) {
      const Result<Timestamp> time = interop::ParseTime(flags.to_time, Clock::System()->NowMs());
      if (!time.ok()) return Fail(time.status());
      options.point->to_ms = *time;
    }
  }
  Result<ops::RestoreReport> restored = Unavailable("");
  {
    WorkProgress progress;
    restored = ops::Restore(flags.from, flags.to, options, MakeContext(flags, &progress));
  }
  if (!restored.ok()) {
    return FailOrUsage(restored.status(), "there is no database yet; the same command goes on with what was copied");
  }
  for (const std::string& why : restored->passed_by) std::fprintf(stderr, "chronolith: passed by: %s\n", why.c_str());
  if (!restored->shortfall.ok()) PrintError(restored->shortfall.message());
  Output out;
  PrintRestored(flags, *restored, &out);
  return Finish(&out, restored->shortfall.ok() ? kExitOk : kExitProblems);
}

void AddLimits(CLI::App* command, BackupFlags* flags) {
  command->add_option("--rate-limit", flags->rate_limit, "bytes read a second at most, such as 50MiB (no limit)")
      ->transform(CLI::AsSizeValue(false))
      ->option_text("BYTES");
}

void AddMemory(CLI::App* command, BackupFlags* flags) { AddMemoryLimit(command, &flags->memory_limit); }

}  // namespace

void AddBackup(CLI::App* app, Run* run) {
  auto flags = std::make_shared<BackupFlags>();
  CLI::App* command = app->add_subcommand("backup", "Copy a database, also beside a process that writes to it");
  command->add_option("--db", flags->db, "directory of the database; it is only read")->option_text("DIR");
  command->add_option("--log-dir", flags->log_dir, "directory of its log, where it is not DIR/log")->option_text("DIR");
  command->add_option("--to", flags->to, "directory of backups; made where it is missing")->option_text("BACKUPDIR");
  command->add_flag("--link", flags->link,
                    "hard links to the database's tables instead of copies, where both are on one file system: takes no space and "
                    "no time, and does not protect from a failing disk");
  command->add_flag("--dry-run", flags->dry_run, "say what would be copied, and what earlier backups have; write nothing");
  AddLimits(command, flags.get());
  AddMemory(command, flags.get());
  AddFormat(command, &flags->format);
  command->footer(
      "Tables that an earlier backup in BACKUPDIR has are linked from there, only new ones are copied. Each backup is complete by\n"
      "itself: older ones may be removed in any order. An interrupted backup is gone on with by the next.\n\n"
      "Examples:\n"
      "  chronolith backup --db metrics.db --to /backups/metrics\n"
      "  chronolith backup list /backups/metrics\n"
      "  chronolith backup verify /backups/metrics/20261122T010203Z-0007");

  CLI::App* list = command->add_subcommand("list", "Show the backups in a directory");
  list->add_option("BACKUPDIR", flags->from, "directory of backups")->required();
  AddFormat(list, &flags->format);
  list->footer("Example:\n  chronolith backup list /backups/metrics --format json");
  list->callback([flags, run] { *run = [flags] { return List(*flags); }; });

  CLI::App* verify = command->add_subcommand("verify", "Read a backup and compare each file with its checksum");
  verify->add_option("BACKUP", flags->from, "a backup, or a directory of backups: then its newest")->required();
  AddLimits(verify, flags.get());
  AddFormat(verify, &flags->format);
  verify->footer(
      "Exit codes: 0 all is as it was written, 1 there is no backup, 3 files are damaged or missing.\n"
      "Example:\n  chronolith backup verify /backups/metrics");
  verify->callback([flags, run] { *run = [flags] { return Verify(*flags); }; });

  command->callback([flags, run, command] {
    if (!command->get_subcommands().empty()) return;
    if (flags->db.empty()) throw CLI::RequiredError("--db");
    if (flags->to.empty()) throw CLI::RequiredError("--to");
    *run = [flags] { return Backup(*flags); };
  });
}

void AddRestore(CLI::App* app, Run* run) {
  auto flags = std::make_shared<BackupFlags>();
  CLI::App* command = app->add_subcommand("restore", "Make a database of a backup");
  command
      ->add_option("--from", flags->from,
                   "a backup, or a directory of backups: then its newest (that is early enough for --to-time)")
      ->required()
      ->option_text("BACKUP");
  command->add_option("--to", flags->to, "directory of the new database; missing or empty")->required()->option_text("DIR");
  CLI::Option* archive =
      command->add_option("--archive", flags->archive, "log archive of that database: add what was written after the backup")
          ->option_text("ARCHIVE");
  command
      ->add_option("--to-time", flags->to_time,
                   "leave out what was written later: RFC 3339, milliseconds since 1970, or a duration before now such as -1h30m "
                   "(as far as the archive goes)")
      ->needs(archive)
      ->check(Checked([](const std::string& text) { return interop::ParseTime(text, 0); }))
      ->option_text("TIME");
  command
      ->add_flag("--allow-earlier", flags->allow_earlier,
                 "where the archive does not go that far, or lacks something: go as far as it does, and exit with 3")
      ->needs(archive);
  command->add_flag("--dry-run", flags->dry_run, "say what would be restored, from which backup and as of when; write nothing");
  AddLimits(command, flags.get());
  AddMemory(command, flags.get());
  AddFormat(command, &flags->format);
  command->footer(
      "Every file is compared with the backup's checksums, and the database is opened and scrubbed, before this says that it is\n"
      "done; until then there is no database in DIR. It is a new incarnation: its log and data do not mix with those of the\n"
      "database that the backup was made of. An interrupted restore is gone on with by the same command.\n\n"
      "Examples:\n"
      "  chronolith restore --from /backups/metrics --to metrics.db\n"
      "  chronolith restore --from /backups/metrics/20261122T010203Z-0007 --to metrics.db --format json\n"
      "  chronolith restore --from /backups/metrics --archive /archive/metrics --to-time 2026-11-22T10:15:00Z --to metrics.db");
  command->callback([flags, run] { *run = [flags] { return Restore(*flags); }; });
}

}  // namespace chronolith::cli
