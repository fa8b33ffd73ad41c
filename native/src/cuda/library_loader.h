// Shared libraries found at run time, so that the engine starts (and says what is missing) without them.
#pragma once

#include <initializer_list>
#include <string>

namespace striped::cuda {

// Looks for the first of `names` (newest version first) in the directories of the environment variable
// STRIPED_CUDNN_PATH (a directory, or one with lib/ or lib64/ in it; several separated by ':'), then through
// the dynamic loader, then in /usr/local/cuda/lib64. Never unloaded.
class Library {
 public:
  // Throws Error "no-cuda" that names the library, what it is `needed_for`, every place tried and how to mend
  // it.
  Library(std::initializer_list<const char*> names, const char* needed_for);

  template <class Function>
  void bind(Function*& function, const char* symbol) const {
    function = reinterpret_cast<Function*>(find(symbol));
  }

 private:
  void* find(const char* symbol) const;
  void* handle_ = nullptr;
  std::string name_;
};

}  // namespace striped::cuda
