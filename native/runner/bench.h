// `striped-runner bench`: tables for people, JSON for programs.
#pragma once

namespace striped::runner {

// The words behind `bench`. Returns the exit code; throws UsageError and striped::Error.
int bench(int count, char** values);
// The words behind `bench plans`; its JSON is one object a line, each printed as soon as it is known.
int bench_plans(int count, char** values);
// The words behind `bench links`; every rank calls, the first one tells.
int bench_links(int count, char** values);

}  // namespace striped::runner
