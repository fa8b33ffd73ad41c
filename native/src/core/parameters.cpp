#include "core/parameters.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"

namespace striped {
namespace {

// Parameters start at multiples of this many elements: 256 bytes in bf16.
constexpr std::int64_t kAlignment = 128;

constexpr double kFeaturizerNoise = 0.02;

constexpr std::int64_t kDrawGrain = 1024;  // values a thread makes at a time, at least

std::string block_prefix(std::size_t block) { return "blocks." + std::to_string(block) + "."; }

// Time constant in tokens of exponential n of `order`.
double time_constant(int n, int order, std::int64_t sequence) {
  const double longest = std::max<double>(4.0, static_cast<double>(sequence));
  const double place = order > 1 ? static_cast<double>(n) / (order - 1) : 0.5;
  return 2.0 * std::pow(longest / 2.0, place);
}

}  // namespace

std::int64_t Parameter::whole_count() const {
  std::int64_t result = 1;
  for (const std::int64_t extent : shape) result *= extent;
  return result;
}

std::int64_t Parameter::count() const {
  if (slice.ranges.empty()) return whole_count();
  std::int64_t held = 0;
  for (const auto& [first, end] : slice.ranges) held += end - first;
  return whole_count() / shape[static_cast<std::size_t>(slice.dimension)] * held;
}

std::vector<Parameter::Stretch> Parameter::stretches() const {
  if (slice.ranges.empty()) return {{0, 0, whole_count()}};
  // Rows are whole stretches; of columns, every row has its own.
  const bool of_rows = slice.dimension == 0;
  const std::int64_t rows = of_rows ? 1 : shape[0], row_length = of_rows ? whole_count() / shape[0] : 1;
  std::vector<Stretch> result;
  std::int64_t part = 0;
  for (std::int64_t row = 0; row < rows; ++row)
    for (const auto& [first, end] : slice.ranges) {
      const std::int64_t length = (end - first) * row_length;
      result.push_back({row * (of_rows ? 0 : shape[1]) + first * row_length, part, length});
      part += length;
    }
  return result;
}

std::vector<double> Parameter::part_of(const std::vector<double>& whole) const {
  if (slice.ranges.empty()) return whole;
  std::vector<double> part(static_cast<std::size_t>(count()));
  for (const Stretch& stretch : stretches())
    std::copy_n(whole.begin() + stretch.whole, stretch.length, part.begin() + stretch.part);
  return part;
}

ParameterTable::ParameterTable(const PlanModel& model, double init_std, Place tensor, int parts)
    : init_std_(init_std), tensor_(tensor), parts_(parts) {
  using P = ParameterClass;
  using I = InitialValue;
  const std::int64_t width = model.width;
  const double out_std = init_std / std::sqrt(2.0 * static_cast<double>(model.blocks.size()));
  add("embedding.weight", {model.vocab, width}, P::dense, I::normal, {}, init_std);
  for (std::size_t i = 0; i < model.blocks.size(); ++i) {
    const PlanBlock& block = model.blocks[i];
    const std::string prefix = block_prefix(i);
    unit_ = static_cast<int>(i) + 1;
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
      add(prefix + "ffn.gate.weight", {inner, width}, P::dense, I::normal, rows({inner}), init_std);
      add(prefix + "ffn.up.weight", {inner, width}, P::dense, I::normal, rows({inner}), init_std);
      add(prefix + "ffn.down.weight", {width, inner}, P::dense, I::normal, columns(inner), out_std);
    }
  }
  units_ = unit_ + 1;
  unit_ = 0;
  add("norm.weight", {width}, P::small, I::one);
  if (!model.tied_embeddings)
    add("unembedding.weight", {model.vocab, width}, P::dense, I::normal, {}, init_std);
  place();
}

void ParameterTable::add(std::string name, std::vector<std::int64_t> shape, ParameterClass kind,
                         InitialValue init, ParameterSlice slice, double init_std, const PlanHyena* hyena) {
  names_[name] = static_cast<int>(parameters_.size());
  parameters_.push_back(
      {std::move(name), std::move(shape), kind, init, init_std, hyena, std::move(slice), unit_});
}

ParameterSlice ParameterTable::share(int dimension, const std::vector<std::int64_t>& stretches) const {
  ParameterSlice slice{dimension, {}};
  if (tensor_.count == 1) return slice;
  std::int64_t start = 0;
  for (const std::int64_t count : stretches) {
    const std::int64_t own = count / tensor_.count;
    slice.ranges.emplace_back(start + tensor_.index * own, start + (tensor_.index + 1) * own);
    start += count;
  }
  return slice;
}

void ParameterTable::add_hyena(const std::string& prefix, const PlanHyena& hyena, std::int64_t width,
                               double out_std) {
  using P = ParameterClass;
  using I = InitialValue;
  const ParameterSlice projections = rows({width, width, width}), groups = rows({hyena.groups});
  add(prefix + "in_proj.weight", {3 * width, width}, P::dense, I::normal, projections, init_std_);
  add(prefix + "featurizer.weight", {3 * width, hyena.featurizer_taps}, P::small, I::featurizer, projections);
  if (hyena.op == HyenaOperator::LI) {
    add(prefix + "residues", {hyena.groups, hyena.order}, P::small, I::residues, groups, 0, &hyena);
    add(prefix + "log_poles", {hyena.groups, hyena.order}, P::log_pole, I::poles, groups, 0, &hyena);
  } else {
    add(prefix + "filter", {hyena.groups, hyena.taps}, P::small, I::filter, groups, 0, &hyena);
  }
  if (hyena.skip) add(prefix + "skip", {width}, P::small, I::one, rows({width}));
  add(prefix + "out_proj.weight", {width, width}, P::dense, I::normal, columns(width), out_std);
  if (hyena.bias) add(prefix + "out_proj.bias", {width}, P::small, I::zero);
}

void ParameterTable::add_attention(const std::string& prefix, const PlanAttention& attention,
                                   std::int64_t width, double out_std) {
  using P = ParameterClass;
  using I = InitialValue;
  const std::int64_t inner = std::int64_t{attention.heads} * attention.head_dim;
  const std::int64_t shared = std::int64_t{attention.kv_heads} * attention.head_dim;
  add(prefix + "in_proj.weight", {inner + 2 * shared, width}, P::dense, I::normal,
      rows({inner, shared, shared}), init_std_);
  add(prefix + "out_proj.weight", {width, inner}, P::dense, I::normal, columns(inner), out_std);
  if (attention.bias) add(prefix + "out_proj.bias", {width}, P::small, I::zero);
}

void ParameterTable::place() {
  std::int64_t offset = 0;
  const auto region = [&](ParameterClass kind) {
    const std::int64_t start = offset;
    for (const bool split : {true, false})
      for (int unit = 0; unit < units_; ++unit) place_range(unit, kind, split, offset);
    return offset - start;
  };
  dense_size_ = region(ParameterClass::dense);
  small_size_ = region(ParameterClass::small);
  log_pole_size_ = region(ParameterClass::log_pole);
}

void ParameterTable::place_range(int unit, ParameterClass kind, bool split, std::int64_t& offset) {
  const auto align = [&](std::int64_t to) { offset = (offset + to - 1) / to * to; };
  const std::int64_t start = offset;
  for (Parameter& parameter : parameters_) {
    if (parameter.unit != unit || parameter.kind != kind || parameter.slice.ranges.empty() == split) continue;
    if (!parameter.name.ends_with("ffn.up.weight")) align(kAlignment);
    parameter.offset = offset;
    offset += parameter.count();
  }
  align(kAlignment * parts_);
  if (offset > start) ranges_.push_back({unit, kind, split, start, offset - start});
}

std::int64_t ParameterTable::count() const {
  std::int64_t result = 0;
  for (const Parameter& parameter : parameters_) result += parameter.whole_count();
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
  const std::uint64_t stream = hash_text(parameter.name);
  // Value i of the whole tensor and those behind it.
  const auto draw = [&](double std, std::int64_t first, std::int64_t length, double* values) {
    threads.split(length, kDrawGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i)
        values[i] = std * random_normal(seed, stream, static_cast<std::uint64_t>(first + i));
    });
  };
  if (parameter.init == InitialValue::normal) {
    // By far the most values: only this rank's are drawn.
    std::vector<double> values(count);
    for (const auto& [whole, part, length] : parameter.stretches())
      draw(parameter.init_std, whole, length, values.data() + part);
    return values;
  }
  std::vector<double> values(static_cast<std::size_t>(parameter.whole_count()));
  draw(1, 0, parameter.whole_count(), values.data());
  if (parameter.init == InitialValue::featurizer)
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] =
          kFeaturizerNoise * values[i] + (i % static_cast<std::size_t>(parameter.shape[1]) == 0 ? 1 : 0);
  else if (parameter.init == InitialValue::filter)
    fill_filter(*parameter.hyena, values);
  else
    fill_modal(parameter, sequence, values);
  return parameter.part_of(values);
}

}  // namespace striped
