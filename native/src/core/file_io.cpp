#include "core/file_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "striped/error.h"

namespace striped {

void throw_io_error(const std::string& what, const std::filesystem::path& file, int error) {
  const std::string reason = std::strerror(error);
  if (error == ENOSPC || error == EDQUOT)
    throw Error("disk-full", "cannot " + what + " " + file.string() + ": " + reason +
                                 "; free some space, then continue from the last checkpoint with --resume");
  throw Error("write-failed", "cannot " + what + " " + file.string() + ": " + reason);
}

OutputFile::OutputFile(std::filesystem::path path, bool append) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0644);
  if (descriptor_ < 0) throw_io_error("create", path_, errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::write(const void* data, std::size_t bytes) {
  const char* cursor = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, cursor, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw_io_error("write", path_, errno);
    cursor += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void OutputFile::sync() {
  if (::fsync(descriptor_) != 0) throw_io_error("write", path_, errno);
}

void OutputFile::close() {
  const int descriptor = descriptor_;
  descriptor_ = -1;
  if (::close(descriptor) != 0) throw_io_error("write", path_, errno);
}

namespace {

// take(data, bytes), block by block. Errors: "read-failed".
template <class Take>
void read_blocks(const std::filesystem::path& file, const Take& take) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> block(std::size_t{1} << 20);
  while (in && (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0))
    take(block.data(), static_cast<std::size_t>(in.gcount()));
  if (!in.eof()) throw Error("read-failed", "cannot read " + file.string() + ": " + std::strerror(errno));
}

}  // namespace

std::string read_text(const std::filesystem::path& file) {
  std::string text;
  read_blocks(file, [&](const char* data, std::size_t bytes) { text.append(data, bytes); });
  return text;
}

void replace_file(const std::filesystem::path& file, std::string_view text, bool sync) {
  const std::filesystem::path beside = file.string() + ".tmp";
  try {
    OutputFile out(beside);
    out.write(text);
    if (sync) out.sync();
    out.close();
    if (::rename(beside.c_str(), file.c_str()) != 0) throw_io_error("write", file, errno);
  } catch (...) {
    ::unlink(beside.c_str());
    throw;
  }
  if (sync) sync_directory(file.parent_path());
}

void sync_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw_io_error("open", directory, errno);
  // Some network file systems refuse to sync a directory; the rename itself is still atomic there.
  const bool failed = ::fsync(descriptor) != 0 && errno != EINVAL;
  const int error = errno;
  ::close(descriptor);
  if (failed) throw_io_error("write", directory, error);
}

namespace {

using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

// Tables for eight bytes at a time (slicing-by-8).
CrcTables make_tables() {
  CrcTables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0);
    tables[0][byte] = crc;
  }
  for (std::size_t slice = 1; slice < 8; ++slice)
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t crc = tables[slice - 1][byte];
      tables[slice][byte] = (crc >> 8) ^ tables[0][crc & 0xff];
    }
  return tables;
}

}  // namespace

std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t crc) {
  static const CrcTables tables = make_tables();
  const auto* cursor = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, cursor += 8) {
    std::uint64_t word;
    std::memcpy(&word, cursor, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= tables[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; bytes > 0; --bytes, ++cursor) crc = (crc >> 8) ^ tables[0][(crc ^ *cursor) & 0xff];
  return ~crc;
}

std::uint32_t crc32c_of_file(const std::filesystem::path& file) {
  std::uint32_t crc = 0;
  read_blocks(file, [&](const char* data, std::size_t bytes) { crc = crc32c(data, bytes, crc); });
  return crc;
}

}  // namespace striped
