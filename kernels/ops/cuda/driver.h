// Launches kernels that were compiled beforehand (a cubin), through the driver alone: for a machine without nvcc.
//
// The file that calls them, launch.cu, is compiled by g++ with the shim's types; its kernels are then host functions
// that nobody runs. Both compilers mangle names alike, so a kernel is found by the name of the function that stands
// for it. Needs libcuda, which comes with every driver, and a context that is current (torch has made one).
#pragma once

#include <dlfcn.h>

#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

namespace driver {

constexpr int kNoDriver = 100, kNotInitialised = 3, kNotFound = 500;  // of CUresult

struct Functions {
  int (*current_context)(void**);
  int (*load)(void**, const void*);
  int (*find)(void**, void*, const char*);
  int (*launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
  int (*describe)(int, const char**);
  bool complete;
};

inline const Functions& functions() {
  static const Functions found = [] {
    Functions f = {};
    void* library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr) return f;
    f.current_context = reinterpret_cast<int (*)(void**)>(dlsym(library, "cuCtxGetCurrent"));
    f.load = reinterpret_cast<int (*)(void**, const void*)>(dlsym(library, "cuModuleLoadData"));
    f.find = reinterpret_cast<int (*)(void**, void*, const char*)>(dlsym(library, "cuModuleGetFunction"));
    f.launch = reinterpret_cast<decltype(f.launch)>(dlsym(library, "cuLaunchKernel"));
    f.describe = reinterpret_cast<int (*)(int, const char**)>(dlsym(library, "cuGetErrorString"));
    f.complete = f.current_context && f.load && f.find && f.launch && f.describe;
    return f;
  }();
  return found;
}

struct State {
  std::mutex mutex;
  const void* image = nullptr;
  std::map<void*, void*> modules;                         // by context
  std::map<std::pair<void*, const void*>, void*> kernels;  // by context and host function
};

inline State& state() {
  static State only;
  return only;
}

inline int find_kernel(const void* host, void** kernel) {
  const Functions& cuda = functions();
  State& own = state();
  if (!cuda.complete) return kNoDriver;
  std::lock_guard<std::mutex> lock(own.mutex);
  if (own.image == nullptr) return kNotInitialised;
  void* context = nullptr;
  int error = cuda.current_context(&context);
  if (error != 0) return error;
  const auto known = own.kernels.find({context, host});
  if (known != own.kernels.end()) {
    *kernel = known->second;
    return 0;
  }
  void*& module = own.modules[context];
  if (module == nullptr && (error = cuda.load(&module, own.image)) != 0) {
    own.modules.erase(context);
    return error;
  }
  Dl_info info;
  if (dladdr(host, &info) == 0 || info.dli_sname == nullptr) return kNotFound;
  error = cuda.find(kernel, module, info.dli_sname);
  if (error == 0) own.kernels[{context, host}] = *kernel;
  return error;
}

template <typename Values, size_t... Index>
int launch_with(void* kernel, dim3 grid, int threads, int shared_bytes, void* stream, Values& values,
                std::index_sequence<Index...>) {
  void* parameters[] = {static_cast<void*>(&std::get<Index>(values))...};
  return functions().launch(kernel, grid.x, grid.y, grid.z, threads, 1, 1, shared_bytes, stream, parameters, nullptr);
}

template <typename... P>
int launch(void (*host)(P...), dim3 grid, int threads, int shared_bytes, void* stream, P... arguments) {
  void* kernel = nullptr;
  const int error = find_kernel(reinterpret_cast<const void*>(host), &kernel);
  if (error != 0) return error;
  std::tuple<P...> values(arguments...);
  return launch_with(kernel, grid, threads, shared_bytes, stream, values, std::index_sequence_for<P...>());
}

inline const char* describe(int error) {
  const char* said = nullptr;
  if (functions().complete && functions().describe(error, &said) == 0 && said != nullptr) return said;
  return error == kNoDriver ? "libcuda.so.1 cannot be loaded" : "an error of the CUDA driver";
}

}  // namespace driver
