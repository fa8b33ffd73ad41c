// Files written so that a crash, a kill or a full disk leaves either the old or the new content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace striped {

// Errors of every function here: "disk-full", "write-failed", "read-failed", each naming the file.
[[noreturn]] void throw_io_error(const std::string& what, const std::filesystem::path& file, int error);

class OutputFile {
 public:
  // Creates or truncates; `append` keeps the content and writes behind it.
  explicit OutputFile(std::filesystem::path path, bool append = false);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  // On the disk, not only in its cache.
  void sync();
  void close();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
};

std::string read_text(const std::filesystem::path& file);
// Beside, then renamed. `sync`: survives a power cut, not only a kill.
void replace_file(const std::filesystem::path& file, std::string_view text, bool sync);
void sync_directory(const std::filesystem::path& directory);

// CRC-32C (Castagnoli), continued from `crc`.
std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t crc = 0);
std::uint32_t crc32c_of_file(const std::filesystem::path& file);

}  // namespace striped
