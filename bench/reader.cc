// Reads several files or devices in turn, in slices of a few milliseconds, and prints what each slice
// achieved. On a busy machine only neighbours can be compared, so the slices must be short; fio needs 0.3 s
// between two jobs in the embedded kernel, which is why this is not fio.
//
//   reader [--cold] [--jobs N] PATTERN BLOCK_BYTES DEPTH SLICE_MS ROUNDS PATH...
//
// --cold: drops the page cache before each slice (as root). --jobs N: N threads at once, each at places of
// its own and with a depth of its own.
//
// PATTERN is sequential or random. Linux AIO with O_DIRECT keeps DEPTH reads under way. One line a slice on
// standard output: round, index of PATH, bytes, nanoseconds. Within a round every path reads the same
// offsets, and the round's order rotates from round to round.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

// Not measured: wakes the path's threads and lets the one before come to rest.
constexpr std::chrono::milliseconds lead_in(5);

[[noreturn]] void die(const std::string& what) {
    std::perror(what.c_str());
    std::exit(1);
}

struct Work {
    bool random;
    std::uint64_t block;
    unsigned depth;
    std::uint64_t blocks;  // to choose from
};

// Of what comes before PATTERN.
struct Options {
    unsigned jobs = 1;
    bool cold = false;
};

int parse(int argc, char** argv, Options& options) {
    int next = 1;
    for (; next < argc && std::strncmp(argv[next], "--", 2) == 0; ++next) {
        const std::string name = argv[next];
        if (name == "--cold")
            options.cold = true;
        else if (name == "--jobs" && next + 1 < argc)
            options.jobs = static_cast<unsigned>(std::stoul(argv[++next]));
        else
            return argc;
    }
    return next;
}

void drop_page_cache() {
    const int fd = ::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || ::write(fd, "1", 1) != 1) die("/proc/sys/vm/drop_caches");
    ::close(fd);
}

class Reader {
  public:
    explicit Reader(const Work& work) : work_(work), requests_(work.depth), events_(work.depth) {
        if (::syscall(SYS_io_setup, work.depth, &context_) != 0) die("io_setup");
        void* memory = ::mmap(nullptr, work.block * work.depth, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (memory == MAP_FAILED) die("mmap");
        for (unsigned i = 0; i < work.depth; ++i) {
            requests_[i].aio_lio_opcode = IOCB_CMD_PREAD;
            requests_[i].aio_buf = reinterpret_cast<std::uint64_t>(memory) + i * work.block;
            requests_[i].aio_nbytes = work.block;
        }
    }

    // Returns the bytes read; the last of them have arrived.
    std::uint64_t read_for(std::chrono::milliseconds slice, int fd, unsigned seed) {
        std::minstd_rand random(seed + 1);
        std::uint64_t next = random() % work_.blocks;
        const auto submit = [&](iocb* request) {
            request->aio_fildes = static_cast<std::uint32_t>(fd);
            request->aio_offset = static_cast<std::int64_t>(next * work_.block);
            next = (work_.random ? random() : next + 1) % work_.blocks;
            if (::syscall(SYS_io_submit, context_, 1, &request) != 1) die("io_submit");
        };
        const Clock::time_point end = Clock::now() + slice;
        for (iocb& request : requests_) submit(&request);
        std::uint64_t bytes = 0;
        for (unsigned under_way = work_.depth; under_way > 0;) {
            const long count = ::syscall(SYS_io_getevents, context_, 1L, static_cast<long>(work_.depth),
                                         events_.data(), nullptr);
            if (count < 1) die("io_getevents");
            const bool more = Clock::now() < end;
            for (long i = 0; i < count; ++i) {
                const io_event& event = events_[static_cast<std::size_t>(i)];
                if (event.res != static_cast<std::int64_t>(work_.block)) {
                    errno = event.res < 0 ? static_cast<int>(-event.res) : EIO;
                    die("read");
                }
                bytes += work_.block;
                if (more)
                    submit(reinterpret_cast<iocb*>(event.obj));
                else
                    --under_way;
            }
        }
        return bytes;
    }

  private:
    Work work_;
    aio_context_t context_ = 0;
    std::vector<iocb> requests_;
    std::vector<io_event> events_;
};

// All jobs, from when all are ready until the last has its last byte.
struct Slice {
    std::uint64_t bytes = 0;
    std::chrono::nanoseconds took{0};
};

class Jobs {
  public:
    Jobs(const Work& work, unsigned jobs, bool cold) : cold_(cold) {
        for (unsigned i = 0; i < jobs; ++i) readers_.push_back(std::make_unique<Reader>(work));
    }

    Slice read_for(std::chrono::milliseconds slice, int fd, unsigned round) {
        Clock::time_point start;
        const auto begin = [&]() noexcept {
            // The lead-in of a cold slice is dropped with the page cache.
            if (cold_) drop_page_cache();
            start = Clock::now();
        };
        std::barrier ready(static_cast<std::ptrdiff_t>(readers_.size()), begin);
        std::atomic<std::uint64_t> bytes = 0;
        const auto job = [&](std::size_t number) {
            const auto seed = static_cast<unsigned>(round * readers_.size() + number);
            readers_[number]->read_for(lead_in, fd, seed);
            ready.arrive_and_wait();
            bytes += readers_[number]->read_for(slice, fd, seed);
        };
        std::vector<std::thread> others;
        for (std::size_t i = 1; i < readers_.size(); ++i) others.emplace_back(job, i);
        job(0);
        for (std::thread& thread : others) thread.join();
        return {bytes, Clock::now() - start};
    }

  private:
    bool cold_;
    std::vector<std::unique_ptr<Reader>> readers_;
};

}  // namespace

int main(int argc, char** argv) {
    Options options;
    const int first = parse(argc, argv, options);
    if (argc - first < 6 || options.jobs == 0) {
        std::fputs(
            "usage: reader [--cold] [--jobs N] sequential|random BLOCK_BYTES DEPTH SLICE_MS ROUNDS PATH...\n",
            stderr);
        return 2;
    }
    argv += first;
    argc -= first;
    Work work = {std::strcmp(argv[0], "random") == 0, std::stoull(argv[1]),
                 static_cast<unsigned>(std::stoul(argv[2])), 0};
    const std::chrono::milliseconds slice(std::stol(argv[3]));
    const auto rounds = static_cast<unsigned>(std::stoul(argv[4]));

    std::uint64_t size = UINT64_MAX;
    std::vector<int> files;
    for (int i = 5; i < argc; ++i) {
        const int fd = ::open(argv[i], O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (fd < 0) die(argv[i]);
        files.push_back(fd);
        size = std::min(size, static_cast<std::uint64_t>(::lseek(fd, 0, SEEK_END)));
    }
    work.blocks = size / work.block;
    Jobs jobs(work, options.jobs, options.cold);
    for (unsigned round = 0; round < rounds; ++round) {
        for (std::size_t i = 0; i < files.size(); ++i) {
            // Even rounds upwards, odd ones downwards, so that each is as often before its neighbour as after
            // it.
            const std::size_t turn = (i + round / 2) % files.size();
            const std::size_t file = round % 2 == 0 ? turn : files.size() - 1 - turn;
            const Slice read = jobs.read_for(slice, files[file], round);
            std::printf("%u %zu %llu %lld\n", round, file, static_cast<unsigned long long>(read.bytes),
                        static_cast<long long>(read.took.count()));
        }
    }
}
