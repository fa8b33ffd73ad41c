// What the engine asks of MPI, as a table of C functions. MPI libraries differ in their binary interfaces, so
// the calls live in a module of their own, libstriped_mpi, compiled against the MPI of the machine and loaded
// when a run has several ranks; the engine itself needs no MPI.
#pragma once

#include <cstdint>

extern "C" {

// Of this table; the engine takes only a module of its own version.
constexpr int kStripedMpiVersion = 1;

enum StripedMpiType : int { kStripedMpiF64, kStripedMpiF32, kStripedMpiBytes };

struct StripedMpiMessage {
  void* data;
  std::int64_t count;
  int peer;
};

// A communicator is opaque. Functions that return text return null when all went well.
struct StripedMpiFunctions {
  int version;
  const char* (*start)(void** world);
  const char* (*finish)();
  void (*release)(void* communicator);
  const char* (*split)(void* communicator, int color, int key, void** part);
  int (*rank)(void* communicator);
  int (*size)(void* communicator);
  const char* (*barrier)(void* communicator);
  const char* (*all_reduce)(void* communicator, void* data, std::int64_t count, int type);
  const char* (*all_gather)(void* communicator, const void* data, void* out, std::int64_t count, int type);
  const char* (*reduce_scatter)(void* communicator, const void* data, void* out, std::int64_t count,
                                int type);
  const char* (*all_to_all)(void* communicator, const void* data, void* out, std::int64_t count, int type);
  const char* (*broadcast)(void* communicator, void* data, std::int64_t count, int type, int root);
  const char* (*exchange)(void* communicator, const StripedMpiMessage* sends, int send_count,
                          const StripedMpiMessage* receives, int receive_count, int type);
};

// The module's one export.
const StripedMpiFunctions* striped_mpi_functions();
}
