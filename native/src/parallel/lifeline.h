// How a run of several ranks ends when one of them fails, is killed or hangs, whatever the others are waiting
// in. Every rank has a connection to the first one and a thread that watches it. The first rank says which
// rank was lost, and every process ends. mpirun ends all ranks at the first that fails: the others wait until
// the first rank's connection closes, as that process ends with everything told.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "parallel/line_socket.h"

namespace striped::parallel {

class Launch;

// What a rank that no connection tells of the first rank's end leaves it to tell the user.
inline constexpr std::chrono::seconds kTimeToTell{3};

class Lifeline {
 public:
  // What a process does when the run is over before its time, on the lifeline's thread; must end the process.
  // The text, with the code of an error, is what to tell the user; it is empty on all ranks but one.
  using Lost = std::function<void(const std::string& code, const std::string& text)>;

  // All ranks construct theirs together.
  Lifeline(const Launch& launch, Lost lost);
  // The run ended well here.
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  // Ranks that cannot be watched, in words; empty: none.
  const std::string& unwatched() const { return unwatched_; }
  // From now on, a run in which no rank goes on for the time limit has hung. STRIPED_RANK_TIMEOUT gives the
  // limit in seconds.
  void expect_progress() { expects_progress_ = true; }
  // This rank cannot go on. On the first rank the caller tells the user and ends the process, and the others
  // end behind it. On another rank the first one tells: follow_first().
  void give_up(const std::string& code, const std::string& text);
  // This rank cannot go on, and the first one tells why. Ends this process behind that one; returns where it
  // cannot, late enough.
  void follow_first() const;

 private:
  struct Member;
  void connect_members(const Launch& launch);
  void watch_members();
  void watch_first();
  void accept_member();
  void hear(int rank, const std::string& line);
  void look_for_hangs();
  std::string silent(std::size_t rank, double seconds) const;
  void lose(const std::string& code, const std::string& text);
  void lose_first(const std::string& code, const std::string& text);
  void send_failure(const std::string& code, const std::string& text) const;
  void end_members();
  void end_behind_first();

  std::vector<std::string> names_;  // by rank
  int rank_;
  Lost lost_;
  std::string token_, unwatched_;
  double limit_, most_silence_;  // seconds
  std::unique_ptr<Listener> listener_;
  std::vector<Member> members_;  // by rank; on the first rank
  LineSocket first_;             // on the others
  std::atomic<bool> expects_progress_{false}, over_{false}, gave_up_{false};
  std::thread thread_;
};

}  // namespace striped::parallel
