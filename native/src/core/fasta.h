// Genome files: plain or gzip, FASTA or plain bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace striped {

// Appends a file's bytes to `tokens`. A file that starts with '>' is FASTA: header lines and white space are
// dropped and records are separated by token 0; any other file is taken as it is. What follows something is
// separated from it by token 0 as well. Files that start with the gzip magic are unpacked.
// Errors: "data-unreadable", "data-empty", "data-no-bases", "data-token" (a byte that is not below `vocab`).
void append_tokens(const std::filesystem::path& file, std::int64_t vocab, std::vector<std::uint8_t>& tokens);

}  // namespace striped
