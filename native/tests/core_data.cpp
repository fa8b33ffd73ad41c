// Reading genomes, sample order, weights and the held-out tail.
#include <doctest/doctest.h>
#if defined(STRIPED_HAS_ZLIB)
#include <zlib.h>
#endif

#include <cmath>
#include <fstream>
#include <set>

#include "core/data.h"
#include "core/fasta.h"
#include "core/schedule.h"
#include "core/token_file.h"
#include "core_fixture.h"

using fixture::error_of;
using fixture::ScratchFolder;

namespace {

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

std::string tokens_of(const std::filesystem::path& file, std::int64_t vocab = 256) {
  std::vector<std::uint8_t> tokens;
  striped::append_tokens(file, vocab, tokens);
  return {tokens.begin(), tokens.end()};
}

striped::PlanData plan_of(const ScratchFolder& scratch, std::vector<std::string> files) {
  return {scratch.path(), std::move(files), 1.0, 0.1};
}

std::string words(const std::vector<int>& tokens) {
  std::string bytes;
  for (const int token : tokens) {
    bytes += static_cast<char>(token & 0xff);
    bytes += static_cast<char>(token >> 8);
  }
  return bytes;
}

std::vector<std::uint8_t> counting(std::size_t count) {
  std::vector<std::uint8_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = static_cast<std::uint8_t>(i % 251);
  return tokens;
}

}  // namespace

TEST_CASE("FASTA: headers and line ends go, records are separated by token 0") {
  const ScratchFolder scratch;
  write(scratch / "a.fa", ">one\r\nACGT\r\nac\n\n>two > more\nNN\n>three\n>four\nT");
  CHECK(tokens_of(scratch / "a.fa") == std::string("ACGTac\0NN\0T", 11));
}

TEST_CASE("FASTA may begin with a byte order mark and blank lines; other files keep theirs") {
  const ScratchFolder scratch;
  for (const std::string lead : {"\n", " \r\n\t\n", "\xEF\xBB\xBF", "\xEF\xBB\xBF\n"}) {
    write(scratch / "a.fa", lead + ">one\nAC\nGT\n");
    CHECK(tokens_of(scratch / "a.fa") == "ACGT");
    write(scratch / "a.txt", lead + "text > more");
    CHECK(tokens_of(scratch / "a.txt") == lead + "text > more");
    write(scratch / "a.txt", lead);
    CHECK(tokens_of(scratch / "a.txt") == lead);
  }
  write(scratch / "a.txt", "\xEF\xBB>x");
  CHECK(tokens_of(scratch / "a.txt") == "\xEF\xBB>x");
}

TEST_CASE("data is told from other data by its tokens") {
  const auto fingerprint = [](std::vector<std::uint8_t> tokens) {
    return striped::Dataset(std::move(tokens), 1.0, 0.1, 16).fingerprint();
  };
  std::vector<std::uint8_t> tokens = counting(1000);
  CHECK(fingerprint(tokens) == fingerprint(tokens));
  CHECK(fingerprint(tokens).find("1000 tokens") == 0);
  const std::string before = fingerprint(tokens);
  tokens[500] ^= 1;
  CHECK(fingerprint(tokens) != before);
}

TEST_CASE("other files are taken byte for byte") {
  const ScratchFolder scratch;
  write(scratch / "a.txt", "AC\n>GT\n");
  CHECK(tokens_of(scratch / "a.txt") == "AC\n>GT\n");
}

#if defined(STRIPED_HAS_ZLIB)
TEST_CASE("gzip is known by its magic, several members and a cut included") {
  const ScratchFolder scratch;
  for (const char* part : {">x\nACG", "T\n"}) {
    gzFile file = gzopen((scratch / "a.fa").c_str(), "ab");
    gzputs(file, part);
    gzclose(file);
  }
  CHECK(tokens_of(scratch / "a.fa") == "ACGT");
  std::filesystem::resize_file(scratch / "a.fa", std::filesystem::file_size(scratch / "a.fa") - 6);
  CHECK(error_of([&] { tokens_of(scratch / "a.fa"); }).first == "data-unreadable");
}
#endif

TEST_CASE("files that cannot be trained on are named") {
  const ScratchFolder scratch;
  write(scratch / "empty.fa", "");
  write(scratch / "headers.fa", ">one\n>two\n\n");
  write(scratch / "bytes.bin", "AC\xff");
  CHECK(error_of([&] { tokens_of(scratch / "absent.fa"); }).first == "data-unreadable");
  CHECK(error_of([&] { tokens_of(scratch / "empty.fa"); }).first == "data-empty");
  CHECK(error_of([&] { tokens_of(scratch / "headers.fa"); }).first == "data-no-bases");
  for (const std::string& magic :
       {std::string("\x28\xb5\x2f\xfd"), std::string("BZh"), std::string("\xfd\x37zXZ\0", 6)}) {
    write(scratch / "packed.fa", magic + "....");
    CHECK(error_of([&] { tokens_of(scratch / "packed.fa"); }).first == "data-unreadable");
  }
  const auto [code, message] = error_of([&] { tokens_of(scratch / "bytes.bin", 128); });
  CHECK(code == "data-token");
  CHECK(message.find("255") != std::string::npos);
  CHECK(message.find("offset 2") != std::string::npos);
}

TEST_CASE("patterns are relative to the root, sorted, each file once") {
  const ScratchFolder scratch;
  for (const char* name : {"b.fa", "a.fa", "c.txt"}) write(scratch / name, "ACGT");
  const auto files = striped::data_files(plan_of(scratch, {"*.fa", "a.*"}));
  REQUIRE(files.size() == 2);
  CHECK(files[0].filename() == "a.fa");
  CHECK(files[1].filename() == "b.fa");
  const auto [code, message] = error_of([&] { striped::data_files(plan_of(scratch, {"*.gb"})); });
  CHECK(code == "data-missing");
  CHECK(message.find("*.gb") != std::string::npos);
}

TEST_CASE("a file is read once, however often and in whatever way it is named") {
  const ScratchFolder scratch;
  std::filesystem::create_directory(scratch / "sub");
  write(scratch / "a.fa", ">a\n" + std::string(100, 'A'));
  write(scratch / "b.fa", ">b\n" + std::string(100, 'C'));
  std::filesystem::create_symlink("a.fa", scratch / "link.fa");
  const auto files = striped::data_files(
      plan_of(scratch, {"*.fa", "./a.fa", "sub/../a.fa", ".//b.fa", (scratch / "a.fa").string()}));
  CHECK(files.size() == 2);
  CHECK(striped::Dataset(plan_of(scratch, {"a.fa", "./a.fa", "link.fa"}), 256, 8).train_tokens() == 90);
  std::filesystem::create_symlink("nowhere.fa", scratch / "dangling.fa");
  CHECK(error_of([&] { striped::Dataset(plan_of(scratch, {"*.fa"}), 256, 8); }).first == "data-unreadable");
}

TEST_CASE("what is special in patterns is not in the root") {
  const ScratchFolder scratch;
  std::filesystem::create_directory(scratch / "a [b] *?\\c");
  write(scratch / "a [b] *?\\c/a.fa", "ACGT");
  striped::PlanData plan = plan_of(scratch, {"*.fa"});
  plan.root /= "a [b] *?\\c";
  CHECK(striped::data_files(plan).size() == 1);
}

TEST_CASE("too little data is refused") {
  CHECK(error_of([] { striped::Dataset(counting(100), 1, 0.1, 90); }).first == "data-short");
  CHECK(error_of([] { striped::Dataset(counting(100), 1, 0.1, 89); }).first.empty());
}

TEST_CASE("an epoch shows every window once, epochs differ, and no sample touches the tail") {
  const striped::Dataset data(counting(1000), 1, 0.1, 16);
  CHECK(data.train_tokens() == 900);
  const std::uint64_t windows = (900 - 16) / 16;
  std::vector<std::int64_t> orders[2];
  for (std::uint64_t epoch = 0; epoch < 2; ++epoch) {
    std::set<std::int64_t> starts;
    for (std::uint64_t i = 0; i < windows; ++i) {
      const std::int64_t start = data.sample_start(5, epoch * windows + i);
      CHECK(start >= 0);
      CHECK(start + 16 + 1 <= 900);
      starts.insert(start);
      orders[epoch].push_back(start);
    }
    CHECK(starts.size() == windows);
    CHECK(*starts.rbegin() - *starts.begin() == static_cast<std::int64_t>((windows - 1) * 16));
  }
  CHECK(orders[0] != orders[1]);
  CHECK(data.sample_start(5, 3) == data.sample_start(5, 3));
  CHECK(data.sample_start(5, 0) != data.sample_start(6, 0));
}

TEST_CASE("targets are the next tokens") {
  const striped::Dataset data(counting(200), 1, 0, 10);
  const striped::SampleBatch batch = data.training(1, 0, 3);
  REQUIRE(batch.tokens.size() == 30);
  for (std::size_t i = 0; i < 30; ++i) CHECK(batch.targets[i] == (batch.tokens[i] + 1) % 251);
  CHECK(batch.total_weight == 30);
}

TEST_CASE("a case weight folds the tokens and weighs the targets") {
  const std::string text = "ACgtACgtACgt";
  const striped::Dataset data({text.begin(), text.end()}, 0.1, 0, 11);
  const striped::SampleBatch batch = data.training(1, 0, 1);
  for (std::size_t i = 0; i < 11; ++i) {
    CHECK(batch.tokens[i] == std::toupper(text[i]));
    CHECK(batch.weights[i] == (std::islower(text[i + 1]) != 0 ? 0.1f : 1.0f));
  }
  const striped::Dataset plain({text.begin(), text.end()}, 1, 0, 11);
  CHECK(plain.training(1, 0, 1).tokens[2] == 'g');
}

TEST_CASE("the held-out windows cover a short tail, padding has no weight") {
  const striped::Dataset data(counting(1000), 1, 0.1, 32);
  CHECK(data.held_out_windows() == 4);  // 99 targets
  CHECK(data.held_out_targets() == 99);
  const striped::SampleBatch batch = data.held_out(0, 6);
  CHECK(batch.tokens.size() == 6 * 32);
  CHECK(batch.total_weight == 99);
  CHECK(batch.tokens[0] == 900 % 251);
  CHECK(batch.weights[98] == 1);
  CHECK(batch.weights[99] == 0);
  CHECK(striped::Dataset(counting(100), 1, 0, 32).held_out_windows() == 0);
}

TEST_CASE("the composition entropy is that of the held-out tokens") {
  std::vector<std::uint8_t> tokens(900, 'A');
  for (int i = 0; i < 100; ++i) tokens.push_back("ACGT"[i % 4]);
  CHECK(striped::Dataset(tokens, 1, 0.1, 8).composition_entropy() == doctest::Approx(std::log(4.0)));
}

TEST_CASE("token files are little-endian 16-bit numbers, one file after the other") {
  const ScratchFolder scratch;
  write(scratch / "b.tokens", words({65535, 0, 258}));
  write(scratch / "a.tokens", words({1, 256}));
  striped::PlanData plan = plan_of(scratch, {"*.tokens"});
  plan.kind = striped::PlanDataKind::tokens;
  plan.held_out = 0;
  const striped::Dataset data(plan, 65536, 4);
  CHECK(data.train_tokens() == 5);
  const striped::SampleBatch batch = data.training(1, 0, 1);
  CHECK(batch.tokens == std::vector<std::int32_t>{1, 256, 65535, 0});
  CHECK(batch.targets == std::vector<std::int32_t>{256, 65535, 0, 258});
}

TEST_CASE("tokens are held out, weighed and counted like bytes, whatever letters their numbers are") {
  const ScratchFolder scratch;
  std::vector<int> tokens(900, 'a');
  for (int i = 0; i < 100; ++i) tokens.push_back(300 + i % 5 * 1000);
  write(scratch / "a.tokens", words(tokens));
  striped::PlanData plan = plan_of(scratch, {"a.tokens"});
  plan.kind = striped::PlanDataKind::tokens;
  const striped::Dataset data(plan, 5000, 8);
  CHECK(data.held_out_tokens() == 100);
  CHECK(data.composition_entropy() == doctest::Approx(std::log(5.0)));
  CHECK(data.training(1, 0, 2).total_weight == 16);
  CHECK(data.held_out(0, 1).tokens[1] == 1300);
}

TEST_CASE("token files that cannot be trained on are named") {
  const ScratchFolder scratch;
  write(scratch / "empty.tokens", "");
  write(scratch / "odd.tokens", words({1, 2}) + "x");
  write(scratch / "beyond.tokens", words({1, 511, 512}));
  std::vector<std::uint16_t> tokens{7};
  const auto error = [&](const char* name) {
    return error_of([&] { striped::append_token_file(scratch / name, 512, tokens); });
  };
  CHECK(error("absent.tokens").first == "data-unreadable");
  CHECK(error("empty.tokens").first == "data-empty");
  CHECK(error("odd.tokens").first == "data-odd");
  const auto [code, message] = error("beyond.tokens");
  CHECK(code == "data-token");
  CHECK(message.find("token 512 at position 2") != std::string::npos);
}

TEST_CASE("text that nobody has tokenised is refused with the way to have it done") {
  const ScratchFolder scratch;
  write(scratch / "a.txt", "text");
  striped::PlanData plan = plan_of(scratch, {"a.txt"});
  plan.kind = striped::PlanDataKind::bpe;
  const auto [code, message] = error_of([&] { striped::Dataset(plan, 512, 2); });
  CHECK(code == "data-text");
  CHECK(message.find("striped train") != std::string::npos);
}

TEST_CASE("the learning rate rises, falls and ends where it should") {
  const striped::PlanSchedule cosine{true, 10, 0.1}, constant{false, 10, 0.1};
  CHECK(striped::learning_rate(cosine, 1, 1, 110) == doctest::Approx(0.1));
  CHECK(striped::learning_rate(cosine, 1, 10, 110) == doctest::Approx(1));
  CHECK(striped::learning_rate(cosine, 1, 60, 110) == doctest::Approx(0.55));
  CHECK(striped::learning_rate(cosine, 1, 110, 110) == doctest::Approx(0.1));
  CHECK(striped::learning_rate(constant, 1, 5, 110) == doctest::Approx(0.5));
  CHECK(striped::learning_rate(constant, 1, 110, 110) == 1);
}
