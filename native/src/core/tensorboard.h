// Scalars for TensorBoard: an event file of TFRecords, each a hand-encoded Event message.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/file_io.h"

namespace striped {

class TensorBoard {
 public:
  // A new event file in `directory`. TensorBoard drops what earlier files hold from step `first_step` on.
  TensorBoard(const std::filesystem::path& directory, std::int64_t first_step);
  void scalars(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);

 private:
  void record(std::string_view event);
  std::unique_ptr<OutputFile> file_;
};

}  // namespace striped
