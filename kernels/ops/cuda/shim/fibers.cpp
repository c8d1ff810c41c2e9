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
  const char* failure = "";
  int order_seed = 0;
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

void fail(const char* message) {
  machine.failed = true;
  machine.failure = message;
}

// Runs every thread of one block to its end. A pass over all threads in which none finishes and no barrier
// opens can never be followed by one that does.
void run_block(unsigned threads) {
  machine.block = Barrier();
  std::fill(machine.warps.begin(), machine.warps.end(), Barrier());
  for (unsigned i = 0; i < threads; ++i) machine.fibers[i]->finished = false;
  for (bool alive = true; alive && !machine.failed;) {
    alive = false;
    const uint64_t before = machine.events;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned number = machine.order[i];
      if (machine.fibers[number]->finished) continue;
      alive = true;
      threadIdx.x = number;
      enter(*machine.fibers[number]);
    }
    if (alive && machine.events == before) fail("a barrier that not every thread reaches");
  }
  if (machine.failed)  // the fibers are stuck inside the kernel: leave them, and start anew
    machine.fibers.clear();
}

void prepare_order(unsigned threads) {
  machine.order.resize(threads);
  for (unsigned i = 0; i < threads; ++i) machine.order[i] = i;
  if (machine.order_seed < 0) std::reverse(machine.order.begin(), machine.order.end());
  uint64_t state = static_cast<uint64_t>(machine.order_seed);
  for (unsigned i = threads; machine.order_seed > 0 && i > 1; --i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(machine.order[i - 1], machine.order[(state >> 33) % i]);
  }
}

}  // namespace

unsigned char* shared_memory() { return machine.shared; }
void block_barrier() { arrive(machine.block, blockDim.x); }
void warp_barrier() { arrive(machine.warps[threadIdx.x / 32], std::min(32u, blockDim.x - threadIdx.x / 32 * 32)); }
uint64_t& warp_slot(unsigned lane) { return machine.slots[threadIdx.x / 32 * 32 + lane]; }
void wait() { yield(); }
const char* last_failure() { return machine.failure; }

int run_body(dim3 grid, int threads, int shared_bytes, Body body, void* context) {
  if (threads < 1 || threads > 1024 || threads % 32 != 0 || shared_bytes < 0 || shared_bytes > 48 * 1024 ||
      grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    return cudaErrorInvalidValue;
  const unsigned count = static_cast<unsigned>(threads);
  machine.failed = false;
  while (machine.fibers.size() < count) machine.fibers.emplace_back(new Fiber);
  machine.warps.resize(count / 32);
  machine.slots.resize(count);
  prepare_order(count);
  const size_t bytes = static_cast<size_t>(shared_bytes);
  machine.shared_storage.reset(new unsigned char[bytes + kGuardBytes + 128]);
  const uintptr_t address = reinterpret_cast<uintptr_t>(machine.shared_storage.get());
  machine.shared = machine.shared_storage.get() + (128 - address % 128);
  machine.body = body;
  machine.context = context;
  blockDim = dim3(count);
  gridDim = grid;
  for (unsigned z = 0; z < grid.z && !machine.failed; ++z)
    for (unsigned y = 0; y < grid.y && !machine.failed; ++y)
      for (unsigned x = 0; x < grid.x && !machine.failed; ++x) {
        blockIdx = dim3(x, y, z);
        std::memset(machine.shared, kPoison, bytes + kGuardBytes);
        run_block(count);
        for (size_t i = 0; i < kGuardBytes; ++i)
          if (machine.shared[bytes + i] != kPoison) fail("a write past the end of shared memory");
      }
  return machine.failed ? cudaErrorLaunchFailure : cudaSuccess;
}

}  // namespace shim

// 0: threads in order; negative: in reverse; positive: shuffled by this seed. A race between threads of a block
// shows as a result that depends on it.
extern "C" void fluxshard_shim_order(int seed) { shim::machine.order_seed = seed; }
