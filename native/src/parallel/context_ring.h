// Attention where queries stay and keys and values travel: in step s every rank works on the keys of the rank
// s places before it, and its own are with the rank s places behind. Results for the keys seen so far are
// merged by their log-sum-exp. Keys that no query of a rank may see are not sent to it. The next step's keys
// come, and the last one's gradients go home, while those of this one are worked on.
#pragma once

#include "parallel/context_attention.h"

namespace striped::parallel {

class Ring final : public ContextAttention {
 public:
  Ring(const AttentionShape& shape, const Sharding& sharding, Backend& backend);
  std::size_t kept_bytes() const override { return 0; }
  std::size_t workspace_bytes() const override;
  bool in_place() const override { return false; }
  void forward(Communicator& ranks, const void* qkv, void* y, void* statistics,
               const ContextBuffers& buffers) override;
  void backward(Communicator& ranks, const void* qkv, const void* y, const void* statistics, const void* dy,
                void* dqkv, const ContextBuffers& buffers) override;

 private:
  struct Scratch;
  // A piece of a sequence of the batch, here or on another rank.
  struct Place {
    std::int64_t b;
    int slot;
  };
  // `array` at a place: so many values a piece.
  void* at(void* array, std::int64_t values, DType type, const Place& place) const;
  const void* at(const void* array, std::int64_t values, DType type, const Place& place) const {
    return at(const_cast<void*>(array), values, type, place);
  }
  bool sees(int query_piece, int key_piece) const;
  bool any_sees(int rank, int key_piece) const;
  AttentionPart part(int query_piece, int key_piece) const;
  // Calls visit(place, query piece, key piece) for the queries here and the keys of `rank` that they see.
  template <class Visit>
  void for_parts(int here, int rank, const Visit& visit) const;

  void split(int rank, const void* qkv, const Scratch& scratch) const;
  // Moves what the pieces of `from` hold to `to`, as far as queries of the second need keys of the first, or
  // back.
  void send_keys(Communicator& ranks, int step, const void* own, void* others) const;
  void send_gradients(Communicator& ranks, int step, const void* others, void* own) const;

  AttentionShape shape_;
  Sharding sharding_;
  Backend& backend_;
  ShardOperators& operators_;
  DType value_, real_;
  std::int64_t rows_;                     // of a piece
  std::int64_t queries_, keys_, output_;  // values of a piece: q, k and v, y
};

}  // namespace striped::parallel
