#include "library_loader.h"

#include <dlfcn.h>

#include <cstdlib>
#include <sstream>
#include <vector>

#include "striped/error.h"

namespace striped::cuda {
namespace {

// Directories with a trailing slash; the empty one leaves the search to the dynamic loader.
std::vector<std::string> directories() {
  std::vector<std::string> found;
  if (const char* given = std::getenv("STRIPED_CUDNN_PATH")) {
    std::istringstream list(given);
    for (std::string directory; std::getline(list, directory, ':');) {
      if (directory.empty()) continue;
      found.insert(found.end(), {directory + "/", directory + "/lib/", directory + "/lib64/"});
    }
  }
  found.insert(found.end(), {"", "/usr/local/cuda/lib64/"});
  return found;
}

}  // namespace

Library::Library(std::initializer_list<const char*> names, const char* needed_for) {
  std::string tried;
  for (const std::string& directory : directories()) {
    for (const char* name : names) {
      name_ = directory + name;
      handle_ = dlopen(name_.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle_) return;
      const char* reason = dlerror();
      tried += std::string("\n  ") + name_ + ": " + (reason ? reason : "not found");
    }
  }
  throw Error("no-cuda",
              std::string(*names.begin()) + ", needed for " + needed_for +
                  ", was not found. Install the CUDA 13 (or 12) libraries, or name their directory in "
                  "LD_LIBRARY_PATH or STRIPED_CUDNN_PATH. Tried:" +
                  tried);
}

void* Library::find(const char* symbol) const {
  void* address = dlsym(handle_, symbol);
  if (!address) {
    throw Error("no-cuda",
                name_ + " has no function " + symbol + "; install a newer version of this library.");
  }
  return address;
}

}  // namespace striped::cuda
