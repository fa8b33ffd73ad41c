// Finds races between the threads of an emulated block: two accesses to the same place, one of them a write,
// that nothing orders. What orders is what CUDA says orders: barriers of the block, __syncwarp, and waiting
// for a copy; products, matrix moves and shuffles do not. Each thread has a vector clock, each place
// remembers who wrote it last and who has read it since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulation::races {

// By thread of the block: up to which of its steps all is known to have happened.
using Clock = std::vector<std::uint32_t>;

void start_block(int threads);
// What `thread` has done comes before what acquires `clock` from now on.
void release(int thread, Clock& clock);
void acquire(int thread, const Clock& clock);

// By the running thread; `code` is where. Only shared memory is looked at: the block's dynamic one, and
// static variables, which those of kernels are here.
void access(const void* place, std::size_t bytes, bool writes, const void* code);

// Of the first race since the last call; empty where there was none.
std::string take_report();

}  // namespace emulation::races
