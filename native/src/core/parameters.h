// The parameter table: which parameters a model has, their names in files, shapes, what a rank holds of them,
// places in the flat buffers and initial values. It knows no device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/plan.h"
#include "core/ranks.h"
#include "core/thread_pool.h"

namespace striped {

// Where a parameter lies in the flat buffers, in this order.
//   dense    weights of dense layers and embeddings: decayed, with a copy in the activation type
//   small    norms, featurizers, filters, skips, residues, biases: not decayed, used as they are
//   log_pole LI's log_poles: learnt as p with log_pole = -exp(p), which keeps every pole inside (0, 1)
enum class ParameterClass : std::uint8_t { dense, small, log_pole };

enum class InitialValue : std::uint8_t { normal, one, zero, featurizer, filter, residues, poles };

// What a rank holds of a tensor: ranges [first, end) of one dimension (0: rows, 1: columns), one behind the
// other. Without ranges: all of it.
struct ParameterSlice {
  int dimension = 0;
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
};

struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;  // of the whole tensor, as files have it
  ParameterClass kind;
  InitialValue init;
  double init_std = 0;               // normal
  const PlanHyena* hyena = nullptr;  // filter, residues, poles
  ParameterSlice slice;
  int unit = 0;             // 0: embeddings and the last norm; 1 + i: block i
  std::int64_t offset = 0;  // in the flat buffers, in elements

  std::int64_t whole_count() const;
  std::int64_t count() const;  // of this rank's part
  // Stretches of the part that lie together in the whole tensor: place in the whole, place in the part,
  // length.
  struct Stretch {
    std::int64_t whole, part, length;
  };
  std::vector<Stretch> stretches() const;
  // This rank's part of a whole tensor's values.
  std::vector<double> part_of(const std::vector<double>& whole) const;
};

// Consecutive parameters of one unit and class that are all split over the tensor ranks, or none of them.
// Padded so that it divides by the parts a table was made for.
struct ParameterRange {
  int unit;
  ParameterClass kind;
  bool split;
  std::int64_t offset, count;
};

class ParameterTable {
 public:
  // For the rank at `tensor`; `parts`: of how many replicas each holds one part of every range.
  ParameterTable(const PlanModel& model, double init_std, Place tensor = {}, int parts = 1);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  // By offset.
  const std::vector<ParameterRange>& ranges() const { return ranges_; }
  int units() const { return units_; }
  int parts() const { return parts_; }
  Place tensor() const { return tensor_; }
  // Index by name; the name must exist.
  int find(const std::string& name) const { return names_.at(name); }
  // Trainable scalars of the whole model.
  std::int64_t count() const;
  // Lengths of the flat regions, padding included (padding stays zero).
  std::int64_t dense_size() const { return dense_size_; }
  std::int64_t small_size() const { return small_size_; }
  std::int64_t log_pole_size() const { return log_pole_size_; }
  std::int64_t size() const { return dense_size_ + small_size_ + log_pole_size_; }

 private:
  void add(std::string name, std::vector<std::int64_t> shape, ParameterClass kind, InitialValue init,
           ParameterSlice slice = {}, double init_std = 0, const PlanHyena* hyena = nullptr);
  void add_hyena(const std::string& prefix, const PlanHyena& hyena, std::int64_t width, double out_std);
  void add_attention(const std::string& prefix, const PlanAttention& attention, std::int64_t width,
                     double out_std);
  // This rank's share of each of several stretches of rows (or columns) that lie behind each other.
  ParameterSlice rows(const std::vector<std::int64_t>& stretches) const { return share(0, stretches); }
  ParameterSlice columns(std::int64_t count) const { return share(1, {count}); }
  ParameterSlice share(int dimension, const std::vector<std::int64_t>& stretches) const;
  void place();
  void place_range(int unit, ParameterClass kind, bool split, std::int64_t& offset);

  double init_std_;
  Place tensor_;
  int parts_;
  int units_ = 1, unit_ = 0;
  std::vector<Parameter> parameters_;
  std::vector<ParameterRange> ranges_;
  std::map<std::string, int> names_;
  std::int64_t dense_size_ = 0, small_size_ = 0, log_pole_size_ = 0;
};

// Factors [groups, taps] with h = ĥ ⊙ factors of an MR with decay (facts: `h_t = ĥ_t · exp(-α_g
// t/(taps-1))`).
std::vector<double> decay_factors(const PlanHyena& hyena);

// Initial values of a rank's part of a parameter; they do not depend on how it is split. Dense weights are
// N(0, std). A featurizer starts near the identity (current token 1, everything + N(0, 0.02)). SE and MR
// filters are white with unit gain after the decay, so that they keep the variance of a white input. LI
// starts with time constants log-spaced from 2 tokens to the sequence length and residues that give each
// exponential the same share of a unit gain. Skips start at 1. log_pole parameters are returned as p, not as
// -exp(p).
std::vector<double> initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t sequence,
                                   ThreadPool& threads);

}  // namespace striped
