// `striped-runner bench`: tables for people, JSON for programs.
#pragma once

namespace striped::runner {

// The words behind `bench`. Returns the exit code; throws UsageError and striped::Error.
int bench(int count, char** values);

}  // namespace striped::runner
