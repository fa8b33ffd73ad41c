// The module libstriped_mpi: mpi_api.h over the MPI it was compiled with.
#include <mpi.h>

#include <climits>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "parallel/mpi_api.h"

namespace {

// MPI counts are ints: longer arrays go in pieces, or, where they cannot, are refused.
constexpr std::int64_t kMost = INT_MAX;

std::string problem;

const char* fail(const std::string& text) {
  problem = text;
  return problem.c_str();
}

const char* done(int status) {
  if (status == MPI_SUCCESS) return nullptr;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(status, text, &length);
  return fail(std::string(text, static_cast<std::size_t>(length)));
}

const char* too_long() { return fail("a message between ranks has more elements than MPI can count"); }

MPI_Datatype type_of(int type) {
  return type == kStripedMpiF64 ? MPI_DOUBLE : type == kStripedMpiF32 ? MPI_FLOAT : MPI_BYTE;
}

std::size_t bytes_of(int type) { return type == kStripedMpiF64 ? 8 : type == kStripedMpiF32 ? 4 : 1; }

MPI_Comm of(void* communicator) { return *static_cast<MPI_Comm*>(communicator); }

const char* start(void** world) {
  int already = 0, provided = 0;
  MPI_Initialized(&already);
  if (already == 0) {
    const int status = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
    if (status != MPI_SUCCESS) return done(status);
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  *world = new MPI_Comm(MPI_COMM_WORLD);
  return nullptr;
}

const char* finish() { return done(MPI_Finalize()); }

void release(void* communicator) {
  auto* handle = static_cast<MPI_Comm*>(communicator);
  int finished = 0;
  MPI_Finalized(&finished);
  if (finished == 0 && *handle != MPI_COMM_WORLD) MPI_Comm_free(handle);
  delete handle;
}

const char* split(void* communicator, int color, int key, void** part) {
  MPI_Comm made = MPI_COMM_NULL;
  const int status = MPI_Comm_split(of(communicator), color, key, &made);
  if (status == MPI_SUCCESS) *part = new MPI_Comm(made);
  return done(status);
}

int rank(void* communicator) {
  int result = 0;
  MPI_Comm_rank(of(communicator), &result);
  return result;
}

int size(void* communicator) {
  int result = 0;
  MPI_Comm_size(of(communicator), &result);
  return result;
}

const char* barrier(void* communicator) { return done(MPI_Barrier(of(communicator))); }

// Calls `one` with pieces of at most INT_MAX elements until one fails.
template <typename One>
const char* in_pieces(void* data, std::int64_t count, int type, const One& one) {
  auto* next = static_cast<std::byte*>(data);
  while (count > 0) {
    const std::int64_t piece = count < kMost ? count : kMost;
    if (const int status = one(next, static_cast<int>(piece)); status != MPI_SUCCESS) return done(status);
    next += static_cast<std::size_t>(piece) * bytes_of(type);
    count -= piece;
  }
  return nullptr;
}

const char* all_reduce(void* communicator, void* data, std::int64_t count, int type) {
  return in_pieces(data, count, type, [&](void* piece, int length) {
    return MPI_Allreduce(MPI_IN_PLACE, piece, length, type_of(type), MPI_SUM, of(communicator));
  });
}

const char* broadcast(void* communicator, void* data, std::int64_t count, int type, int root) {
  return in_pieces(data, count, type, [&](void* piece, int length) {
    return MPI_Bcast(piece, length, type_of(type), root, of(communicator));
  });
}

const char* all_gather(void* communicator, const void* data, void* out, std::int64_t count, int type) {
  if (count > kMost) return too_long();
  const std::size_t mine = static_cast<std::size_t>(rank(communicator) * count) * bytes_of(type);
  const bool in_place = data == static_cast<std::byte*>(out) + mine;
  return done(MPI_Allgather(in_place ? MPI_IN_PLACE : data, static_cast<int>(count), type_of(type), out,
                            static_cast<int>(count), type_of(type), of(communicator)));
}

const char* reduce_scatter(void* communicator, const void* data, void* out, std::int64_t count, int type) {
  if (count > kMost) return too_long();
  const std::size_t bytes = static_cast<std::size_t>(count) * bytes_of(type);
  const bool inside =
      out == static_cast<const std::byte*>(data) + bytes * static_cast<std::size_t>(rank(communicator));
  std::vector<std::byte> own(inside ? bytes : 0);
  void* const sum = inside ? own.data() : out;
  const int status =
      MPI_Reduce_scatter_block(data, sum, static_cast<int>(count), type_of(type), MPI_SUM, of(communicator));
  if (inside) std::memcpy(out, sum, bytes);
  return done(status);
}

const char* all_to_all(void* communicator, const void* data, void* out, std::int64_t count, int type) {
  if (count > kMost) return too_long();
  return done(MPI_Alltoall(data, static_cast<int>(count), type_of(type), out, static_cast<int>(count),
                           type_of(type), of(communicator)));
}

const char* exchange(void* communicator, const StripedMpiMessage* sends, int send_count,
                     const StripedMpiMessage* receives, int receive_count, int type) {
  std::vector<MPI_Request> requests(static_cast<std::size_t>(send_count + receive_count), MPI_REQUEST_NULL);
  int status = MPI_SUCCESS;
  for (int i = 0; i < receive_count && status == MPI_SUCCESS; ++i) {
    if (receives[i].count > kMost) return too_long();
    status = MPI_Irecv(receives[i].data, static_cast<int>(receives[i].count), type_of(type), receives[i].peer,
                       0, of(communicator), &requests[static_cast<std::size_t>(i)]);
  }
  for (int i = 0; i < send_count && status == MPI_SUCCESS; ++i) {
    if (sends[i].count > kMost) return too_long();
    status = MPI_Isend(sends[i].data, static_cast<int>(sends[i].count), type_of(type), sends[i].peer, 0,
                       of(communicator), &requests[static_cast<std::size_t>(receive_count + i)]);
  }
  if (status == MPI_SUCCESS)
    status = MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  return done(status);
}

constexpr StripedMpiFunctions kFunctions{
    kStripedMpiVersion, start,      finish,         release,    split,     rank,    size, barrier,
    all_reduce,         all_gather, reduce_scatter, all_to_all, broadcast, exchange};

}  // namespace

extern "C" const StripedMpiFunctions* striped_mpi_functions() { return &kFunctions; }
