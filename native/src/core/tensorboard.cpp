#include "core/tensorboard.h"

#include <unistd.h>

#include <cstring>

#include "core/run_directory.h"

namespace striped {
namespace {

// Protocol buffers by hand; numbers are those of tensorflow/core/util/event.proto.
constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
constexpr int kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5, kSessionLog = 7;  // Event
constexpr int kSessionStatus = 1, kSessionStart = 1;                                      // SessionLog
constexpr int kValue = 1;                                                                 // Summary
constexpr int kTag = 1, kSimpleValue = 2;                                                 // Summary.Value

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

void put_key(std::string& out, int field, int type) {
  put_varint(out, static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(type));
}

template <typename Value>
void put_fixed(std::string& out, Value value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, int field, std::string_view text) {
  put_key(out, field, kBytes);
  put_varint(out, text.size());
  out += text;
}

std::string event_at(std::int64_t step) {
  std::string event;
  put_key(event, kWallTime, kFixed64);
  put_fixed(event, unix_seconds());
  put_key(event, kStep, kVarint);
  put_varint(event, static_cast<std::uint64_t>(step));
  return event;
}

std::uint32_t masked_crc(const void* data, std::size_t bytes) {
  const std::uint32_t crc = crc32c(data, bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

}  // namespace

TensorBoard::TensorBoard(const std::filesystem::path& directory, std::int64_t first_step) {
  // TensorBoard looks for "tfevents" in the name; it must not end in .striped, which is a layout's extension.
  const std::string name = "events.out.tfevents." +
                           std::to_string(static_cast<std::int64_t>(unix_seconds())) + "." +
                           std::to_string(::getpid());
  file_ = std::make_unique<OutputFile>(directory / name);
  std::string version = event_at(0);
  put_text(version, kFileVersion, "brain.Event:2");
  record(version);
  std::string session;
  put_key(session, kSessionStatus, kVarint);
  put_varint(session, kSessionStart);
  std::string start = event_at(first_step);
  put_text(start, kSessionLog, session);
  record(start);
}

void TensorBoard::scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::string summary;
  for (const auto& [tag, number] : values) {
    std::string value;
    put_text(value, kTag, tag);
    put_key(value, kSimpleValue, kFixed32);
    put_fixed(value, static_cast<float>(number));
    put_text(summary, kValue, value);
  }
  std::string event = event_at(step);
  put_text(event, kSummary, summary);
  record(event);
}

void TensorBoard::record(std::string_view event) {
  std::string framed;
  const std::uint64_t length = event.size();
  put_fixed(framed, length);
  put_fixed(framed, masked_crc(&length, sizeof length));
  framed += event;
  put_fixed(framed, masked_crc(event.data(), event.size()));
  file_->write(framed);
}

}  // namespace striped
