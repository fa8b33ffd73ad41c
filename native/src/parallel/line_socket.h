// A TCP connection that carries lines of text, for a few words between processes of a run.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace striped::parallel {

class LineSocket {
 public:
  LineSocket() = default;
  explicit LineSocket(int descriptor) : descriptor_(descriptor) {}
  ~LineSocket();
  LineSocket(LineSocket&& other) noexcept;
  LineSocket& operator=(LineSocket&& other) noexcept;
  LineSocket(const LineSocket&) = delete;
  LineSocket& operator=(const LineSocket&) = delete;

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  // The line must not hold a line end. A connection that is gone is no error here.
  void send(const std::string& line) const;
  // Reads what there is; returns the whole lines of it. Closes itself when the other side is gone.
  std::vector<std::string> receive();

  // Waits for the first connection to one of the addresses; not open where there is none.
  static LineSocket connect(const std::vector<std::string>& addresses, int port);

 private:
  int descriptor_ = -1;
  std::string begun_;  // of a line
};

class Listener {
 public:
  // At a free port, of this machine alone or of all its addresses.
  explicit Listener(bool this_machine);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  int descriptor() const { return descriptor_; }
  int port() const { return port_; }
  LineSocket accept() const;

 private:
  int descriptor_ = -1, port_ = 0;
};

// IPv4 addresses by which other machines may reach this one.
std::vector<std::string> own_addresses();

}  // namespace striped::parallel
