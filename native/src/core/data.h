// Training data: tokens in memory, a held-out tail, and a sample order that is a function of the seed and the
// sample's number alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/plan.h"

namespace striped {

// Windows of length + 1 tokens on the host, as a model takes them.
struct SampleBatch {
  std::vector<std::int32_t> tokens, targets;  // [windows, length]
  std::vector<float> weights;
  double total_weight = 0;
};

class Dataset {
 public:
  // Errors: "data-missing" (a pattern finds no file), "data-short", "data-text" (text that nobody has
  // tokenised), and those of append_tokens() and append_token_file().
  Dataset(const PlanData& plan, std::int64_t vocab, std::int64_t length);
  // For tests: bytes as they would have been read.
  Dataset(std::vector<std::uint8_t> tokens, double case_weight, double held_out, std::int64_t length);

  std::int64_t train_tokens() const { return train_tokens_; }
  std::int64_t held_out_tokens() const { return total() - train_tokens_; }
  // Tells these tokens from others: how many, and their checksum.
  std::string fingerprint() const;
  // nats a token, weighted like the loss.
  double composition_entropy() const;

  // Samples first … first + windows - 1. Every epoch cuts the training tokens into windows at its own phase
  // and takes them in its own order.
  SampleBatch training(std::uint64_t seed, std::uint64_t first, std::int64_t windows) const;

  // Windows used for the held-out loss: all of a short tail, else evenly spread ones of about 64K tokens.
  std::int64_t held_out_windows() const;
  // Windows beyond the last one, and what reaches over the end, have weight 0.
  SampleBatch held_out(std::int64_t first, std::int64_t windows) const;
  std::int64_t held_out_targets() const;

  // First token of a training sample (tests).
  std::int64_t sample_start(std::uint64_t seed, std::uint64_t sample) const;

 private:
  void read(const PlanData& plan, std::int64_t vocab);
  void split(double held_out);
  std::int64_t total() const { return static_cast<std::int64_t>(bytes_.size() + words_.size()); }
  void append(SampleBatch& batch, std::int64_t start, std::int64_t end) const;
  std::int64_t held_out_start(std::int64_t window) const;
  std::uint16_t raw(std::int64_t index) const;
  std::uint16_t token(std::int64_t index) const;
  float weight(std::int64_t index) const;

  // The tokens are in the one or the other.
  std::vector<std::uint8_t> bytes_;  // case kept
  std::vector<std::uint16_t> words_;
  double case_weight_;
  std::int64_t length_;
  std::int64_t train_tokens_ = 0;
};

// The files that a plan's patterns name (glob(3), relative to the root), sorted, each once.
std::vector<std::filesystem::path> data_files(const PlanData& plan);

}  // namespace striped
