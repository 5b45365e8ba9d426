// chronolith: the command line of the time-series store.
#include <malloc.h>

#include <cstdio>
#include <exception>
#include <sstream>
#include <string>

#include "tools/cli/common.h"
#include "tools/cli/help.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/standard_streams.h"

namespace chronolith::cli {
namespace {

// CLI11 only says that a command is missing where the one given is unknown.
bool NamesUnknownCommand(CLI::App* app, int argc, char** argv) {
  for (int i = 1; i < argc && argv[i][0] != '-' && app->get_require_subcommand_min() > 0; ++i) {
    const auto named = app->get_subcommands([&](const CLI::App* command) { return command->get_name() == argv[i]; });
    if (named.empty()) {
      PrintError("unknown command " + std::string(argv[i]) + "; see --help");
      return true;
    }
    app = named.front();
  }
  return false;
}

int Main(int argc, char** argv) {
  KeepStandardStreams();
  CLI::App app("Stores time series: imports, queries, checks, backs up and repairs a Chronolith database", "chronolith");
  app.set_version_flag("--version", "chronolith " CHRONOLITH_VERSION);
  SpeakProse(&app);
  app.require_subcommand(1);
  app.footer(
      "Data goes to stdout, messages and progress to stderr. See `chronolith COMMAND --help`.\n"
      "Exit codes: 0 ok, 1 failure, 2 wrong arguments, 3 done, but something was refused or is damaged.\n"
      "Examples:\n"
      "  chronolith import --db metrics.db metrics.om\n"
      "  chronolith query --db metrics.db up --start -1h\n"
      "  chronolith verify metrics.db");
  Run run;
  AddImport(&app, &run);
  AddExport(&app, &run);
  AddQuery(&app, &run);
  AddLookups(&app, &run);
  AddStat(&app, &run);
  AddRecover(&app, &run);
  AddCompact(&app, &run);
  AddDelete(&app, &run);
  AddBackup(&app, &run);
  AddRestore(&app, &run);
  AddArchive(&app, &run);
  AddInspect(&app, &run);
  AddCardinality(&app, &run);
  AddVerify(&app, &run);
  AddReplay(&app, &run);
  AddDumpWal(&app, &run);
  AddReshard(&app, &run);
  AddSalvage(&app, &run);
  AddBench(&app, &run);
  AddCompletion(&app, &run);
  if (NamesUnknownCommand(&app, argc, argv)) return kExitUsage;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    std::ostringstream asked;  // --help, --version
    if (app.exit(e, asked) != 0) return kExitUsage;
    Output out;
    out << asked.str();
    return Finish(&out);
  }
  HandleInterrupts();
  return run();
}

}  // namespace
}  // namespace chronolith::cli

int main(int argc, char** argv) {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 2);  // each keeps what was freed in it: eight a core, glibc's bound, made a bound of 224 MiB one of 282
#endif
  try {
    return chronolith::cli::Main(argc, argv);
  } catch (const std::exception& e) {  // out of memory, and what the standard library throws
    chronolith::cli::PrintError(e.what());
    return chronolith::cli::kExitFailure;
  }
}
