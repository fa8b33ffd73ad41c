// Errors that reach users: a stable code, and a message that says what is wrong and how to mend it.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace striped {

class Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& message) : std::runtime_error(message), code_(std::move(code)) {}
  const std::string& code() const { return code_; }

 private:
  std::string code_;
};

// What another rank of the same run tells the user.
class AlreadyTold : public Error {
 public:
  using Error::Error;
};

}  // namespace striped
