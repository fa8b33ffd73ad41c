// The parameter table: which parameters a model has, their names in files, shapes, places in the flat buffers
// and initial values. It knows no device.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/thread_pool.h"

namespace striped {

// Where a parameter lies in the flat buffers, in this order.
//   dense    weights of dense layers and embeddings: decayed, with a copy in the activation type
//   small    norms, featurizers, filters, skips, residues, biases: not decayed, used as they are
//   log_pole LI's log_poles: learnt as p with log_pole = -exp(p), which keeps every pole inside (0, 1)
enum class ParameterClass : std::uint8_t { dense, small, log_pole };

enum class InitialValue : std::uint8_t { normal, one, zero, featurizer, filter, residues, poles };

struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;
  ParameterClass kind;
  InitialValue init;
  double init_std = 0;               // normal
  const PlanHyena* hyena = nullptr;  // filter, residues, poles
  std::int64_t offset = 0;           // in the flat buffers, in elements
  std::int64_t count() const;
};

class ParameterTable {
 public:
  ParameterTable(const PlanModel& model, double init_std);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  // Index by name; the name must exist.
  int find(const std::string& name) const { return names_.at(name); }
  // Trainable scalars.
  std::int64_t count() const;
  // Lengths of the flat regions, padding included (padding stays zero).
  std::int64_t dense_size() const { return dense_size_; }
  std::int64_t small_size() const { return small_size_; }
  std::int64_t log_pole_size() const { return log_pole_size_; }
  std::int64_t size() const { return dense_size_ + small_size_ + log_pole_size_; }

 private:
  void add(std::string name, std::vector<std::int64_t> shape, ParameterClass kind, InitialValue init,
           double init_std = 0, const PlanHyena* hyena = nullptr);
  void add_hyena(const std::string& prefix, const PlanHyena& hyena, std::int64_t width, double out_std);
  void add_attention(const std::string& prefix, const PlanAttention& attention, std::int64_t width,
                     double out_std);
  void place();

  double init_std_;
  std::vector<Parameter> parameters_;
  std::map<std::string, int> names_;
  std::int64_t dense_size_ = 0, small_size_ = 0, log_pole_size_ = 0;
};

// Factors [groups, taps] with h = ĥ ⊙ factors of an MR with decay (facts: `h_t = ĥ_t · exp(-α_g
// t/(taps-1))`).
std::vector<double> decay_factors(const PlanHyena& hyena);

// Initial values of a parameter. Dense weights are N(0, std). A featurizer starts near the identity (current
// token 1, everything + N(0, 0.02)). SE and MR filters are white with unit gain after the decay, so that they
// keep the variance of a white input. LI starts with time constants log-spaced from 2 tokens to the sequence
// length and residues that give each exponential the same share of a unit gain. Skips start at 1.
// log_pole parameters are returned as p, not as -exp(p).
std::vector<double> initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t sequence,
                                   ThreadPool& threads);

}  // namespace striped
