#include "parallel/line_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "striped/error.h"

namespace striped::parallel {
namespace {

constexpr int kConnectMs = 5000;
constexpr std::size_t kLongestLine = 1 << 16;

sockaddr_in address_of(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  return address;
}

bool connects(int descriptor, const std::string& host, int port) {
  const sockaddr_in address = address_of(host, port);
  ::fcntl(descriptor, F_SETFL, O_NONBLOCK);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return true;
  if (errno != EINPROGRESS) return false;
  pollfd wait{descriptor, POLLOUT, 0};
  if (::poll(&wait, 1, kConnectMs) != 1) return false;
  int error = 0;
  socklen_t length = sizeof error;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0;
}

}  // namespace

LineSocket::~LineSocket() {
  if (is_open()) ::close(descriptor_);
}

LineSocket::LineSocket(LineSocket&& other) noexcept { *this = std::move(other); }

LineSocket& LineSocket::operator=(LineSocket&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(begun_, other.begun_);
  return *this;
}

void LineSocket::send(const std::string& line) const {
  const std::string text = line + "\n";
  std::size_t sent = 0;
  while (is_open() && sent < text.size()) {
    const ssize_t now = ::send(descriptor_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (now < 0 && errno == EAGAIN) {
      pollfd wait{descriptor_, POLLOUT, 0};
      if (::poll(&wait, 1, kConnectMs) == 1) continue;
    }
    if (now <= 0) return;
    sent += static_cast<std::size_t>(now);
  }
}

std::vector<std::string> LineSocket::receive() {
  char bytes[4096];
  const ssize_t count = ::recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) || begun_.size() > kLongestLine) {
    ::close(std::exchange(descriptor_, -1));
    return {};
  }
  if (count > 0) begun_.append(bytes, static_cast<std::size_t>(count));
  std::vector<std::string> lines;
  for (std::size_t end = begun_.find('\n'); end != std::string::npos; end = begun_.find('\n')) {
    lines.push_back(begun_.substr(0, end));
    begun_.erase(0, end + 1);
  }
  return lines;
}

LineSocket LineSocket::connect(const std::vector<std::string>& addresses, int port) {
  for (const std::string& address : addresses) {
    LineSocket candidate(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (candidate.is_open() && connects(candidate.descriptor_, address, port)) return candidate;
  }
  return {};
}

Listener::Listener(bool this_machine) {
  descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = address_of(this_machine ? "127.0.0.1" : "0.0.0.0", 0);
  socklen_t length = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (descriptor_ < 0 || ::bind(descriptor_, any, length) != 0 || ::listen(descriptor_, SOMAXCONN) != 0 ||
      ::getsockname(descriptor_, any, &length) != 0)
    throw Error("rank-watch",
                std::string("the first rank cannot listen for the others: ") + std::strerror(errno));
  port_ = ntohs(address.sin_port);
}

Listener::~Listener() { ::close(descriptor_); }

LineSocket Listener::accept() const {
  return LineSocket(::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC));
}

std::vector<std::string> own_addresses() {
  std::vector<std::string> result;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return result;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET ||
        (each->ifa_flags & IFF_LOOPBACK) != 0 || (each->ifa_flags & IFF_UP) == 0)
      continue;
    char text[INET_ADDRSTRLEN] = "";
    const auto* const address = reinterpret_cast<const sockaddr_in*>(each->ifa_addr);
    if (::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) result.emplace_back(text);
  }
  ::freeifaddrs(list);
  return result;
}

}  // namespace striped::parallel
