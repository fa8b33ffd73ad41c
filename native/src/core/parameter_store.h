// Parameters on the device: masters, gradients and moments, and what the operators read. Replicas may share
// them out (ZeRO): then a rank keeps its own part of every range of the table, and whole units pass through
// slots while they are used.
#pragma once

#include <map>
#include <vector>

#include "core/flat.h"

namespace striped {

// What replicas share out: 0 nothing, 1 the optimiser, 2 gradients too, 3 parameters too.
struct Sharing {
  int zero = 0;
  Place part;  // of as many as the table has parts
};

// Fetches and sends on what lies in slots; see parallel/parameter_exchange.h.
class Residence {
 public:
  virtual ~Residence() = default;
  // The weights of a unit are about to be read.
  virtual void need(int unit) = 0;
  // The gradients of a unit are about to be added to in a backward pass, and have been.
  virtual void begin_gradients(int unit) = 0;
  virtual void end_gradients(int unit) = 0;
};

enum class Stored : std::uint8_t { weight, master, moment1, moment2, gradient };

class ParameterStore {
 public:
  enum class Keep : std::uint8_t { weights, gradients, optimizer };  // each includes the ones before it

  ParameterStore(const ParameterTable& table, Backend& backend, Keep keep, const Sharing& sharing = {});

  const ParameterTable& table() const { return table_; }
  Backend& backend() const { return backend_; }
  const Sharing& sharing() const { return sharing_; }

  // What an operator reads: the activation type for dense parameters, "real" for others.
  const void* weight(int parameter) const;
  // Gradients of what weight() gives, "real".
  void* gradient(int parameter) const;
  // Told of every unit that is used; null: nobody.
  void set_residence(Residence* residence) { residence_ = residence; }
  Residence* residence() const { return residence_; }

  void initialise(std::uint64_t seed, std::int64_t sequence);
  // The same spread of values in a fraction of the time, for measuring: large matrices repeat their first
  // values, or the first ones of this rank's part.
  void initialise_roughly(std::uint64_t seed, std::int64_t sequence);
  // Values of this rank's part of a parameter; those that belong to another replica are 0. Weights are as
  // files have them (log_poles, not p).
  std::vector<double> own_values(int parameter, Stored what) const;
  // Takes what this rank keeps from a whole tensor. Weights set their masters.
  void set_whole(int parameter, Stored what, const std::vector<double>& values, ThreadPool& threads);

  std::vector<double> values(int parameter) const { return own_values(parameter, Stored::weight); }
  void set_values(int parameter, const std::vector<double>& values) {
    ThreadPool alone(1);
    set_whole(parameter, Stored::weight, values, alone);
  }
  std::vector<double> gradient_values(int parameter) const { return own_values(parameter, Stored::gradient); }

  // Whether a step adds up the gradients of several micro-batches, as is taken for granted without a call. Of
  // one alone, matrix products write those of the blocks' dense parameters, which need no zeros then.
  void set_accumulates(bool accumulates);
  bool accumulates() const { return accumulates_; }
  // Zeroes what a step adds to.
  void zero_gradients();
  // One AdamW step over this rank's parts, in two halves: *squared_norm += Σ g² (each value of a parameter
  // that all tensor ranks hold is counted by the first of them), then the update by the norm of all, unit by
  // unit: `updated` is called behind each. `step` and `squared_norm` lie on the device.
  void measure(double* squared_norm);
  void apply(
      const AdamWSettings& settings, const OptimizerStep* step, const double* squared_norm,
      const std::function<void(int unit)>& updated = [](int) {});
  // Both, where this rank is the only one.
  void update(const AdamWSettings& settings, const OptimizerStep* step, double* squared_norm);

  // A stretch of one unit that replicas hold together: where it is whole, and this rank's `count` elements.
  struct Share {
    void* whole;
    void* own;
    std::int64_t count;
    DType type;
    bool split;  // over the tensor ranks
  };
  // What becomes a unit's weights when all replicas' shares are gathered.
  std::vector<Share> weight_shares(int unit) const;
  std::vector<Share> gradient_shares(int unit) const;

  std::size_t weight_bytes() const;
  std::size_t gradient_bytes() const { return gradients_.bytes() + gradient_memory_.bytes(); }
  std::size_t optimizer_bytes() const;

  // What these buffers take, without allocating them.
  struct Bytes {
    std::size_t weights, gradients, optimizer;
  };
  static Bytes bytes(const ParameterTable& table, DType activation, Keep keep, const Sharing& sharing = {});

 private:
  struct Extents;
  // Whole units while they are used: unit 0 has a place of its own, the others take turns in two, so that the
  // next can be fetched while one is used.
  class Slots {
   public:
    Slots() = default;
    template <typename ElementOf>
    Slots(const ParameterTable& table, bool used, const ElementOf& element_of);
    bool used() const { return !within_.empty(); }
    std::size_t bytes() const { return first_ + kSlots * other_; }
    std::size_t place(const ParameterRange& range) const;

   private:
    static constexpr std::size_t kSlots = 2;
    std::map<std::int64_t, std::size_t> within_;  // byte within its unit, by the range's offset
    std::size_t first_ = 0, other_ = 0;           // bytes of unit 0, and of the largest other one
  };
  // Neighbouring own parts that the optimiser treats alike, from `unit` on; within that unit where weights
  // are whole and updated in parts.
  struct Piece {
    int unit;
    std::int64_t count;
    void *gradient, *master, *moment1, *moment2, *compute;
    bool decayed, counted;
  };

  void make_pieces();
  const Parameter& parameter(int index) const { return table_.parameters()[static_cast<std::size_t>(index)]; }
  const ParameterRange& range_of(const Parameter& parameter) const;
  const Flat& masters_of(ParameterClass kind) const;
  const Flat& weights_of(ParameterClass kind) const;
  const Flat& array(ParameterClass kind, Stored what) const;
  void* weight_place(const ParameterRange& range) const;
  void* gradient_place(const ParameterRange& range) const;
  template <typename Action>
  void visit(const Flat& flat, const Parameter& parameter, bool own_only, const Action& action) const;
  void write(const Flat& flat, const Parameter& parameter, const std::vector<double>& values,
             ThreadPool& threads) const;
  void set_master(const Parameter& parameter, const std::vector<double>& part, ThreadPool& threads);
  // Writes the values, which may be fewer than the parameter has: then they are repeated until all are
  // filled.
  void repeat(const Flat& flat, const Parameter& parameter, const std::vector<double>& values,
              ThreadPool& threads) const;
  void chain_log_poles();
  void derive_log_poles();

  const ParameterTable& table_;
  Backend& backend_;
  Sharing sharing_;
  std::size_t real_;  // bytes of a "real"
  Flat dense_masters_, small_masters_, gradients_, moment1_, moment2_;
  Flat compute_;    // dense region in the activation type, where that is not "real"
  Flat log_poles_;  // -exp(masters) of the log_pole region
  Slots weight_slots_, gradient_slots_;
  DeviceBuffer weight_memory_, gradient_memory_;
  std::vector<Piece> pieces_;
  Residence* residence_ = nullptr;
  bool accumulates_ = true;
};

}  // namespace striped
