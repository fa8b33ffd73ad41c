// Thin wrappers over the PTX our kernels use: tensor-core products, shared-memory matrix moves, and the bulk
// tensor copy engine with its barriers. Shared-memory addresses are 32-bit, as the instructions take them.
#pragma once

#include <cuda.h>
#include <cuda_bf16.h>

#include <cstdint>

namespace striped::cuda::ptx {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// The block's dynamic shared memory.
__device__ inline std::uint8_t* dynamic_shared() {
  extern __shared__ __align__(1024) std::uint8_t dynamic_shared_memory[];
  return dynamic_shared_memory;
}

// x, of which the compiler forgets how it came about: it keeps it in a register rather than make it again.
__device__ inline std::uint32_t kept(std::uint32_t x) {
  std::uint32_t out;
  asm volatile("mov.b32 %0, %1;" : "=r"(out) : "r"(x));
  return out;
}

// Keeps a branch a branch: without it, what it assigns would be selected by instructions of every pass.
__device__ inline void rarely() { asm volatile(""); }

__device__ inline std::uint32_t load_shared(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
// Loaded here and now, into registers of its own: the compiler does not know that another load gives the
// same.
__device__ inline std::uint32_t load_shared_anew(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.volatile.shared.b32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
__device__ inline void load_shared_anew(std::uint32_t (&v)[4], std::uint32_t address) {
  asm volatile("ld.volatile.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(address)
               : "memory");
}
__device__ inline void load_shared(std::uint32_t (&v)[4], std::uint32_t address) {
  asm volatile("ld.shared.v4.b32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(address)
               : "memory");
}
__device__ inline void store_shared(std::uint32_t address, std::uint32_t value) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}
__device__ inline void store_shared(std::uint32_t address, const std::uint32_t (&v)[4]) {
  asm volatile("st.shared.v4.b32 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(v[0]), "r"(v[1]), "r"(v[2]),
               "r"(v[3])
               : "memory");
}

// Barrier `index` of the block, for `threads` of its threads.
__device__ inline void barrier_sync(int index, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(index), "r"(threads) : "memory");
}

// Copies of 16 bytes to shared memory, in the thread's current group; zeros where not `valid`.
__device__ inline void copy_async(std::uint32_t shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// All groups but the `pending` last ones are complete.
template <int pending>
__device__ inline void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// `count` times `bytes` behind `from`, in one instruction.
template <class T>
__device__ inline T* advanced(T* from, int count, int bytes) {
  T* out;
  asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(out) : "r"(count), "r"(bytes), "l"(from));
  return out;
}
// What nothing writes while the kernel runs.
__device__ inline std::uint32_t load_constant(const void* global) {
  std::uint32_t value;
  asm("ld.global.nc.b32 %0, [%1];" : "=r"(value) : "l"(global));
  return value;
}
__device__ inline void store_global(void* global, std::uint32_t value) {
  asm volatile("st.global.b32 [%0], %1;" ::"l"(global), "r"(value) : "memory");
}

// The 128-byte swizzle of the copy engine: 16-byte chunk index xor row (of 128 bytes) modulo 8.
__device__ inline std::uint32_t swizzle128(std::uint32_t address) {
  return address ^ ((address >> 3) & 0x70u);
}

__device__ inline std::uint32_t pack_bf16(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<std::uint32_t*>(&pair);
}
__device__ inline std::uint32_t pack_bf16(float2 pair) { return pack_bf16(pair.x, pair.y); }
__device__ inline float2 unpack_bf16(std::uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)};
}
// A number as two bf16 terms, the larger one low.
__device__ inline std::uint32_t split_bf16(float x) {
  const float first = __bfloat162float(__float2bfloat16_rn(x));
  return pack_bf16(first, x - first);
}
// Element-wise on pairs.
__device__ inline std::uint32_t multiply_bf16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t d;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
__device__ inline std::uint32_t fma_bf16(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  std::uint32_t d;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
__device__ inline std::uint32_t add_bf16(std::uint32_t a, std::uint32_t b) {
  constexpr std::uint32_t ones = 0x3f803f80u;
  return fma_bf16(a, ones, b);
}
// (high of a, low of b): the pair between two adjacent pairs.
__device__ inline std::uint32_t between_bf16(std::uint32_t a, std::uint32_t b) {
  return __byte_perm(a, b, 0x5432);
}

// d[16×8] += a[16×16] · b[16×8], bf16 in, fp32 out.
__device__ inline void mma_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                   std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same into d, from nothing: the instruction has a zero of its own, which costs no register to be set.
__device__ inline void product_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                       std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%10,%10,%10};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(0.0f));
}

// Both with a[16×8], b[8×8].
__device__ inline void mma_16x8x8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0));
}

__device__ inline void product_16x8x8(float (&d)[4], std::uint32_t a0, std::uint32_t a1, std::uint32_t b0) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a0), "r"(a1), "r"(b0), "f"(0.0f));
}

// Four 8×8 matrices of 16-bit elements; lane l names row l%8 of matrix l/8.
__device__ inline void load_matrix(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ inline void load_matrix_transposed(std::uint32_t (&r)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

__device__ inline void store_matrix_transposed(std::uint32_t address, const std::uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
               "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
               : "memory");
}

#endif

__device__ inline std::uint32_t transpose_matrix(std::uint32_t r) {
  std::uint32_t d;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(d) : "r"(r));
  return d;
}

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

__device__ inline void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
__device__ inline void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ inline void barrier_expect(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
__device__ inline void barrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
__device__ inline void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@!done bra again;\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Tensor copies of a 3-D map [batch, row, column]; coordinates outside the tensor read as zero and are not
// written.
__device__ inline void copy_in(std::uint32_t shared, const CUtensorMap* map, std::uint32_t barrier,
                               int column, int row, int batch) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
      "%5}], [%2];" ::"r"(shared),
      "l"(map), "r"(barrier), "r"(column), "r"(row), "r"(batch)
      : "memory");
}
__device__ inline void copy_out(const CUtensorMap* map, std::uint32_t shared, int column, int row,
                                int batch) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(map),
      "r"(shared), "r"(column), "r"(row), "r"(batch)
      : "memory");
}
__device__ inline void copy_out_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// All earlier copies out have read their shared memory.
__device__ inline void copy_out_wait_read() { asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory"); }
__device__ inline void copy_out_wait() { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }
// Orders this thread's ordinary shared-memory writes before later copies out by the copy engine.
__device__ inline void copy_engine_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// This block is nearly done: once all are, a kernel launched ahead may start.
__device__ inline void let_next_kernel_start() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
#endif

// Of a kernel launched ahead: the kernel before has ended, and what it wrote is there.
__device__ inline void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace striped::cuda::ptx
