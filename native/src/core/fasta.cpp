#include "core/fasta.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#if defined(STRIPED_HAS_ZLIB)
#include <zlib.h>
#endif

#include "striped/error.h"

namespace striped {
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 18;

using Consumer = std::function<void(const unsigned char*, std::size_t)>;

[[noreturn]] void unreadable(const std::filesystem::path& file, const std::string& why) {
  throw Error("data-unreadable", "cannot read the data file " + file.string() + ": " + why);
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

File open_file(const std::filesystem::path& path) {
  File file(std::fopen(path.c_str(), "rb"));
  if (!file) unreadable(path, std::strerror(errno));
  return file;
}

void read_plain(const std::filesystem::path& path, const Consumer& consume) {
  const File file = open_file(path);
  std::vector<unsigned char> block(kBlock);
  while (const std::size_t got = std::fread(block.data(), 1, block.size(), file.get()))
    consume(block.data(), got);
  if (std::ferror(file.get()) != 0) unreadable(path, std::strerror(errno));
}

#if defined(STRIPED_HAS_ZLIB)
void read_gzip(const std::filesystem::path& path, const Consumer& consume) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) unreadable(path, std::strerror(errno));
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> closer(file, gzclose);
  gzbuffer(file, kBlock);
  std::vector<unsigned char> block(kBlock);
  for (;;) {
    const int got = gzread(file, block.data(), static_cast<unsigned>(block.size()));
    if (got > 0) consume(block.data(), static_cast<std::size_t>(got));
    if (got == static_cast<int>(block.size())) continue;
    int code = Z_OK;
    const char* const message = gzerror(file, &code);
    if (code != Z_OK) unreadable(path, std::string("it is a damaged or cut off gzip file (") + message + ")");
    return;
  }
}
#else
void read_gzip(const std::filesystem::path& path, const Consumer&) {
  unreadable(path, "it is gzip and this engine was built without zlib; unpack it, or build with zlib");
}
#endif

std::string first_bytes(const std::filesystem::path& path) {
  const File file = open_file(path);
  std::string bytes(6, '\0');
  bytes.resize(std::fread(bytes.data(), 1, bytes.size(), file.get()));
  return bytes;
}

bool is_gzip(const std::filesystem::path& path) { return first_bytes(path).starts_with("\x1f\x8b"); }

// Its bytes would be trained on as they are.
void refuse_other_compression(const std::filesystem::path& path) {
  using namespace std::string_view_literals;
  const std::string bytes = first_bytes(path);
  for (const auto& [magic, program] :
       {std::pair{"\x28\xb5\x2f\xfd"sv, "zstd"}, {"BZh"sv, "bzip2"}, {"\xfd\x37zXZ\x00"sv, "xz"}})
    if (bytes.starts_with(magic))
      unreadable(path, std::string("it is compressed by ") + program +
                           ", which is not unpacked here; unpack it, or compress it with gzip");
}

std::string spell(unsigned char byte) {
  char text[32];
  std::snprintf(text, sizeof text, byte > 32 && byte < 127 ? "%u ('%c')" : "%u", byte, byte);
  return text;
}

// Takes a file's bytes block by block.
class Tokeniser {
 public:
  Tokeniser(const std::filesystem::path& file, std::int64_t vocab, std::vector<std::uint8_t>& tokens)
      : file_(file), vocab_(vocab), tokens_(tokens), separate_(!tokens.empty()) {}

  void consume(const unsigned char* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i, ++offset_) {
      if (!decided_ && is_lead(bytes[i]))
        lead_ += static_cast<char>(bytes[i]);
      else
        take(bytes[i]);
    }
  }

  void finish() {
    if (!decided_) append_lead();
    if (offset_ == 0) throw Error("data-empty", "the data file " + file_.string() + " is empty");
    if (!found_)
      throw Error("data-no-bases", "the data file " + file_.string() +
                                       " has FASTA headers but no bases; is the download whole?");
  }

 private:
  // A byte order mark and blank lines may come before the first header.
  bool is_lead(unsigned char byte) const {
    if (lead_.size() < kMark.size() && kMark.starts_with(lead_) &&
        byte == static_cast<unsigned char>(kMark[lead_.size()]))
      return true;
    return has_whole_mark() && (byte == '\n' || byte == '\r' || byte == ' ' || byte == '\t');
  }
  bool has_whole_mark() const { return lead_.empty() || lead_[0] != kMark[0] || lead_.starts_with(kMark); }

  void take(unsigned char byte) {
    if (!decided_) {
      fasta_ = byte == '>' && has_whole_mark();
      if (!fasta_) append_lead();
      decided_ = true;
    }
    if (fasta_)
      consume_fasta(byte);
    else
      append(byte);
  }

  // Of a file that is no FASTA, whose bytes are tokens as they are.
  void append_lead() {
    for (const char byte : lead_) append(static_cast<unsigned char>(byte));
  }

  void consume_fasta(unsigned char byte) {
    if (byte == '\n' || byte == '\r') {
      line_start_ = true;
      in_header_ = false;
      return;
    }
    if (line_start_ && byte == '>') {
      in_header_ = true;
      separate_ = !tokens_.empty();
    }
    line_start_ = false;
    if (!in_header_ && byte != ' ' && byte != '\t') append(byte);
  }

  void append(unsigned char byte) {
    if (byte >= vocab_)
      throw Error("data-token", "the data file " + file_.string() + " has the byte " + spell(byte) +
                                    " at offset " + std::to_string(offset_) +
                                    (is_gzip(file_) ? " (unpacked)" : "") +
                                    ", but the model's vocabulary has only " + std::to_string(vocab_) +
                                    " tokens; set `vocab 256` or more, or mend the file");
    if (separate_) tokens_.push_back(0);
    separate_ = false;
    found_ = true;
    tokens_.push_back(byte);
  }

  static constexpr std::string_view kMark = "\xEF\xBB\xBF";

  const std::filesystem::path& file_;
  const std::int64_t vocab_;
  std::vector<std::uint8_t>& tokens_;
  std::uint64_t offset_ = 0;
  std::string lead_;  // read before it was known what the file is
  bool decided_ = false, fasta_ = false, line_start_ = true, in_header_ = false, found_ = false;
  bool separate_;  // a separator is due before the next token
};

}  // namespace

void append_tokens(const std::filesystem::path& file, std::int64_t vocab, std::vector<std::uint8_t>& tokens) {
  refuse_other_compression(file);
  Tokeniser tokeniser(file, vocab, tokens);
  const Consumer consume = [&](const unsigned char* bytes, std::size_t count) {
    tokeniser.consume(bytes, count);
  };
  if (is_gzip(file))
    read_gzip(file, consume);
  else
    read_plain(file, consume);
  tokeniser.finish();
}

}  // namespace striped
