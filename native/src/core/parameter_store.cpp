#include "core/parameter_store.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "striped/error.h"

namespace striped {
namespace {

constexpr std::int64_t kStretch = std::int64_t{1}
                                  << 18;  // values that initialise_roughly() makes of a matrix

constexpr std::int64_t kConversionGrain = 4096;  // values a thread converts at a time, at least

std::uint16_t to_bfloat16(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  if (std::isnan(value)) return 0x7fc0;
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename To, typename Round>
void upload_as(Backend& backend, void* to, const double* values, std::size_t count, ThreadPool& threads,
               const Round& round) {
  std::vector<To> converted(count);
  threads.split(static_cast<std::int64_t>(count), kConversionGrain,
                [&](std::int64_t begin, std::int64_t end) {
                  std::transform(values + begin, values + end, converted.begin() + begin, round);
                });
  backend.upload(to, converted.data(), count * sizeof(To));
}

void upload(Backend& backend, void* to, const double* values, std::size_t count, std::size_t element,
            ThreadPool& threads) {
  if (element == 8)
    backend.upload(to, values, count * 8);
  else if (element == 4)
    upload_as<float>(backend, to, values, count, threads,
                     [](double value) { return static_cast<float>(value); });
  else
    upload_as<std::uint16_t>(backend, to, values, count, threads, to_bfloat16);
}

void download(Backend& backend, double* values, const void* from, std::size_t count, std::size_t element) {
  if (element == 8) return backend.download(values, from, count * 8);
  std::vector<float> single(count);
  backend.download(single.data(), from, count * 4);
  std::copy(single.begin(), single.end(), values);
}

}  // namespace

// Which arrays there are, and how large.
struct ParameterStore::Extents {
  Extents(const ParameterTable& table, DType activation, Keep keep, const Sharing& sharing) {
    const std::size_t real = size_of(real_type(activation));
    const std::int64_t dense = table.dense_size(), all = table.size(), poles = table.log_pole_size();
    const bool copied = activation == DType::bf16;
    const int zero = sharing.zero;
    const auto extent = [&](std::int64_t first, std::int64_t end, bool in_parts, std::size_t element) {
      return Flat::Extent{first, end - first, in_parts, element, sharing.part};
    };
    const bool differentiated = keep >= Keep::gradients;
    dense_masters = extent(0, dense, zero >= (copied ? 1 : 3), real);
    small_masters = extent(dense, all, zero >= 3, real);
    gradients = extent(0, all, zero >= 2, differentiated ? real : 0);
    moments = extent(0, all, zero >= 1, keep == Keep::optimizer ? real : 0);
    compute = extent(0, dense, zero >= 3, copied ? size_of(activation) : 0);
    log_poles = extent(all - poles, all, zero >= 3, real);
    weight_slots = Slots(table, zero >= 3, [&](const ParameterRange& range) {
      return range.kind == ParameterClass::dense && copied ? compute.element : real;
    });
    gradient_slots = Slots(table, zero >= 2 && differentiated, [&](const ParameterRange&) { return real; });
  }
  Flat::Extent dense_masters, small_masters, gradients, moments, compute, log_poles;
  Slots weight_slots, gradient_slots;
};

template <typename ElementOf>
ParameterStore::Slots::Slots(const ParameterTable& table, bool used, const ElementOf& element_of) {
  if (!used) return;
  std::vector<std::size_t> filled(static_cast<std::size_t>(table.units()));
  for (const ParameterRange& range : table.ranges()) {
    std::size_t& end = filled[static_cast<std::size_t>(range.unit)];
    within_[range.offset] = end;
    end += static_cast<std::size_t>(range.count) * element_of(range);
  }
  first_ = filled[0];
  other_ = *std::max_element(filled.begin() + 1, filled.end());
}

std::size_t ParameterStore::Slots::place(const ParameterRange& range) const {
  const std::size_t within = within_.at(range.offset);
  return range.unit == 0 ? within : first_ + static_cast<std::size_t>(range.unit) % kSlots * other_ + within;
}

ParameterStore::Bytes ParameterStore::bytes(const ParameterTable& table, DType activation, Keep keep,
                                            const Sharing& sharing) {
  const Extents extents(table, activation, keep, sharing);
  const bool copied = activation == DType::bf16;
  const std::size_t masters = extents.dense_masters.bytes(), moments = 2 * extents.moments.bytes();
  return {extents.small_masters.bytes() + extents.log_poles.bytes() + extents.weight_slots.bytes() +
              (copied ? extents.compute.bytes() : masters),
          extents.gradients.bytes() + extents.gradient_slots.bytes(), moments + (copied ? masters : 0)};
}

ParameterStore::ParameterStore(const ParameterTable& table, Backend& backend, Keep keep,
                               const Sharing& sharing)
    : table_(table),
      backend_(backend),
      sharing_(sharing),
      real_(size_of(real_type(backend.activation_type()))) {
  if (sharing.part.count == 1) sharing_.zero = 0;
  Extents extents(table, backend.activation_type(), keep, sharing_);
  dense_masters_ = Flat(backend, extents.dense_masters);
  small_masters_ = Flat(backend, extents.small_masters);
  gradients_ = Flat(backend, extents.gradients);
  moment1_ = Flat(backend, extents.moments);
  moment2_ = Flat(backend, extents.moments);
  compute_ = Flat(backend, extents.compute);
  log_poles_ = Flat(backend, extents.log_poles);
  weight_slots_ = std::move(extents.weight_slots);
  gradient_slots_ = std::move(extents.gradient_slots);
  weight_memory_ = DeviceBuffer(backend, weight_slots_.bytes());
  gradient_memory_ = DeviceBuffer(backend, gradient_slots_.bytes());
  if (keep == Keep::optimizer) make_pieces();
}

std::size_t ParameterStore::weight_bytes() const {
  return small_masters_.bytes() + log_poles_.bytes() + weight_memory_.bytes() +
         (compute_.exists() ? compute_ : dense_masters_).bytes();
}

std::size_t ParameterStore::optimizer_bytes() const {
  return moment1_.bytes() + moment2_.bytes() + (compute_.exists() ? dense_masters_.bytes() : 0);
}

const Flat& ParameterStore::masters_of(ParameterClass kind) const {
  return kind == ParameterClass::dense ? dense_masters_ : small_masters_;
}

const Flat& ParameterStore::weights_of(ParameterClass kind) const {
  if (kind == ParameterClass::log_pole) return log_poles_;
  return kind == ParameterClass::dense && compute_.exists() ? compute_ : masters_of(kind);
}

const ParameterRange& ParameterStore::range_of(const Parameter& parameter) const {
  const auto behind = std::upper_bound(
      table_.ranges().begin(), table_.ranges().end(), parameter.offset,
      [](std::int64_t offset, const ParameterRange& range) { return offset < range.offset; });
  return *std::prev(behind);
}

void* ParameterStore::weight_place(const ParameterRange& range) const {
  return weight_slots_.used() ? weight_memory_.at(weight_slots_.place(range))
                              : weights_of(range.kind).at(range.offset);
}

void* ParameterStore::gradient_place(const ParameterRange& range) const {
  return gradient_slots_.used() ? gradient_memory_.at(gradient_slots_.place(range))
                                : gradients_.at(range.offset);
}

const void* ParameterStore::weight(int index) const {
  const Parameter& found = parameter(index);
  const ParameterRange& range = range_of(found);
  return static_cast<const std::byte*>(weight_place(range)) +
         static_cast<std::size_t>(found.offset - range.offset) * weights_of(found.kind).element();
}

void* ParameterStore::gradient(int index) const {
  const Parameter& found = parameter(index);
  const ParameterRange& range = range_of(found);
  return static_cast<std::byte*>(gradient_place(range)) +
         static_cast<std::size_t>(found.offset - range.offset) * real_;
}

std::vector<ParameterStore::Share> ParameterStore::weight_shares(int unit) const {
  std::vector<Share> shares;
  for (const ParameterRange& range : table_.ranges()) {
    if (range.unit != unit) continue;
    const Flat& flat = weights_of(range.kind);
    const DType type =
        &flat == &compute_ ? backend_.activation_type() : real_type(backend_.activation_type());
    shares.push_back(
        {weight_place(range), flat.own(range), range.count / sharing_.part.count, type, range.split});
  }
  return shares;
}

std::vector<ParameterStore::Share> ParameterStore::gradient_shares(int unit) const {
  std::vector<Share> shares;
  for (const ParameterRange& range : table_.ranges())
    if (range.unit == unit)
      shares.push_back({gradient_place(range), gradients_.own(range), range.count / sharing_.part.count,
                        real_type(backend_.activation_type()), range.split});
  return shares;
}

// `action` gets the stretch of this rank's part of the parameter that `flat` has, and where it lies.
template <typename Action>
void ParameterStore::visit(const Flat& flat, const Parameter& parameter, bool own_only,
                           const Action& action) const {
  const ParameterRange& range = range_of(parameter);
  const std::int64_t share = range.count / sharing_.part.count;
  const bool limited = own_only || flat.in_parts();
  const std::int64_t first = limited ? range.offset + sharing_.part.index * share : range.offset;
  const std::int64_t begin = std::max(first, parameter.offset);
  const std::int64_t end =
      std::min(first + (limited ? share : range.count), parameter.offset + parameter.count());
  if (begin >= end) return;
  std::byte* const start = static_cast<std::byte*>(limited ? flat.own(range) : flat.at(first));
  action(static_cast<std::size_t>(begin - parameter.offset), static_cast<std::size_t>(end - begin),
         start + static_cast<std::size_t>(begin - first) * flat.element());
}

void ParameterStore::write(const Flat& flat, const Parameter& parameter, const std::vector<double>& values,
                           ThreadPool& threads) const {
  visit(flat, parameter, false, [&](std::size_t first, std::size_t count, void* place) {
    upload(backend_, place, values.data() + first, count, flat.element(), threads);
  });
}

void ParameterStore::set_master(const Parameter& parameter, const std::vector<double>& part,
                                ThreadPool& threads) {
  write(masters_of(parameter.kind), parameter, part, threads);
  if (parameter.kind == ParameterClass::dense && compute_.exists()) write(compute_, parameter, part, threads);
}

void ParameterStore::derive_log_poles() {
  if (!log_poles_.exists()) return;
  const std::int64_t first = table_.dense_size() + table_.small_size();
  const int parts = small_masters_.in_parts() ? sharing_.part.count : 1;
  auto* const masters = static_cast<std::byte*>(small_masters_.begin()) +
                        static_cast<std::size_t>((first - table_.dense_size()) / parts) * real_;
  backend_.negative_exponential(table_.log_pole_size() / parts, masters, log_poles_.begin());
}

void ParameterStore::initialise(std::uint64_t seed, std::int64_t sequence) {
  ThreadPool threads(0);
  for (const Parameter& each : table_.parameters())
    set_master(each, initial_values(each, seed, sequence, threads), threads);
  derive_log_poles();
}

void ParameterStore::initialise_roughly(std::uint64_t seed, std::int64_t sequence) {
  ThreadPool threads(0);
  for (const Parameter& each : table_.parameters()) {
    Parameter start = each;
    if (each.init == InitialValue::normal && each.count() > kStretch) start.shape = {kStretch};
    const std::vector<double> values = initial_values(start, seed, sequence, threads);
    repeat(masters_of(each.kind), each, values, threads);
    if (each.kind == ParameterClass::dense && compute_.exists()) repeat(compute_, each, values, threads);
  }
  derive_log_poles();
}

void ParameterStore::repeat(const Flat& flat, const Parameter& parameter, const std::vector<double>& values,
                            ThreadPool& threads) const {
  const bool whole = values.size() == static_cast<std::size_t>(parameter.count());
  visit(flat, parameter, false, [&](std::size_t first, std::size_t count, void* place) {
    std::size_t filled = std::min(count, values.size());
    upload(backend_, place, values.data() + (whole ? first : 0), filled, flat.element(), threads);
    while (filled < count) {
      const std::size_t more = std::min(filled, count - filled);
      backend_.copy(static_cast<std::byte*>(place) + filled * flat.element(), place, more * flat.element());
      filled += more;
    }
  });
}

const Flat& ParameterStore::array(ParameterClass kind, Stored what) const {
  switch (what) {
    case Stored::moment1:
      return moment1_;
    case Stored::moment2:
      return moment2_;
    case Stored::gradient:
      return gradients_;
    case Stored::weight:
      return kind == ParameterClass::log_pole ? log_poles_ : masters_of(kind);
    default:
      return masters_of(kind);
  }
}

std::vector<double> ParameterStore::own_values(int index, Stored what) const {
  const Parameter& found = parameter(index);
  const Flat& flat = array(found.kind, what);
  std::vector<double> values(static_cast<std::size_t>(found.count()), 0.0);
  visit(flat, found, true, [&](std::size_t first, std::size_t count, const void* place) {
    download(backend_, values.data() + first, place, count, flat.element());
  });
  return values;
}

void ParameterStore::set_whole(int index, Stored what, const std::vector<double>& values,
                               ThreadPool& threads) {
  const Parameter& found = parameter(index);
  const std::vector<double> part = found.part_of(values);
  if (what != Stored::weight) {
    write(array(found.kind, what), found, part, threads);
  } else if (found.kind != ParameterClass::log_pole) {
    set_master(found, part, threads);
  } else {
    write(log_poles_, found, part, threads);
    std::vector<double> learnt(part.size());
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (!(part[i] < 0))
        throw Error("tensor-value", found.name + " holds " + std::to_string(part[i]) +
                                        "; log_poles are logarithms of poles in (0, 1), so below 0");
      learnt[i] = std::log(-part[i]);
    }
    set_master(found, learnt, threads);
  }
}

// Shared-out gradients always start from zero: their slots are other units' in turn, padding and all.
void ParameterStore::set_accumulates(bool accumulates) {
  accumulates_ = accumulates || gradient_slots_.used();
}

void ParameterStore::zero_gradients() {
  if (accumulates_) return gradients_.zero();
  std::int64_t begin = 0, end = 0;
  const auto zero = [&] {
    if (begin < end)
      backend_.zero(gradients_.at(begin), static_cast<std::size_t>(end - begin) * gradients_.element());
  };
  for (const ParameterRange& range : table_.ranges()) {
    const bool written = range.kind == ParameterClass::dense && range.unit > 0;
    if (written) continue;
    if (range.offset != end) {
      zero();
      begin = range.offset;
    }
    end = range.offset + range.count;
  }
  zero();
}

void ParameterStore::make_pieces() {
  const auto follows = [](const void* before, std::int64_t count, std::size_t element, const void* next) {
    return before == nullptr
               ? next == nullptr
               : static_cast<const std::byte*>(before) + static_cast<std::size_t>(count) * element == next;
  };
  for (const ParameterRange& range : table_.ranges()) {
    const Piece next{range.unit,
                     range.count / sharing_.part.count,
                     gradients_.own(range),
                     masters_of(range.kind).own(range),
                     moment1_.own(range),
                     moment2_.own(range),
                     range.kind == ParameterClass::dense && compute_.exists() ? compute_.own(range) : nullptr,
                     range.kind == ParameterClass::dense,
                     range.split || table_.tensor().index == 0};
    Piece* const last = pieces_.empty() ? nullptr : &pieces_.back();
    if (last != nullptr && last->decayed == next.decayed && last->counted == next.counted &&
        follows(last->gradient, last->count, real_, next.gradient) &&
        follows(last->master, last->count, real_, next.master) &&
        follows(last->moment1, last->count, real_, next.moment1) &&
        follows(last->compute, last->count, compute_.element(), next.compute))
      last->count += next.count;
    else
      pieces_.push_back(next);
  }
}

// From the gradients of log_pole = -exp(p) to those of p.
void ParameterStore::chain_log_poles() {
  for (const ParameterRange& range : table_.ranges())
    if (range.kind == ParameterClass::log_pole)
      backend_.multiply(range.count / sharing_.part.count, gradients_.own(range), log_poles_.own(range));
}

void ParameterStore::measure(double* squared_norm) {
  chain_log_poles();
  backend_.zero(squared_norm, sizeof *squared_norm);
  for (const Piece& piece : pieces_)
    if (piece.counted) backend_.squared_norm(piece.count, piece.gradient, squared_norm);
}

void ParameterStore::apply(const AdamWSettings& settings, const OptimizerStep* step,
                           const double* squared_norm, const std::function<void(int)>& updated) {
  AdamWSettings undecayed = settings;
  undecayed.weight_decay = 0;
  const auto apply_to = [&](const Piece& piece) {
    backend_.adamw(piece.count, piece.decayed ? settings : undecayed, step, squared_norm, piece.gradient,
                   piece.master, piece.moment1, piece.moment2, piece.compute);
  };
  for (const Piece& piece : pieces_)
    if (!piece.decayed) apply_to(piece);
  derive_log_poles();
  for (int unit = 0; unit < table_.units(); ++unit) {
    for (const Piece& piece : pieces_)
      if (piece.decayed && piece.unit == unit) apply_to(piece);
    updated(unit);
  }
}

void ParameterStore::update(const AdamWSettings& settings, const OptimizerStep* step, double* squared_norm) {
  measure(squared_norm);
  apply(settings, step, squared_norm);
}

}  // namespace striped
