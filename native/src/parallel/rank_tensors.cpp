#include "parallel/rank_tensors.h"

namespace striped::parallel {
namespace {

// A whole tensor on the device in the type of parameters, to be summed or sent.
class Travelling {
 public:
  Travelling(Backend& backend, std::int64_t count)
      : backend_(backend),
        count_(count),
        type_(real_type(backend.activation_type())),
        buffer_(backend, static_cast<std::size_t>(count) * size_of(type_)) {}

  void load(const std::vector<double>& values) {
    if (type_ == DType::f64) return backend_.upload(buffer_.at(), values.data(), buffer_.bytes());
    const std::vector<float> single(values.begin(), values.end());
    backend_.upload(buffer_.at(), single.data(), buffer_.bytes());
  }
  std::vector<double> values() const {
    std::vector<double> result(static_cast<std::size_t>(count_));
    if (type_ == DType::f64) {
      backend_.download(result.data(), buffer_.at(), buffer_.bytes());
      return result;
    }
    std::vector<float> single(result.size());
    backend_.download(single.data(), buffer_.at(), buffer_.bytes());
    return {single.begin(), single.end()};
  }
  void sum(Communicator& ranks) { ranks.all_reduce(buffer_.at(), count_, type_); }
  void broadcast(Communicator& ranks) { ranks.broadcast(buffer_.at(), count_, type_, 0); }

 private:
  Backend& backend_;
  std::int64_t count_;
  DType type_;
  DeviceBuffer buffer_;
};

}  // namespace

// The sum over ranks of what each alone answers for, with zeros elsewhere.
std::vector<double> RankTensors::collect(const StoredTensor& tensor) {
  const Parameter& parameter = store_.table().parameters()[static_cast<std::size_t>(tensor.parameter)];
  const bool first_copy = store_.sharing().zero > 0 || ranks_.place.replicas().index == 0;
  const bool first_tensor = !parameter.slice.ranges.empty() || ranks_.place.tensor.index == 0;
  std::vector<double> whole(static_cast<std::size_t>(parameter.whole_count()), 0.0);
  if (first_copy && first_tensor) {
    const std::vector<double> own = store_.own_values(tensor.parameter, tensor.what);
    for (const auto& [in_whole, in_part, length] : parameter.stretches())
      std::copy_n(own.begin() + in_part, length, whole.begin() + in_whole);
  }
  Travelling travelling(store_.backend(), parameter.whole_count());
  travelling.load(whole);
  travelling.sum(*ranks_.all);
  return has_files() ? travelling.values() : std::vector<double>();
}

void RankTensors::spread(const StoredTensor& tensor, const std::vector<double>& values, ThreadPool& threads) {
  const Parameter& parameter = store_.table().parameters()[static_cast<std::size_t>(tensor.parameter)];
  Travelling travelling(store_.backend(), parameter.whole_count());
  if (has_files()) travelling.load(values);
  travelling.broadcast(*ranks_.all);
  store_.set_whole(tensor.parameter, tensor.what, travelling.values(), threads);
}

}  // namespace striped::parallel
