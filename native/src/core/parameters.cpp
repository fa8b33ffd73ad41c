#include "core/parameters.h"

#include <cmath>

#include "core/random.h"

namespace striped {
namespace {

// Parameters start at multiples of this many elements: 256 bytes in bf16.
constexpr std::int64_t kAlignment = 128;

constexpr double kFeaturizerNoise = 0.02;

constexpr std::int64_t kGrain = 1024;  // values a thread makes at a time, at least

std::string block_prefix(std::size_t block) { return "blocks." + std::to_string(block) + "."; }

// Time constant in tokens of exponential n of `order`.
double time_constant(int n, int order, std::int64_t sequence) {
  const double longest = std::max<double>(4.0, static_cast<double>(sequence));
  const double place = order > 1 ? static_cast<double>(n) / (order - 1) : 0.5;
  return 2.0 * std::pow(longest / 2.0, place);
}

}  // namespace

std::int64_t Parameter::count() const {
  std::int64_t result = 1;
  for (const std::int64_t extent : shape) result *= extent;
  return result;
}

ParameterTable::ParameterTable(const PlanModel& model, double init_std) : init_std_(init_std) {
  using P = ParameterClass;
  using I = InitialValue;
  const std::int64_t width = model.width;
  const double out_std = init_std / std::sqrt(2.0 * static_cast<double>(model.blocks.size()));
  add("embedding.weight", {model.vocab, width}, P::dense, I::normal, init_std);
  for (std::size_t i = 0; i < model.blocks.size(); ++i) {
    const PlanBlock& block = model.blocks[i];
    const std::string prefix = block_prefix(i);
    add(prefix + "norm1.weight", {width}, P::small, I::one);
    if (const auto* hyena = std::get_if<PlanHyena>(&block.mixer))
      add_hyena(prefix + "mixer.", *hyena, width, out_std);
    else
      add_attention(prefix + "mixer.", std::get<PlanAttention>(block.mixer), width, out_std);
    if (std::holds_alternative<PlanNoFfn>(block.ffn)) continue;
    add(prefix + "norm2.weight", {width}, P::small, I::one);
    if (const auto* hyena = std::get_if<PlanHyena>(&block.ffn)) {
      add_hyena(prefix + "ffn.", *hyena, width, out_std);
    } else {
      const std::int64_t inner = std::get<PlanGatedMlp>(block.ffn).inner;
      // place() keeps up right behind gate: together they are one [2·inner, width] weight.
      add(prefix + "ffn.gate.weight", {inner, width}, P::dense, I::normal, init_std);
      add(prefix + "ffn.up.weight", {inner, width}, P::dense, I::normal, init_std);
      add(prefix + "ffn.down.weight", {width, inner}, P::dense, I::normal, out_std);
    }
  }
  add("norm.weight", {width}, P::small, I::one);
  if (!model.tied_embeddings) add("unembedding.weight", {model.vocab, width}, P::dense, I::normal, init_std);
  place();
}

void ParameterTable::add(std::string name, std::vector<std::int64_t> shape, ParameterClass kind,
                         InitialValue init, double init_std, const PlanHyena* hyena) {
  names_[name] = static_cast<int>(parameters_.size());
  parameters_.push_back({std::move(name), std::move(shape), kind, init, init_std, hyena});
}

void ParameterTable::add_hyena(const std::string& prefix, const PlanHyena& hyena, std::int64_t width,
                               double out_std) {
  using P = ParameterClass;
  using I = InitialValue;
  add(prefix + "in_proj.weight", {3 * width, width}, P::dense, I::normal, init_std_);
  add(prefix + "featurizer.weight", {3 * width, hyena.featurizer_taps}, P::small, I::featurizer);
  if (hyena.op == HyenaOperator::LI) {
    add(prefix + "residues", {hyena.groups, hyena.order}, P::small, I::residues, 0, &hyena);
    add(prefix + "log_poles", {hyena.groups, hyena.order}, P::log_pole, I::poles, 0, &hyena);
  } else {
    add(prefix + "filter", {hyena.groups, hyena.taps}, P::small, I::filter, 0, &hyena);
  }
  if (hyena.skip) add(prefix + "skip", {width}, P::small, I::one);
  add(prefix + "out_proj.weight", {width, width}, P::dense, I::normal, out_std);
  if (hyena.bias) add(prefix + "out_proj.bias", {width}, P::small, I::zero);
}

void ParameterTable::add_attention(const std::string& prefix, const PlanAttention& attention,
                                   std::int64_t width, double out_std) {
  using P = ParameterClass;
  using I = InitialValue;
  const std::int64_t inner = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t qkv = (attention.heads + 2 * std::int64_t{attention.kv_heads}) * attention.head_dim;
  add(prefix + "in_proj.weight", {qkv, width}, P::dense, I::normal, init_std_);
  add(prefix + "out_proj.weight", {width, inner}, P::dense, I::normal, out_std);
  if (attention.bias) add(prefix + "out_proj.bias", {width}, P::small, I::zero);
}

void ParameterTable::place() {
  std::int64_t offset = 0;
  const auto align = [&] { offset = (offset + kAlignment - 1) / kAlignment * kAlignment; };
  const auto region = [&](ParameterClass kind) {
    const std::int64_t start = offset;
    for (Parameter& parameter : parameters_) {
      if (parameter.kind != kind) continue;
      if (!parameter.name.ends_with("ffn.up.weight")) align();
      parameter.offset = offset;
      offset += parameter.count();
    }
    align();
    return offset - start;
  };
  dense_size_ = region(ParameterClass::dense);
  small_size_ = region(ParameterClass::small);
  log_pole_size_ = region(ParameterClass::log_pole);
}

std::int64_t ParameterTable::count() const {
  std::int64_t result = 0;
  for (const Parameter& parameter : parameters_) result += parameter.count();
  return result;
}

std::vector<double> decay_factors(const PlanHyena& hyena) {
  std::vector<double> factors(static_cast<std::size_t>(hyena.groups * hyena.taps), 1.0);
  if (!hyena.decay) return factors;
  for (std::int64_t group = 0; group < hyena.groups; ++group) {
    const double place =
        hyena.groups > 1 ? static_cast<double>(group) / static_cast<double>(hyena.groups - 1) : 0;
    const double alpha = std::pow(10.0, hyena.decay->from + (hyena.decay->to - hyena.decay->from) * place);
    for (int tap = 1; tap < hyena.taps; ++tap)
      factors[static_cast<std::size_t>(group * hyena.taps + tap)] = std::exp(-alpha * tap / (hyena.taps - 1));
  }
  return factors;
}

namespace {

// White taps with unit gain once the decay is applied.
void fill_filter(const PlanHyena& hyena, std::vector<double>& values) {
  const std::vector<double> factors = decay_factors(hyena);
  const auto taps = static_cast<std::size_t>(hyena.taps);
  for (std::size_t start = 0; start < values.size(); start += taps) {
    double energy = 0;
    for (std::size_t tap = 0; tap < taps; ++tap) energy += factors[start + tap] * factors[start + tap];
    for (std::size_t tap = 0; tap < taps; ++tap) values[start + tap] /= std::sqrt(energy);
  }
}

void fill_modal(const Parameter& parameter, std::int64_t sequence, std::vector<double>& values) {
  const int order = parameter.hyena->order;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double tau = time_constant(static_cast<int>(i) % order, order, sequence);
    if (parameter.init == InitialValue::poles)
      values[i] = -std::log(tau);
    else
      values[i] *= std::sqrt(-std::expm1(-2.0 / tau) / order);  // Σ_t λ^2t = 1/(1 - λ²)
  }
}

}  // namespace

std::vector<double> initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t sequence,
                                   ThreadPool& threads) {
  const auto count = static_cast<std::size_t>(parameter.count());
  if (parameter.init == InitialValue::zero) return std::vector<double>(count, 0.0);
  if (parameter.init == InitialValue::one) return std::vector<double>(count, 1.0);
  std::vector<double> values(count);
  const std::uint64_t stream = hash_text(parameter.name);
  const double std = parameter.init == InitialValue::normal ? parameter.init_std : 1;
  threads.split(parameter.count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      values[i] = std * random_normal(seed, stream, i);
  });
  switch (parameter.init) {
    case InitialValue::normal:
      break;
    case InitialValue::featurizer:
      for (std::size_t i = 0; i < count; ++i)
        values[i] =
            kFeaturizerNoise * values[i] + (i % static_cast<std::size_t>(parameter.shape[1]) == 0 ? 1 : 0);
      break;
    case InitialValue::filter:
      fill_filter(*parameter.hyena, values);
      break;
    default:
      fill_modal(parameter, sequence, values);
  }
  return values;
}

}  // namespace striped
