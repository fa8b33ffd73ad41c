#include "core/token_file.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "striped/error.h"

namespace striped {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

[[noreturn]] void beyond_vocabulary(const std::filesystem::path& file, std::uint16_t token, std::size_t index,
                                    std::int64_t vocab) {
  throw Error("data-token", "the token file " + file.string() + " has the token " + std::to_string(token) +
                                " at position " + std::to_string(index) +
                                ", but the model's vocabulary has only " + std::to_string(vocab) +
                                " tokens; raise `vocab`, or name the tokens of another tokenizer");
}

}  // namespace

void append_token_file(const std::filesystem::path& file, std::int64_t vocab,
                       std::vector<std::uint16_t>& tokens) {
  const auto unreadable = [&] {
    throw Error("data-unreadable",
                "cannot read the token file " + file.string() + ": " + std::strerror(errno));
  };
  const std::unique_ptr<std::FILE, CloseFile> open(std::fopen(file.c_str(), "rb"));
  if (!open) unreadable();
  const std::size_t before = tokens.size();
  std::array<unsigned char, std::size_t{1} << 17> block;
  std::size_t got = 0;
  // Whole blocks are even, so only the last one can end amid a token.
  while ((got = std::fread(block.data(), 1, block.size(), open.get())) > 0) {
    if (got % 2 != 0)
      throw Error("data-odd", "the token file " + file.string() +
                                  " ends in half a token: tokens are little-endian 16-bit numbers; is the "
                                  "file whole, and not text? (text is read by `bytes` and `bpe`)");
    for (std::size_t i = 0; i < got; i += 2) {
      const auto token = static_cast<std::uint16_t>(block[i] | block[i + 1] << 8);
      if (token >= vocab) beyond_vocabulary(file, token, tokens.size() - before, vocab);
      tokens.push_back(token);
    }
  }
  if (std::ferror(open.get()) != 0) unreadable();
  if (tokens.size() == before) throw Error("data-empty", "the token file " + file.string() + " is empty");
}

}  // namespace striped
