// Token files: little-endian 16-bit numbers and nothing else, as tokenisers leave them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace striped {

// Appends a file's tokens to `tokens`.
// Errors: "data-unreadable", "data-empty", "data-odd" (half a token at the end), "data-token" (a token that
// is not below `vocab`).
void append_token_file(const std::filesystem::path& file, std::int64_t vocab,
                       std::vector<std::uint16_t>& tokens);

}  // namespace striped
