// Reading plans: what is missing, unknown or too new is said with its place.
#include <doctest/doctest.h>

#include <fstream>

#include "core_fixture.h"

using fixture::error_of;
using fixture::json;

namespace {

std::pair<std::string, std::string> refused(const json& plan) {
  return error_of([&] { striped::parse_plan(plan); });
}

bool mentions(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a whole plan is read") {
  const striped::Plan plan = striped::parse_plan(fixture::plan());
  CHECK(plan.model.blocks.size() == 4);
  const auto& mr = std::get<striped::PlanHyena>(plan.model.blocks[1].mixer);
  CHECK(mr.op == striped::HyenaOperator::MR);
  CHECK(mr.taps == 6);
  CHECK(mr.decay->to == 1);
  CHECK(std::get<striped::PlanAttention>(plan.model.blocks[3].mixer).kv_heads == 2);
  CHECK(std::holds_alternative<striped::PlanNoFfn>(plan.model.blocks[2].ffn));
}

TEST_CASE("a missing field is named by its path") {
  json plan = fixture::plan();
  plan["model"]["blocks"][1]["mixer"].erase("taps");
  const auto [code, message] = refused(plan);
  CHECK(code == "plan-invalid");
  CHECK(mentions(message, "$.model.blocks[1].mixer.taps"));
}

TEST_CASE("an unknown operator is named, with those that are known") {
  json plan = fixture::plan();
  plan["model"]["blocks"][0]["mixer"]["operator"] = "XL";
  const auto [code, message] = refused(plan);
  CHECK(code == "plan-invalid");
  CHECK(mentions(message, "\"XL\""));
  CHECK(mentions(message, "SE, MR, LI, MHA"));
}

TEST_CASE("a newer plan is refused with both versions") {
  json plan = fixture::plan();
  plan["version"] = 99;
  const auto [code, message] = refused(plan);
  CHECK(code == "plan-version");
  CHECK(mentions(message, "99"));
}

TEST_CASE("wrong types, ranges and divisions are refused") {
  const auto with = [](const char* pointer, const json& value) {
    json plan = fixture::plan();
    plan[json::json_pointer(pointer)] = value;
    return refused(plan).first;
  };
  CHECK(with("/model/width", "wide") == "plan-invalid");
  CHECK(with("/model/width", 8.5) == "plan-invalid");
  CHECK(with("/model/blocks/0/mixer/groups", 3) == "plan-invalid");
  CHECK(with("/model/blocks/3/mixer/kvHeads", 3) == "plan-invalid");
  CHECK(with("/model/blocks", json::array()) == "plan-invalid");
  CHECK(with("/run/data/kind", "images") == "plan-invalid");
  CHECK(with("/run/steps", 0) == "plan-invalid");
  CHECK(with("/run/optimizer/eps", 0) == "plan-invalid");
  CHECK(with("/format", "other") == "plan-syntax");
}

TEST_CASE("files that are no plans") {
  const fixture::ScratchFolder scratch;
  CHECK(error_of([&] { striped::read_plan(scratch / "absent.json"); }).first == "plan-unreadable");
  std::ofstream(scratch / "torn.json") << "{\"format\": ";
  CHECK(error_of([&] { striped::read_plan(scratch / "torn.json"); }).first == "plan-syntax");
}

TEST_CASE("the training hash sees what is trained and not how long or where") {
  const auto hash = [](const char* pointer, const json& value) {
    json plan = fixture::plan();
    plan[json::json_pointer(pointer)] = value;
    return striped::training_hash(striped::parse_plan(plan));
  };
  const std::string base = striped::training_hash(striped::parse_plan(fixture::plan()));
  CHECK(hash("/run/steps", 77) == base);
  CHECK(hash("/run/recompute", "blocks") == base);
  CHECK(hash("/run/data/root", "/elsewhere") == base);
  CHECK(hash("/run/data/source", {{"kind", "bpe"}}) == base);
  CHECK(hash("/run/data/files", {"y"}) != base);
  CHECK(hash("/run/seed", 2) != base);
  CHECK(hash("/run/microBatch", 3) != base);
  CHECK(hash("/model/blocks/0/mixer/taps", 5) != base);
}
