// A communicator for arrays in one memory over ranks whose arrays lie in another: between a device's and this
// machine's. Every call waits for its copies.
#pragma once

#include <memory>
#include <vector>

#include "core/communicator.h"
#include "core/device_buffer.h"

namespace process_ranks {

using striped::Backend;
using striped::Communicator;
using striped::DType;

// Where the caller's arrays lie; those of the ranks below lie in the other memory.
enum class Arrays { on_host, on_device };

class RelayCommunicator final : public Communicator {
 public:
  RelayCommunicator(std::unique_ptr<Communicator> ranks, Backend& backend, Arrays arrays)
      : ranks_(std::move(ranks)), backend_(backend), arrays_(arrays) {}
  int rank() const override { return ranks_->rank(); }
  int size() const override { return ranks_->size(); }
  void all_reduce(void* data, std::int64_t count, DType type) override {
    Copy copy(*this, bytes_of(count, type));
    copy.take(data);
    ranks_->all_reduce(copy.at(), count, type);
    copy.give(data);
  }
  // In place where the caller's is.
  void all_gather(const void* data, void* out, std::int64_t count, DType type) override {
    const std::size_t bytes = bytes_of(count, type), all = bytes * count_of(size());
    const bool in_place = data == part(out, bytes);
    Copy from(*this, in_place ? 0 : bytes), to(*this, all);
    void* const own = in_place ? to.at(bytes * count_of(rank())) : from.at();
    move_in(own, data, bytes);
    ranks_->all_gather(own, to.at(), count, type);
    to.give(out);
  }
  void reduce_scatter(const void* data, void* out, std::int64_t count, DType type) override {
    const std::size_t bytes = bytes_of(count, type);
    const bool in_place = out == part(const_cast<void*>(data), bytes);
    Copy from(*this, bytes * count_of(size())), to(*this, in_place ? 0 : bytes);
    from.take(data);
    void* const sum = in_place ? from.at(bytes * count_of(rank())) : to.at();
    ranks_->reduce_scatter(from.at(), sum, count, type);
    move_out(out, sum, bytes);
  }
  void all_to_all(const void* data, void* out, std::int64_t count, DType type) override {
    Copy from(*this, bytes_of(count * size(), type)), to(*this, bytes_of(count * size(), type));
    from.take(data);
    ranks_->all_to_all(from.at(), to.at(), count, type);
    to.give(out);
  }
  void broadcast(void* data, std::int64_t count, DType type, int root) override {
    Copy copy(*this, bytes_of(count, type));
    copy.take(data);
    ranks_->broadcast(copy.at(), count, type, root);
    copy.give(data);
  }
  void barrier() override { ranks_->barrier(); }
  void exchange(const std::vector<Send>& sends, const std::vector<Receive>& receives, DType type) override {
    std::vector<Copy> kept;
    std::vector<Send> out;
    std::vector<Receive> in;
    kept.reserve(sends.size() + receives.size());
    for (const Send& send : sends) {
      kept.emplace_back(*this, bytes_of(send.count, type)).take(send.data);
      out.push_back({send.to, kept.back().at(), send.count});
    }
    for (const Receive& receive : receives)
      in.push_back(
          {receive.from, kept.emplace_back(*this, bytes_of(receive.count, type)).at(), receive.count});
    ranks_->exchange(out, in, type);
    for (std::size_t i = 0; i < receives.size(); ++i) kept[sends.size() + i].give(receives[i].data);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<RelayCommunicator>(ranks_->split(color, key), backend_, arrays_);
  }

 private:
  // An array in the memory of the ranks below.
  class Copy {
   public:
    Copy(RelayCommunicator& relay, std::size_t bytes) : relay_(relay), bytes_(bytes) {
      if (relay.arrays_ == Arrays::on_host)
        device_ = striped::DeviceBuffer(relay.backend_, bytes);
      else
        host_.resize(bytes);
    }
    void* at(std::size_t byte = 0) {
      return relay_.arrays_ == Arrays::on_host ? device_.at(byte) : host_.data() + byte;
    }
    void take(const void* outer) { relay_.move_in(at(), outer, bytes_); }
    void give(void* outer) { relay_.move_out(outer, at(), bytes_); }

   private:
    RelayCommunicator& relay_;
    std::size_t bytes_;
    striped::DeviceBuffer device_;
    std::vector<std::byte> host_;
  };

  static std::size_t count_of(int count) { return static_cast<std::size_t>(count); }
  static std::size_t bytes_of(std::int64_t count, DType type) {
    return static_cast<std::size_t>(count) * striped::size_of(type);
  }
  // This rank's part of an array of all.
  void* part(void* all, std::size_t bytes) const {
    return static_cast<std::byte*>(all) + bytes * count_of(rank());
  }
  void move_in(void* inner, const void* outer, std::size_t bytes) {
    if (bytes == 0) return;
    if (arrays_ == Arrays::on_host)
      backend_.upload(inner, outer, bytes);
    else
      backend_.download(inner, outer, bytes);
  }
  void move_out(void* outer, const void* inner, std::size_t bytes) {
    if (bytes == 0) return;
    if (arrays_ == Arrays::on_host)
      backend_.download(outer, inner, bytes);
    else
      backend_.upload(outer, inner, bytes);
  }

  std::unique_ptr<Communicator> ranks_;
  Backend& backend_;
  Arrays arrays_;
};

}  // namespace process_ranks
