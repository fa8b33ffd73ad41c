#include "core/data.h"

#include <glob.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "core/fasta.h"
#include "core/file_io.h"
#include "core/random.h"
#include "core/token_file.h"
#include "striped/error.h"

namespace striped {
namespace {

constexpr std::int64_t kHeldOutTokens = 65536;
constexpr std::uint64_t kPhaseStream = hash_text("phase"), kOrderStream = hash_text("order");

constexpr std::size_t kMostTokens = std::size_t{1} << 16;

// A path as a pattern of glob(3) that matches it alone.
std::string literal_pattern(const std::string& path) {
  std::string pattern;
  for (const char letter : path) {
    if (std::string_view("*?[\\").find(letter) != std::string_view::npos) pattern += '\\';
    pattern += letter;
  }
  return pattern;
}

// Leaves out what is named once more, as "./a.fa", over ".." or by a link: of a file that is read twice, the
// held-out end would be trained on.
void keep_once(std::vector<std::filesystem::path>& files) {
  std::sort(files.begin(), files.end());
  std::set<std::filesystem::path> seen;
  std::erase_if(files, [&](const std::filesystem::path& file) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(file, error);
    return !seen.insert(error ? file : real).second;
  });
}

bool is_lower(std::uint16_t token) { return token >= 'a' && token <= 'z'; }

}  // namespace

std::vector<std::filesystem::path> data_files(const PlanData& plan) {
  std::vector<std::filesystem::path> files;
  for (const std::string& pattern : plan.files) {
    const std::filesystem::path full = std::filesystem::path(literal_pattern(plan.root.string())) / pattern;
    glob_t found{};
    const int result = ::glob(full.c_str(), 0, nullptr, &found);
    for (std::size_t i = 0; result == 0 && i < found.gl_pathc; ++i)
      if (!std::filesystem::is_directory(found.gl_pathv[i])) files.emplace_back(found.gl_pathv[i]);
    const bool any = result == 0 && found.gl_pathc > 0;
    ::globfree(&found);
    if (!any)
      throw Error("data-missing", "no data file matches \"" + pattern + "\" in " + plan.root.string() +
                                      "; check the path in `data` of the run");
  }
  keep_once(files);
  if (files.empty())
    throw Error("data-missing", "the data patterns of the run match only directories in " +
                                    plan.root.string() + "; name files, for instance \"genomes/*.fa.gz\"");
  return files;
}

Dataset::Dataset(const PlanData& plan, std::int64_t vocab, std::int64_t length)
    : case_weight_(plan.case_weight), length_(length) {
  read(plan, vocab);
  split(plan.held_out);
}

Dataset::Dataset(std::vector<std::uint8_t> tokens, double case_weight, double held_out, std::int64_t length)
    : bytes_(std::move(tokens)), case_weight_(case_weight), length_(length) {
  split(held_out);
}

std::string Dataset::fingerprint() const {
  std::uint32_t crc = crc32c(bytes_.data(), bytes_.size(), 0);
  crc = crc32c(words_.data(), words_.size() * sizeof(words_[0]), crc);
  return std::to_string(total()) + " tokens, checksum " + hexadecimal(crc);
}

void Dataset::read(const PlanData& plan, std::int64_t vocab) {
  if (plan.kind == PlanDataKind::bpe)
    throw Error(
        "data-text",
        "the data of this plan is text that is not tokenised yet; launch the run with `striped train` or "
        "from the editor, which do that first");
  for (const std::filesystem::path& file : data_files(plan)) {
    if (plan.kind == PlanDataKind::tokens)
      append_token_file(file, vocab, words_);
    else
      append_tokens(file, vocab, bytes_);
  }
}

void Dataset::split(double held_out) {
  train_tokens_ = total() - static_cast<std::int64_t>(std::llround(held_out * static_cast<double>(total())));
  if (train_tokens_ < length_ + 1)
    throw Error("data-short", "the data has " + std::to_string(total()) + " tokens, " +
                                  std::to_string(train_tokens_) + " of them for training; a sequence of " +
                                  std::to_string(length_) + " needs at least " + std::to_string(length_ + 1) +
                                  "; shorten `sequence` or add data");
}

std::uint16_t Dataset::raw(std::int64_t index) const {
  const auto at = static_cast<std::size_t>(index);
  return words_.empty() ? bytes_[at] : words_[at];
}

std::uint16_t Dataset::token(std::int64_t index) const {
  const std::uint16_t token = raw(index);
  return case_weight_ != 1 && is_lower(token) ? static_cast<std::uint16_t>(token - 'a' + 'A') : token;
}

float Dataset::weight(std::int64_t index) const {
  return is_lower(raw(index)) ? static_cast<float>(case_weight_) : 1.0f;
}

double Dataset::composition_entropy() const {
  std::vector<double> counts(kMostTokens);
  double weights = 0;
  for (auto i = train_tokens_; i < total(); ++i) {
    counts[token(i)] += weight(i);
    weights += weight(i);
  }
  double entropy = 0;
  for (const double count : counts)
    if (count > 0) entropy -= count / weights * std::log(count / weights);
  return entropy;
}

std::int64_t Dataset::sample_start(std::uint64_t seed, std::uint64_t sample) const {
  const auto windows =
      static_cast<std::uint64_t>(std::max<std::int64_t>(1, (train_tokens_ - length_) / length_));
  const auto slack =
      static_cast<std::uint64_t>(train_tokens_ - 1) - windows * static_cast<std::uint64_t>(length_);
  const std::uint64_t phases = std::min(static_cast<std::uint64_t>(length_), slack + 1);
  const std::uint64_t epoch = sample / windows;
  const std::uint64_t phase = random_bits(seed, kPhaseStream, epoch) % phases;
  const std::uint64_t order_seed = random_bits(seed, kOrderStream, epoch);
  const std::uint64_t window = random_permutation(order_seed, kOrderStream, windows, sample % windows);
  return static_cast<std::int64_t>(phase + window * static_cast<std::uint64_t>(length_));
}

// A window whose tokens end before `end`; the rest is padding without weight.
void Dataset::append(SampleBatch& batch, std::int64_t start, std::int64_t end) const {
  for (std::int64_t i = start; i < start + length_; ++i) {
    const bool known = i + 1 < end;
    batch.tokens.push_back(known ? token(i) : 0);
    batch.targets.push_back(known ? token(i + 1) : 0);
    batch.weights.push_back(known ? weight(i + 1) : 0.0f);
    batch.total_weight += batch.weights.back();
  }
}

SampleBatch Dataset::training(std::uint64_t seed, std::uint64_t first, std::int64_t windows) const {
  SampleBatch batch;
  for (std::int64_t i = 0; i < windows; ++i)
    append(batch, sample_start(seed, first + static_cast<std::uint64_t>(i)), train_tokens_);
  return batch;
}

std::int64_t Dataset::held_out_windows() const {
  const std::int64_t available = (held_out_tokens() - 1 + length_ - 1) / length_;
  if (held_out_tokens() < 2) return 0;
  return std::min(available, std::max<std::int64_t>(8, kHeldOutTokens / length_));
}

std::int64_t Dataset::held_out_start(std::int64_t window) const {
  const std::int64_t available = (held_out_tokens() - 1 + length_ - 1) / length_;
  return train_tokens_ + window * available / held_out_windows() * length_;
}

SampleBatch Dataset::held_out(std::int64_t first, std::int64_t windows) const {
  SampleBatch batch;
  for (std::int64_t window = first; window < first + windows; ++window) {
    const std::int64_t start = window < held_out_windows() ? held_out_start(window) : total();
    append(batch, start, total());
  }
  return batch;
}

std::int64_t Dataset::held_out_targets() const {
  std::int64_t targets = 0;
  for (std::int64_t window = 0; window < held_out_windows(); ++window)
    targets += std::min(length_, total() - 1 - held_out_start(window));
  return targets;
}

}  // namespace striped
