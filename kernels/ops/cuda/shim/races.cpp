// Finds races in kernels: each one by itself, in whatever order the threads happen to run.
//
// With -fsanitize=thread the compiler calls a function at every access to memory. Here are these functions, in
// place of the sanitizer's own, which knows nothing of blocks and barriers. Two accesses to a byte in one launch
// race if at least one writes and nothing orders them: different threads of a block with no barrier in between,
// or any two blocks. Atomic accesses are left out, and volatile ones count within a block only: with these blocks
// talk to each other.
#include <link.h>

#include <cstdio>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shim.h"

namespace {

constexpr unsigned kNobody = 0xffffffffu, kSeveral = 0xfffffffeu;

struct Access {
  uint64_t epoch = 0;
  unsigned block = kNobody, thread = kNobody;
};

struct Byte {
  uint64_t launch = 0;
  Access written, read;
  unsigned reading_block = kNobody;  // any block that read it, kSeveral for more than one
};

constexpr uintptr_t kPageBytes = 4096;

struct Page {
  Byte bytes[kPageBytes];
};

thread_local std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
thread_local char message[160];

typedef std::vector<std::pair<uintptr_t, uintptr_t>> Ranges;

int add_ranges(dl_phdr_info* library, size_t, void* ranges) {
  for (int i = 0; i < library->dlpi_phnum; ++i) {
    const uintptr_t start = library->dlpi_addr + library->dlpi_phdr[i].p_vaddr;
    if (library->dlpi_phdr[i].p_type == PT_LOAD)
      static_cast<Ranges*>(ranges)->emplace_back(start, start + library->dlpi_phdr[i].p_memsz);
  }
  return 0;
}

// Shared memory is each block's own: that of the launch, and variables, which the shim makes static: they lie in
// a library, and no map does.
bool is_shared(uintptr_t address, uint64_t launch) {
  thread_local uint64_t known = 0;
  thread_local Ranges ranges;
  if (known != launch) {  // libraries come and go in between
    ranges.clear();
    dl_iterate_phdr(add_ranges, &ranges);
    known = launch;
  }
  if (shim::is_shared(address)) return true;
  for (const auto& range : ranges)
    if (address >= range.first && address < range.second) return true;
  return false;
}

void report(const char* what, bool shared, const shim::Place& here, unsigned block, unsigned thread) {
  const char* memory = shared ? "shared" : "global";
  if (block == kSeveral)
    std::snprintf(message, sizeof message, "a race: thread %u of block %u %s other blocks, in %s memory",
                  here.thread, here.block, what, memory);
  else if (thread == kSeveral)
    std::snprintf(message, sizeof message, "a race: thread %u of block %u %s several threads of block %u, in %s memory",
                  here.thread, here.block, what, block, memory);
  else
    std::snprintf(message, sizeof message, "a race: thread %u of block %u %s thread %u of block %u, in %s memory",
                  here.thread, here.block, what, thread, block, memory);
  shim::fail(message);
}

void visit(Byte& byte, bool shared, bool writes, bool spoken, const shim::Place& here) {
  if (byte.launch != here.launch || (shared && byte.written.block != here.block && byte.read.block != here.block)) {
    byte = Byte();
    byte.launch = here.launch;
  }
  const Access &written = byte.written, &read = byte.read;
  const bool mine = written.block == here.block;
  if (mine ? written.epoch == here.epoch && written.thread != here.thread : written.block != kNobody && !spoken)
    report(writes ? "writes over" : "reads what is written by", shared, here, written.block, written.thread);
  if (!writes) {
    if (read.block == here.block && read.epoch == here.epoch && read.thread != here.thread)
      byte.read.thread = kSeveral;
    else
      byte.read = Access{here.epoch, here.block, here.thread};
    if (byte.reading_block != here.block) byte.reading_block = byte.reading_block == kNobody ? here.block : kSeveral;
    return;
  }
  if (!shared && !spoken && byte.reading_block != kNobody && byte.reading_block != here.block)
    report("writes what is read by", shared, here, byte.reading_block, kSeveral);
  else if (read.block == here.block && read.epoch == here.epoch && read.thread != here.thread)
    report("writes what is read by", shared, here, read.block, read.thread);
  byte.written = Access{here.epoch, here.block, here.thread};
}

void access(const void* from, size_t size, bool writes, bool spoken = false) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(from);
  if (!shim::is_watched(address)) return;
  const shim::Place here = shim::where();
  const bool shared = is_shared(address, here.launch);
  for (uintptr_t i = address; i < address + size; ++i) {
    std::unique_ptr<Page>& page = pages[i / kPageBytes];
    if (page == nullptr) page.reset(new Page);
    visit(page->bytes[i % kPageBytes], shared, writes, spoken, here);
  }
}

}  // namespace

#define FLUXSHARD_ACCESS(size)                                                                \
  extern "C" void __tsan_read##size(void* from) { access(from, size, false); }                \
  extern "C" void __tsan_write##size(void* to) { access(to, size, true); }                    \
  extern "C" void __tsan_unaligned_read##size(void* from) { access(from, size, false); }      \
  extern "C" void __tsan_unaligned_write##size(void* to) { access(to, size, true); }          \
  extern "C" void __tsan_volatile_read##size(void* from) { access(from, size, false, true); } \
  extern "C" void __tsan_volatile_write##size(void* to) { access(to, size, true, true); }

FLUXSHARD_ACCESS(1)
FLUXSHARD_ACCESS(2)
FLUXSHARD_ACCESS(4)
FLUXSHARD_ACCESS(8)
FLUXSHARD_ACCESS(16)

extern "C" void __tsan_read_range(void* from, size_t size) { access(from, size, false); }
extern "C" void __tsan_write_range(void* to, size_t size) { access(to, size, true); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit(void*) {}
