// The parameter table: names, places and initial values.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "core_fixture.h"

namespace {

const striped::Parameter& find(const striped::ParameterTable& table, const std::string& name) {
  return table.parameters()[static_cast<std::size_t>(table.find(name))];
}

}  // namespace

TEST_CASE("names and shapes are those of the weights contract") {
  const striped::Plan plan = striped::parse_plan(fixture::plan());
  const striped::ParameterTable table(plan.model, 0.02);
  using Shape = std::vector<std::int64_t>;
  CHECK(find(table, "embedding.weight").shape == Shape{11, 8});
  CHECK(find(table, "blocks.0.mixer.in_proj.weight").shape == Shape{24, 8});
  CHECK(find(table, "blocks.0.mixer.featurizer.weight").shape == Shape{24, 3});
  CHECK(find(table, "blocks.1.mixer.filter").shape == Shape{4, 6});
  CHECK(find(table, "blocks.1.mixer.skip").shape == Shape{8});
  CHECK(find(table, "blocks.1.mixer.out_proj.bias").shape == Shape{8});
  CHECK(find(table, "blocks.1.ffn.in_proj.weight").shape == Shape{24, 8});
  CHECK(find(table, "blocks.2.mixer.log_poles").shape == Shape{8, 3});
  CHECK(find(table, "blocks.3.mixer.in_proj.weight").shape == Shape{16, 8});  // 4 + 2·2 heads of 2
  CHECK(find(table, "blocks.3.ffn.down.weight").shape == Shape{8, 12});
  CHECK(find(table, "norm.weight").shape == Shape{8});
  std::set<std::string> names;
  for (const auto& parameter : table.parameters()) names.insert(parameter.name);
  CHECK(names.size() == table.parameters().size());
  CHECK(names.count("unembedding.weight") == 0);
  CHECK(names.count("blocks.0.mixer.skip") == 0);
  CHECK(names.count("blocks.2.norm2.weight") == 0);
}

TEST_CASE("parameters do not overlap, and up lies right behind gate") {
  const striped::Plan plan = striped::parse_plan(fixture::plan());
  const striped::ParameterTable table(plan.model, 0.02);
  std::vector<int> owners(static_cast<std::size_t>(table.size()), 0);
  for (const auto& parameter : table.parameters())
    for (std::int64_t i = 0; i < parameter.count(); ++i)
      ++owners[static_cast<std::size_t>(parameter.offset + i)];
  for (const int owner : owners) CHECK(owner <= 1);
  const auto& gate = find(table, "blocks.0.ffn.gate.weight");
  CHECK(find(table, "blocks.0.ffn.up.weight").offset == gate.offset + gate.count());
  for (const auto& parameter : table.parameters())
    CHECK((parameter.offset < table.dense_size()) == (parameter.kind == striped::ParameterClass::dense));
}

TEST_CASE("decay factors follow the paper's exponentials") {
  const striped::Plan plan = striped::parse_plan(fixture::plan());
  const auto& mr = std::get<striped::PlanHyena>(plan.model.blocks[1].mixer);
  const std::vector<double> factors = striped::decay_factors(mr);
  CHECK(factors[0] == 1);
  CHECK(factors[5] == doctest::Approx(std::exp(-1.0)));                                  // group 0: α = 10^0
  CHECK(factors[3 * 6 + 5] == doctest::Approx(std::exp(-10.0)));                         // group 3: α = 10^1
  CHECK(factors[6 + 2] == doctest::Approx(std::exp(-std::pow(10.0, 1.0 / 3) * 2 / 5)));  // group 1, tap 2
}

TEST_CASE("initial values have the scales that are promised") {
  striped::PlanHyena li{};
  li.op = striped::HyenaOperator::LI;
  li.groups = 64;
  li.order = 16;
  striped::Parameter poles{
      "x.log_poles", {64, 16}, striped::ParameterClass::log_pole, striped::InitialValue::poles, 0, &li};
  striped::ThreadPool threads(3);
  const std::vector<double> p = striped::initial_values(poles, 1, 1024, threads);
  CHECK(std::exp(p[0]) == doctest::Approx(0.5));     // log_pole = -exp(p): 2 tokens
  CHECK(std::exp(-p[15]) == doctest::Approx(1024));  // the whole sequence
  const striped::Parameter dense{
      "x.weight", {100, 100}, striped::ParameterClass::dense, striped::InitialValue::normal, 0.02};
  double mean = 0, energy = 0;
  for (const double value : striped::initial_values(dense, 7, 1, threads)) {
    mean += value / 1e4;
    energy += value * value / 1e4;
  }
  CHECK(std::abs(mean) < 1e-3);
  CHECK(std::sqrt(energy) == doctest::Approx(0.02).epsilon(0.03));
  striped::ThreadPool alone(1);
  CHECK(striped::initial_values(dense, 7, 1, threads) == striped::initial_values(dense, 7, 1, alone));
  CHECK(striped::initial_values(dense, 7, 1, threads) != striped::initial_values(dense, 8, 1, threads));
}

TEST_CASE("values made for measuring fill each part of a large matrix") {
  fixture::json text = fixture::plan();
  text["model"]["vocab"] = 65'000;  // 520,000 values, more than are made
  const striped::Plan plan = striped::parse_plan(text);
  for (const int zero : {1, 3}) {
    for (const int index : {0, 1}) {
      CAPTURE(zero);
      CAPTURE(index);
      const striped::ParameterTable table(plan.model, 0.02, {}, 2);
      const auto backend = striped::make_cpu_backend("fp32", 1);
      striped::ParameterStore store(table, *backend, striped::ParameterStore::Keep::optimizer,
                                    {zero, {index, 2}});
      store.initialise_roughly(3, 13);
      const std::vector<double> own =
          store.own_values(table.find("embedding.weight"), striped::Stored::weight);
      const auto given =
          static_cast<double>(std::count_if(own.begin(), own.end(), [](double v) { return v != 0; }));
      double energy = 0;
      for (const double value : own) energy += value * value / given;
      CHECK(given / static_cast<double>(own.size()) == doctest::Approx(0.5).epsilon(0.01));
      CHECK(std::sqrt(energy) == doctest::Approx(0.02).epsilon(0.03));
    }
  }
}

TEST_CASE("buffers in the arena that live at the same time never overlap") {
  striped::Arena arena;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const int first = static_cast<int>(striped::random_bits(3, 1, i) % 100);
    const auto buffer = arena.add("b", striped::random_bits(3, 2, i) % 100000);
    arena.use(buffer, first);
    arena.use(buffer, first + static_cast<int>(striped::random_bits(3, 3, i) % 20));
  }
  arena.place();
  std::size_t sum = 0;
  const auto& entries = arena.entries();
  for (std::size_t a = 0; a < entries.size(); ++a) {
    sum += entries[a].bytes;
    CHECK(entries[a].offset % 256 == 0);
    CHECK(entries[a].offset + entries[a].bytes <= arena.size());
    for (std::size_t b = 0; b < a; ++b) {
      const bool together = entries[a].first <= entries[b].last && entries[b].first <= entries[a].last;
      const bool overlap = entries[a].offset < entries[b].offset + entries[b].bytes &&
                           entries[b].offset < entries[a].offset + entries[a].bytes;
      CHECK_FALSE((together && overlap));
    }
  }
  CHECK(arena.size() < sum / 3);
}

TEST_CASE("what is kept from a forward to a backward pass leaves no gap beside large scratch") {
  // Arrays of a block of attention and a gated MLP: relative size, ticks of the first and of the last use.
  constexpr struct {
    std::size_t size;
    int first, last;
  } kUses[] = {{2, 0, 31},  {2, 1, 30},  {4, 2, 30},  {2, 3, 26},   {2, 3, 28},  {2, 4, 25},
               {2, 5, 24},  {10, 6, 22}, {5, 7, 20},  {2, 8, 19},   {2, 9, 16},  // kept
               {2, 10, 19}, {2, 18, 32}, {5, 21, 22}, {10, 22, 24}, {2, 23, 25}, {2, 27, 28},
               {2, 29, 31}, {26, 3, 3},  {26, 28, 28}};  // gradients, then scratch
  constexpr std::size_t kUnit = 1 << 20;
  striped::Arena arena;
  std::array<std::size_t, 33> needed{};
  for (const auto& [size, first, last] : kUses) {
    const auto buffer = arena.add("b", size * kUnit);
    arena.use(buffer, first);
    arena.use(buffer, last);
    for (int tick = first; tick <= last; ++tick) needed[static_cast<std::size_t>(tick)] += size * kUnit;
  }
  arena.place();
  CHECK(arena.size() == *std::max_element(needed.begin(), needed.end()));
}
