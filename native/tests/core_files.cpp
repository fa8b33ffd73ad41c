// Files: safetensors, checkpoints, the run directory, TensorBoard.
#include <doctest/doctest.h>

#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "core/checkpoint.h"
#include "core/choice_file.h"
#include "core/file_io.h"
#include "core/run_directory.h"
#include "core/tensorboard.h"
#include "core_fixture.h"

using fixture::Bench;
using fixture::error_of;
using fixture::json;
using fixture::ScratchFolder;

namespace {

void flip_byte(const std::filesystem::path& file, std::streamoff place) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  stream.seekg(place);
  const char byte = static_cast<char>(stream.get() ^ 0x10);
  stream.seekp(place);
  stream.put(byte);
}

void checkpoint_at(const std::filesystem::path& folder, std::int64_t step, Bench& bench) {
  striped::LocalTensors tensors(bench.store);
  striped::write_checkpoint(folder, {step, 0, "hash", "cpu", "fp64", "one device", 2, 1.5, "data"},
                            bench.store, tensors);
}

void read_weights(const std::filesystem::path& file, Bench& bench) {
  striped::LocalTensors tensors(bench.store);
  striped::read_tensors(file, striped::weight_tensors(bench.table), bench.store, tensors, true);
}

}  // namespace

TEST_CASE("CRC-32C of the standard check string") {
  CHECK(striped::crc32c("123456789", 9) == 0xe3069283u);
  CHECK(striped::crc32c("56789", 5, striped::crc32c("1234", 4)) == 0xe3069283u);
}

TEST_CASE("choices are kept for later processes; a damaged or unwritable file is as good as none") {
  const ScratchFolder scratch;
  const std::filesystem::path file = scratch / "folder/choices.json";
  striped::ChoiceFile first(file), second(file);
  CHECK(!first.find("a"));
  first.add("a", "1");
  second.add("b", "2");
  second.add("b", "3");
  const striped::ChoiceFile later(file);
  CHECK(later.find("a") == "1");
  CHECK(later.find("b") == "3");
  for (const char* text : {"", "[1]", "{\"a\": 1, \"c\": ", "{\"a\": 1}"}) {
    striped::replace_file(file, text, false);
    striped::ChoiceFile damaged(file);
    CHECK(!damaged.find("a"));
    damaged.add("a", "4");
    CHECK(striped::ChoiceFile(file).find("a") == "4");
  }
  for (const std::filesystem::path& nowhere : {std::filesystem::path(), file / "below a file"}) {
    striped::ChoiceFile alone(nowhere);
    alone.add("a", "5");
    CHECK(alone.find("a") == "5");
  }
}

TEST_CASE("weights come back as they were, and what does not fit is named") {
  const ScratchFolder scratch;
  Bench bench(fixture::plan());
  striped::LocalTensors tensors(bench.store);
  const std::uint32_t crc = striped::write_tensors(
      scratch / "w.safetensors", striped::weight_tensors(bench.table), bench.store, tensors);
  CHECK(crc == striped::crc32c_of_file(scratch / "w.safetensors"));
  json changed = fixture::plan();
  changed["run"]["seed"] = 9;
  Bench other(changed);
  CHECK(other.store.values(0) != bench.store.values(0));
  const std::filesystem::path file = scratch / "w.safetensors";
  read_weights(file, other);
  for (std::size_t p = 0; p < bench.table.parameters().size(); ++p)
    CHECK(other.store.values(static_cast<int>(p)) == bench.store.values(static_cast<int>(p)));

  changed["model"]["blocks"][0]["mixer"]["taps"] = 5;
  Bench wider(changed);
  const auto [code, message] = error_of([&] { read_weights(file, wider); });
  CHECK(code == "tensor-shape");
  CHECK(message.find("blocks.0.mixer.filter") != std::string::npos);
  changed = fixture::plan();
  changed["model"]["tiedEmbeddings"] = false;
  Bench untied(changed);
  CHECK(error_of([&] { read_weights(file, untied); }).first == "tensor-missing");
  changed = fixture::plan();
  changed["model"]["blocks"].erase(3);
  Bench shorter(changed);
  CHECK(error_of([&] { read_weights(file, shorter); }).first == "tensor-unknown");
}

TEST_CASE("bf16 and f16 weights are read, torn files refused") {
  const ScratchFolder scratch;
  const std::uint16_t values[] = {0x3fc0, 0xc000, 0x3e00, 0x0001};  // bf16 1.5, -2; f16 1.5, 2^-24
  {
    striped::SafetensorsWriter writer(scratch / "h.safetensors", {{"b", "BF16", {2}}, {"h", "F16", {2}}});
    writer.write(values, sizeof values);
    writer.finish();
  }
  striped::SafetensorsReader reader(scratch / "h.safetensors");
  CHECK(reader.values("b", {2}) == std::vector<double>{1.5, -2});
  CHECK(reader.values("h", {2}) == std::vector<double>{1.5, std::ldexp(1.0, -24)});
  std::filesystem::resize_file(scratch / "h.safetensors",
                               std::filesystem::file_size(scratch / "h.safetensors") - 1);
  CHECK(error_of([&] { striped::SafetensorsReader(scratch / "h.safetensors"); }).first ==
        "safetensors-corrupt");
  std::ofstream(scratch / "text.safetensors") << "not a tensor in sight";
  CHECK(error_of([&] { striped::SafetensorsReader(scratch / "text.safetensors"); }).first ==
        "safetensors-corrupt");
}

TEST_CASE("the newest whole checkpoint is found, damaged ones are reported") {
  const ScratchFolder scratch;
  Bench bench(fixture::plan());
  std::vector<std::string> reports;
  const auto report = [&](const std::string& text) { reports.push_back(text); };
  CHECK_FALSE(striped::newest_checkpoint(scratch.path(), report));
  for (const std::int64_t step : {5, 10, 1000000}) checkpoint_at(scratch.path(), step, bench);
  CHECK(striped::newest_checkpoint(scratch.path(), report)->state.step == 1000000);
  CHECK(reports.empty());
  flip_byte(scratch / "step-1000000/model.safetensors", 2000);
  CHECK(striped::newest_checkpoint(scratch.path(), report)->state.step == 10);
  REQUIRE(reports.size() == 1);
  CHECK(reports[0].find("step-1000000") != std::string::npos);
  std::filesystem::remove(scratch / "step-000010/optimizer.safetensors");
  CHECK(striped::newest_checkpoint(scratch.path(), report)->state.step == 5);
  std::ofstream(scratch / "step-000005/state.json") << "{";
  const auto [code, message] = error_of([&] { striped::newest_checkpoint(scratch.path(), report); });
  CHECK(code == "checkpoint-corrupt");
  CHECK(message.find("move that folder away") != std::string::npos);
}

TEST_CASE("a checkpoint that cannot be read is not passed over for an older one") {
  const ScratchFolder scratch;
  Bench bench(fixture::plan());
  const auto refused = [&] {
    return error_of([&] { striped::newest_checkpoint(scratch.path(), [](const std::string&) {}); }).first;
  };
  for (const std::int64_t step : {5, 10}) checkpoint_at(scratch.path(), step, bench);
  json state = json::parse(striped::read_text(scratch / "step-000010/state.json"));
  state["version"] = 2;
  std::ofstream(scratch / "step-000010/state.json") << state;
  CHECK(refused() == "checkpoint-version");
  const std::string newer = error_of([&] { striped::read_checkpoint(scratch / "step-000010"); }).second;
  CHECK(newer.find("newer version") != std::string::npos);
  CHECK(newer.find("damaged") == std::string::npos);
  // A folder in place of the file opens and cannot be read, also by root.
  std::filesystem::remove(scratch / "step-000010/state.json");
  std::filesystem::create_directory(scratch / "step-000010/state.json");
  CHECK(refused() == "read-failed");
  std::ofstream(scratch / "file") << "x";
  CHECK(error_of([&] { striped::newest_checkpoint(scratch / "file", [](const std::string&) {}); }).first ==
        "read-failed");
}

TEST_CASE("what a killed process has left of a checkpoint goes") {
  const ScratchFolder scratch;
  Bench bench(fixture::plan());
  checkpoint_at(scratch.path(), 5, bench);
  std::filesystem::create_directory(scratch / ".step-000007.tmp");
  std::ofstream(scratch / ".step-000007.tmp/model.safetensors") << "half";
  striped::remove_unfinished(scratch.path());
  CHECK_FALSE(std::filesystem::exists(scratch / ".step-000007.tmp"));
  CHECK(std::filesystem::exists(scratch / "step-000005/state.json"));
  striped::remove_unfinished(scratch / "not there");
}

TEST_CASE("a checkpoint that is written again puts the damaged one aside") {
  const ScratchFolder scratch;
  Bench bench(fixture::plan());
  checkpoint_at(scratch.path(), 5, bench);
  flip_byte(scratch / "step-000005/model.safetensors", 2000);
  checkpoint_at(scratch.path(), 5, bench);
  CHECK(striped::newest_checkpoint(scratch.path(), [](const std::string&) {})->state.step == 5);
  CHECK(std::filesystem::exists(scratch / "damaged-step-000005/state.json"));
}

TEST_CASE("a run directory is taken only when it is free") {
  const ScratchFolder scratch;
  const auto take = [&](bool resume) {
    return error_of([&] { striped::RunDirectory(scratch / "run", resume); }).first;
  };
  CHECK(take(true) == "run-missing");
  CHECK(take(false).empty());
  std::ofstream(scratch / "run/plan.json") << "{}";
  std::filesystem::remove(scratch / "run/events.jsonl");
  std::ofstream(scratch / "run/status.json") << R"({"state":"starting","pid":0})";
  CHECK(take(false).empty());  // as a launcher prepares it
  CHECK(take(false) == "run-exists");
  CHECK(take(true).empty());
  std::ofstream(scratch / "file") << "x";
  CHECK(error_of([&] { striped::RunDirectory(scratch / "file", false); }).first == "run-directory");
}

TEST_CASE("a start that failed before it had a plan can be made again") {
  const ScratchFolder scratch;
  {
    striped::RunDirectory run(scratch / "run", false);
    run.append_event({{"type", "end"}, {"reason", "no data"}});
    run.write_status({"failed", "", "", "cpu", "", 0, 0, "no data"});
  }
  CHECK(error_of([&] { striped::RunDirectory(scratch / "run", false); }).first.empty());
  CHECK(striped::read_text(scratch / "run/events.jsonl").empty());
  std::ofstream(scratch / "run/plan.json") << "{}";
  CHECK(error_of([&] { striped::RunDirectory(scratch / "run", false); }).first == "run-exists");
}

TEST_CASE("a run that another process trains is left alone, one of a process that is gone is not") {
  const ScratchFolder scratch;
  striped::RunDirectory(scratch / "run", false).write_status({"running", "", "", "cpu", "", 1, 2, ""});
  std::ofstream(scratch / "run/plan.json") << "{}";
  json status = json::parse(striped::read_text(scratch / "run/status.json"));
  // This test's parent stands for another engine.
  std::ifstream in("/proc/" + std::to_string(::getppid()) + "/stat");
  std::string word;
  for (int field = 1; field <= 22; ++field) in >> word;
  status["pid"] = ::getppid();
  const auto resumed = [&](std::int64_t start) {
    status["pidStart"] = start;
    std::ofstream(scratch / "run/status.json") << status;
    return error_of([&] { striped::RunDirectory(scratch / "run", true); }).first;
  };
  CHECK(resumed(std::stoll(word)) == "run-alive");
  CHECK(resumed(std::stoll(word) + 1).empty());
}

TEST_CASE("a name that is no UTF-8 does not keep the last word from being written") {
  const ScratchFolder scratch;
  striped::RunDirectory run(scratch / "run", false);
  run.write_status({"failed", "", "", "cpu", "", 0, 0, "x\xe9.fa is empty"});
  run.append_event({{"type", "end"}, {"reason", "x\xe9.fa is empty"}});
  const json status = json::parse(striped::read_text(scratch / "run/status.json"));
  CHECK(status["exitReason"] == "x\uFFFD.fa is empty");
  CHECK(json::parse(striped::read_text(scratch / "run/events.jsonl"))["reason"] == status["exitReason"]);
}

TEST_CASE("rewinding drops later events and a torn line, and appending goes on") {
  const ScratchFolder scratch;
  striped::RunDirectory run(scratch / "run", false);
  for (int step = 0; step < 5; ++step) run.append_event({{"type", "step"}, {"step", step}});
  std::ofstream(scratch / "run/events.jsonl", std::ios::app) << "{\"type\":\"st";
  run.rewind_events(2);
  run.append_event({{"type", "step"}, {"step", 3}, {"again", true}});
  std::ifstream in(scratch / "run/events.jsonl");
  std::string line;
  std::vector<int> steps;
  while (std::getline(in, line)) steps.push_back(json::parse(line).at("step"));
  CHECK(steps == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("TensorBoard records have the framing and checksums of TFRecord") {
  const ScratchFolder scratch;
  striped::TensorBoard(scratch.path(), 1).scalars(300, {{"loss", 1.5}});
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path())) file = entry.path();
  const std::string bytes = striped::read_text(file);
  const auto masked = [](std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; };
  std::vector<std::string> records;
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint64_t length;
    std::uint32_t head, body;
    REQUIRE(at + 12 <= bytes.size());
    std::memcpy(&length, &bytes[at], 8);
    std::memcpy(&head, &bytes[at + 8], 4);
    CHECK(head == masked(striped::crc32c(&bytes[at], 8)));
    REQUIRE(at + 16 + length <= bytes.size());
    std::memcpy(&body, &bytes[at + 12 + length], 4);
    CHECK(body == masked(striped::crc32c(&bytes[at + 12], length)));
    records.push_back(bytes.substr(at + 12, length));
    at += 16 + length;
  }
  REQUIRE(records.size() == 3);
  CHECK(records[0].find("brain.Event:2") != std::string::npos);
  // step 300, then summary { value { tag: "loss" simple_value: 1.5 } }
  const std::string expected("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f", 18 + 0);
  CHECK(records[2].substr(9) == expected);
}
