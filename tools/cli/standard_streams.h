#ifndef CHRONOLITH_TOOLS_CLI_STANDARD_STREAMS_H_
#define CHRONOLITH_TOOLS_CLI_STANDARD_STREAMS_H_

namespace chronolith::cli {

// Of a program that is started with stdin, stdout or stderr closed (`>&-`) the first files that it opens would get these numbers,
// and what it prints would go into a file of the database. In main, first of all.
void KeepStandardStreams();

}  // namespace chronolith::cli

#endif  // CHRONOLITH_TOOLS_CLI_STANDARD_STREAMS_H_
