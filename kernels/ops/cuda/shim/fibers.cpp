// The threads of one block as fibers on stacks of their own, and the barriers between them.
#include <csetjmp>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "shim.h"

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {
namespace {

constexpr size_t kStackBytes = 128 * 1024;  // a lane's fragments alone take tens of kilobytes
constexpr size_t kGuardBytes = 256;
constexpr unsigned char kPoison = 0xff;  // a NaN in either type, a huge number elsewhere

struct Barrier {
  unsigned arrived = 0;
  uint64_t generation = 0;
};

struct Fiber {
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStackBytes]};
  ucontext_t start;
  jmp_buf resume;
  bool started = false, finished = true;
};

struct Machine {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<unsigned> order;
  std::vector<Barrier> warps;
  std::vector<uint64_t> slots;
  std::unique_ptr<unsigned char[]> shared_storage;
  unsigned char* shared = nullptr;
  Barrier block;
  ucontext_t origin;
  jmp_buf scheduler;
  Fiber* current = nullptr;
  Body body = nullptr;
  void* context = nullptr;
  uint64_t events = 0;  // barriers passed, threads finished
  bool failed = false;
  bool running = false;  // a kernel's code, not the launch around it
  const char* failure = "";
  int order_seed = 0;
  uint64_t random = 0, launches = 0;
  size_t shared_bytes = 0;
  int vote = 0;
};

thread_local Machine machine;

// Fibers outlive a block: each waits here for the next one, so that a switch is never a system call.
void fiber_main() {
  for (;;) {
    machine.body(machine.context);
    machine.current->finished = true;
    ++machine.events;
    if (_setjmp(machine.current->resume) == 0) _longjmp(machine.scheduler, 1);
  }
}

void yield() {
  Fiber* mine = machine.current;
  if (_setjmp(mine->resume) == 0) _longjmp(machine.scheduler, 1);
}

void enter(Fiber& fiber) {
  machine.current = &fiber;
  if (_setjmp(machine.scheduler) != 0) return;
  if (fiber.started) _longjmp(fiber.resume, 1);
  fiber.started = true;
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack.get();
  fiber.start.uc_stack.ss_size = kStackBytes;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, fiber_main, 0);
  setcontext(&fiber.start);
}

void arrive(Barrier& barrier, unsigned members) {
  const uint64_t mine = barrier.generation;
  if (++barrier.arrived == members) {
    barrier.arrived = 0;
    ++barrier.generation;
    ++machine.events;
    return;
  }
  while (barrier.generation == mine) yield();
}

unsigned random_below(unsigned count) {
  machine.random = machine.random * 6364136223846793005u + 1442695040888963407u;
  return static_cast<unsigned>((machine.random >> 33) % count);
}

// 0 .. count - 1: in order, in reverse or shuffled, as the seed says.
void arrange(std::vector<unsigned>& order, unsigned count) {
  order.resize(count);
  for (unsigned i = 0; i < count; ++i) order[i] = i;
  if (machine.order_seed < 0) std::reverse(order.begin(), order.end());
  for (unsigned i = count; machine.order_seed > 0 && i > 1; --i) std::swap(order[i - 1], order[random_below(i)]);
}

// Runs every thread of one block to its end. A pass over all threads in which none finishes and no barrier
// opens can never be followed by one that does.
void run_block(unsigned threads) {
  machine.block = Barrier();
  machine.vote = 0;
  std::fill(machine.warps.begin(), machine.warps.end(), Barrier());
  for (unsigned i = 0; i < threads; ++i) machine.fibers[i]->finished = false;
  for (bool alive = true; alive && !machine.failed;) {
    alive = false;
    if (machine.order_seed > 0) arrange(machine.order, threads);  // from one barrier to the next, another order
    const uint64_t before = machine.events;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned number = machine.order[i];
      if (machine.fibers[number]->finished) continue;
      alive = true;
      threadIdx.x = number;
      machine.running = true;
      enter(*machine.fibers[number]);
      machine.running = false;
    }
    if (alive && machine.events == before) fail("a barrier that not every thread reaches");
  }
  if (machine.failed)  // the fibers are stuck inside the kernel: leave them, and start anew
    machine.fibers.clear();
}

}  // namespace

unsigned char* shared_memory() { return machine.shared; }
void block_barrier() { arrive(machine.block, blockDim.x); }

// Everyone votes, everyone reads the result, and the next vote starts from nothing.
int block_any(int value) {
  machine.vote |= value != 0;
  block_barrier();
  const int result = machine.vote;
  block_barrier();
  machine.vote = 0;
  block_barrier();
  return result;
}

void warp_barrier() { arrive(machine.warps[threadIdx.x / 32], std::min(32u, blockDim.x - threadIdx.x / 32 * 32)); }
uint64_t& warp_slot(unsigned lane) { return machine.slots[threadIdx.x / 32 * 32 + lane]; }
void wait() { yield(); }
const char* last_failure() { return machine.failure; }

void fail(const char* message) {
  if (machine.failed) return;  // the first one is the cause
  machine.failed = true;
  machine.failure = message;
}

void stop(const char* message) {
  fail(message);
  for (;;) yield();  // whatever comes next must not happen: the block ends without this thread
}

bool is_watched(uintptr_t address) {
  if (!machine.running) return false;
  const uintptr_t stack = reinterpret_cast<uintptr_t>(machine.current->stack.get());
  return address < stack || address >= stack + kStackBytes;
}

bool is_shared(uintptr_t address) {
  const uintptr_t start = reinterpret_cast<uintptr_t>(machine.shared);
  return address >= start && address < start + machine.shared_bytes + kGuardBytes;
}

Place where() {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  return Place{machine.launches, machine.block.generation, block, threadIdx.x};
}

int run_body(dim3 grid, int threads, int shared_bytes, Body body, void* context) {
  if (threads < 1 || threads > 1024 || threads % 32 != 0 || shared_bytes < 0 || shared_bytes > 48 * 1024 ||
      grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    return cudaErrorInvalidValue;
  const unsigned count = static_cast<unsigned>(threads);
  machine.failed = false;
  while (machine.fibers.size() < count) machine.fibers.emplace_back(new Fiber);
  machine.warps.resize(count / 32);
  machine.slots.resize(count);
  ++machine.launches;
  machine.random = static_cast<uint64_t>(machine.order_seed);
  arrange(machine.order, count);
  const size_t bytes = machine.shared_bytes = static_cast<size_t>(shared_bytes);
  machine.shared_storage.reset(new unsigned char[bytes + kGuardBytes + 128]);
  const uintptr_t address = reinterpret_cast<uintptr_t>(machine.shared_storage.get());
  machine.shared = machine.shared_storage.get() + (128 - address % 128);
  machine.body = body;
  machine.context = context;
  blockDim = dim3(count);
  gridDim = grid;
  std::vector<unsigned> blocks;
  arrange(blocks, grid.x * grid.y * grid.z);
  for (unsigned block : blocks) {
    blockIdx = dim3(block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y);
    std::memset(machine.shared, kPoison, bytes + kGuardBytes);
    run_block(count);
    for (size_t i = 0; i < kGuardBytes; ++i)
      if (machine.shared[bytes + i] != kPoison) fail("a write past the end of shared memory");
    if (machine.failed) break;
  }
  return machine.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

}  // namespace shim

// Threads of a block, and blocks: 0 in order; negative in reverse; positive shuffled by this seed, the threads
// anew from one barrier to the next. A race shows as a result that depends on it.
extern "C" void fluxshard_shim_order(int seed) { shim::machine.order_seed = seed; }
