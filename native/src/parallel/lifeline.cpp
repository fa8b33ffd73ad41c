#include "parallel/lifeline.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <random>
#include <sstream>
#include <utility>

#include "parallel/activity.h"
#include "parallel/launch.h"

namespace striped::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLimit = 600, kMostSilence = 60, kHello = 5;  // seconds
constexpr int kLookMs = 100;
constexpr double kBeat = 1;  // seconds
constexpr auto kLastWords = std::chrono::seconds(10);
constexpr char kSeparator = '\x1f';  // between an error's code and its text

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double limit_of_environment() {
  const char* const text = std::getenv("STRIPED_RANK_TIMEOUT");
  const double seconds = text != nullptr ? std::atof(text) : 0;
  return seconds > 0 ? seconds : kLimit;
}

std::string random_token() {
  std::random_device source;
  std::ostringstream text;
  for (int i = 0; i < 4; ++i) text << std::hex << source();
  return text.str();
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

std::string seconds_text(double seconds) { return std::to_string(static_cast<long>(seconds)) + " s"; }

// Time in which this process itself did not run, as when a whole job is suspended, says nothing of others.
class Looks {
 public:
  // How long this process was stopped since the last look.
  Clock::duration missed() {
    const auto now = Clock::now();
    const auto since_last = now - std::exchange(last_, now);
    return since_last > kMostBetween ? since_last : Clock::duration::zero();
  }

 private:
  static constexpr auto kMostBetween = std::chrono::seconds(1);
  Clock::time_point last_ = Clock::now();
};

void move_on(Clock::time_point& moment, Clock::duration missed) {
  moment = std::min(moment + missed, Clock::now());
}

}  // namespace

// What the first rank knows of another, and of itself.
struct Lifeline::Member {
  LineSocket socket;
  bool watched = false, gone = false;
  Clock::time_point heard = Clock::now(), went_on = Clock::now();
  std::uint64_t steps = 0;
  bool waits = false;

  void note(std::uint64_t now, bool waiting) {
    heard = Clock::now();
    if (now != steps) went_on = heard;
    steps = now;
    waits = waiting;
  }

  void forgive(Clock::duration missed) {
    move_on(heard, missed);
    move_on(went_on, missed);
  }
};

Lifeline::Lifeline(const Launch& launch, Lost lost)
    : rank_(launch.rank()),
      lost_(std::move(lost)),
      limit_(limit_of_environment()),
      most_silence_(std::min(limit_, kMostSilence)) {
  for (int rank = 0; rank < launch.size(); ++rank) names_.push_back(launch.name(rank));
  if (rank_ == 0) {
    token_ = random_token();
    listener_ = std::make_unique<Listener>(launch.one_machine());
    members_.resize(names_.size());
  }
  connect_members(launch);
  thread_ = std::thread([this] { rank_ == 0 ? watch_members() : watch_first(); });
}

// The others call the first rank, which accepts before anyone goes on.
void Lifeline::connect_members(const Launch& launch) {
  std::string invitation;
  if (rank_ == 0) {
    invitation = std::to_string(listener_->port()) + " " + token_;
    for (const std::string& address :
         launch.one_machine() ? std::vector<std::string>{"127.0.0.1"} : own_addresses())
      invitation += " " + address;
  }
  const std::vector<std::string> words = words_of(launch.gather(invitation)[0]);
  if (rank_ != 0) {
    first_ = LineSocket::connect({words.begin() + 2, words.end()}, std::stoi(words[0]));
    first_.send("hello " + std::to_string(rank_) + " " + words[1]);
  }
  const std::vector<std::string> connected = launch.gather(rank_ == 0 || first_.is_open() ? "yes" : "");
  const auto wanted = std::count(connected.begin(), connected.end(), "yes") - 1;
  for (std::size_t rank = 0; rank < connected.size(); ++rank)
    if (connected[rank].empty()) unwatched_ += (unwatched_.empty() ? "" : ", ") + names_[rank];
  if (rank_ != 0) return;
  const auto accepted = [&] {
    return std::count_if(members_.begin(), members_.end(),
                         [](const Member& member) { return member.watched; });
  };
  while (accepted() < wanted) accept_member();
}

void Lifeline::accept_member() {
  LineSocket caller = listener_->accept();
  const auto start = Clock::now();
  std::vector<std::string> lines;
  while (caller.is_open() && lines.empty() && since(start) < kHello) {
    pollfd wait{caller.descriptor(), POLLIN, 0};
    if (::poll(&wait, 1, kLookMs) == 1) lines = caller.receive();
  }
  const std::vector<std::string> words = lines.empty() ? std::vector<std::string>() : words_of(lines[0]);
  if (words.size() != 3 || words[0] != "hello" || words[2] != token_) return;  // none of ours
  const auto rank = static_cast<std::size_t>(std::atoi(words[1].c_str()));
  if (rank == 0 || rank >= members_.size()) return;
  members_[rank].socket = std::move(caller);
  members_[rank].watched = true;
}

Lifeline::~Lifeline() {
  over_ = true;
  if (rank_ != 0) first_.send("bye");
  if (thread_.joinable()) thread_.join();
  if (!gave_up_) return;
  static std::vector<Member> until_this_process_ends;
  until_this_process_ends = std::move(members_);
}

void Lifeline::watch_members() {
  Looks looks;
  auto last_beat = Clock::now();
  while (!over_) {
    std::vector<pollfd> waits;
    std::vector<int> ranks;
    for (std::size_t rank = 1; rank < members_.size(); ++rank) {
      if (!members_[rank].socket.is_open()) continue;
      waits.push_back({members_[rank].socket.descriptor(), POLLIN, 0});
      ranks.push_back(static_cast<int>(rank));
    }
    ::poll(waits.data(), waits.size(), kLookMs);
    const auto missed = looks.missed();
    for (Member& member : members_) member.forgive(missed);
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents == 0) continue;
      Member& member = members_[static_cast<std::size_t>(ranks[i])];
      for (const std::string& line : member.socket.receive()) hear(ranks[i], line);
      if (!member.socket.is_open() && !member.gone)
        lose("rank-lost",
             names_[static_cast<std::size_t>(ranks[i])] +
                 " ended without a word; it may have been killed, for instance for want of memory");
    }
    members_[0].note(activity().steps, activity().waits);
    look_for_hangs();
    if (since(last_beat) < kBeat) continue;
    for (const Member& member : members_) member.socket.send("beat");
    last_beat = Clock::now();
  }
  for (const Member& member : members_) member.socket.send("bye");
}

void Lifeline::hear(int rank, const std::string& line) {
  Member& member = members_[static_cast<std::size_t>(rank)];
  if (line == "bye") {
    member.gone = true;
  } else if (line.starts_with("beat ")) {
    const std::vector<std::string> words = words_of(line);
    if (words.size() == 3) member.note(std::strtoull(words[1].c_str(), nullptr, 10), words[2] == "waits");
  } else if (line.starts_with("fail ")) {
    const std::size_t split = std::min(line.find(kSeparator), line.size() - 1);
    lose(line.substr(5, split - 5), names_[static_cast<std::size_t>(rank)] + ": " + line.substr(split + 1));
  }
}

void Lifeline::look_for_hangs() {
  const Member* latest = nullptr;
  for (std::size_t rank = 0; rank < members_.size(); ++rank) {
    const Member& member = members_[rank];
    if (member.gone || (rank > 0 && !member.watched)) continue;
    if (since(member.heard) > most_silence_) lose("rank-hung", silent(rank, since(member.heard)));
    if (latest == nullptr || member.went_on > latest->went_on) latest = &member;
  }
  if (!expects_progress_ || latest == nullptr || since(latest->went_on) <= limit_) return;
  // Those that are busy with something else than waiting; else those that are furthest behind.
  const bool all_wait =
      std::all_of(members_.begin(), members_.end(), [](const auto& each) { return each.waits; });
  std::uint64_t least = members_[0].steps;
  for (const Member& member : members_) least = std::min(least, member.steps);
  std::string hung;
  for (std::size_t rank = 0; rank < members_.size(); ++rank)
    if (all_wait ? members_[rank].steps == least : !members_[rank].waits)
      hung += (hung.empty() ? "" : ", ") + names_[rank];
  lose("rank-hung", hung + (all_wait ? " has not gone on for " : " hangs: no rank has gone on for ") +
                        seconds_text(since(latest->went_on)));
}

std::string Lifeline::silent(std::size_t rank, double seconds) const {
  return names_[rank] + " has not been heard of for " + seconds_text(seconds) +
         "; its process is stopped, or its machine is gone";
}

// Ends the run from the first rank's thread.
void Lifeline::lose(const std::string& code, const std::string& text) {
  if (over_.exchange(true)) return;
  end_members();
  lost_(code, text);
}

void Lifeline::end_members() {
  for (const Member& member : members_) member.socket.send("end");
}

void Lifeline::watch_first() {
  Looks looks;
  auto last = Clock::now(), heard = last;
  while (!over_ && first_.is_open()) {
    pollfd wait{first_.descriptor(), POLLIN, 0};
    ::poll(&wait, 1, kLookMs);
    move_on(heard, looks.missed());
    if (since(last) >= kBeat) {
      first_.send("beat " + std::to_string(activity().steps) + (activity().waits ? " waits" : " works"));
      last = Clock::now();
    }
    for (const std::string& line : first_.receive()) {
      if (line == "bye") return;
      if (line == "end") end_behind_first();
      heard = Clock::now();
    }
    if (since(heard) > most_silence_) {
      const std::string text = silent(0, since(heard));
      // Launchers wake a stopped process to end it: it then tells why.
      send_failure("rank-hung", text);
      lose_first("rank-hung", text);
    }
  }
  if (!over_) lose_first("rank-lost", names_[0] + " ended without a word");
}

// The first rank cannot tell any more: the second one does.
void Lifeline::lose_first(const std::string& code, const std::string& text) {
  lost_(code, rank_ == 1 ? text : "");
}

void Lifeline::end_behind_first() {
  for (const auto start = Clock::now(); first_.is_open() && Clock::now() - start < kLastWords;) {
    pollfd wait{first_.descriptor(), POLLIN, 0};
    ::poll(&wait, 1, kLookMs);
    first_.receive();
  }
  lost_("", "");
}

void Lifeline::give_up(const std::string& code, const std::string& text) {
  if (rank_ == 0) {
    gave_up_ = true;
    if (!over_.exchange(true)) end_members();
    return;
  }
  send_failure(code, text);
  follow_first();
}

void Lifeline::send_failure(const std::string& code, const std::string& text) const {
  first_.send("fail " + code + kSeparator + one_line(text));
}

void Lifeline::follow_first() const {
  std::this_thread::sleep_for(first_.is_open() ? kLastWords : kTimeToTell);
}

}  // namespace striped::parallel
