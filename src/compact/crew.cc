#include "compact/crew.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "base/concat.h"
#include "base/error.h"
#include "compact/chunk_filler.h"
#include "compact/sparse_writer.h"

namespace vmdkdm {
namespace {

using namespace std::chrono_literals;

// Chunks that were dealt out and that some hash has not seen yet.
constexpr std::size_t most_bytes_waiting = 64 << 20;
constexpr std::size_t most_chunks_waiting = 256;
constexpr std::size_t largest_spare = 4 << 20;
constexpr auto report_interval = 100ms;

struct FilledChunk {
    Chunk chunk;
    Buffer memory;
    std::span<std::byte> buffer;
    std::size_t readers = 0;  // hashes that have not seen it yet
};
using FilledChunkPtr = std::shared_ptr<FilledChunk>;

}  // namespace

struct CopyCrew::State {
    const BlockMap& map;
    ChunkDealer& dealer;
    const CopyTarget* target;
    const CopyOptions& options;
    std::vector<Hasher> hashers;

    std::atomic<std::uint64_t> done{0};
    std::atomic<bool> stopped{false};

    WriteTurn turn;
    std::mutex mutex;  // of all that follows
    std::condition_variable changed;
    std::exception_ptr error;
    std::map<std::uint64_t, FilledChunkPtr> filled;  // by number, for the hashes
    std::vector<FilledChunkPtr> spare;
    std::size_t bytes_waiting = 0;
    std::size_t chunks_waiting = 0;
    std::uint64_t chunk_count = 0;  // dealt out so far
    bool all_dealt = false;
    std::size_t running = 0;
    CopyResult result;
    std::vector<ChunkDigest> content;  // by number

    State(const BlockMap& the_map, ChunkDealer& the_dealer, const CopyTarget* the_target,
          const CopyOptions& the_options)
        : map(the_map), dealer(the_dealer), target(the_target), options(the_options) {}

    void stop(std::exception_ptr why) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::move(why);
        stopped = true;
        changed.notify_all();
    }

    template <class Body>
    std::thread start(Body body) {
        ++running;
        return std::thread([this, body = std::move(body)] {
            try {
                body();
            } catch (...) {
                stop(std::current_exception());
            }
            const std::lock_guard lock(mutex);
            --running;
            changed.notify_all();
        });
    }

    // The next chunk, with room for its bytes; none at the end.
    FilledChunkPtr deal() {
        std::unique_lock lock(mutex);
        changed.wait(lock, [this] {
            const bool room = bytes_waiting < most_bytes_waiting && chunks_waiting < most_chunks_waiting;
            return stopped || all_dealt || room;
        });
        if (stopped || all_dealt) return nullptr;
        FilledChunkPtr next;
        if (spare.empty()) {
            next = std::make_shared<FilledChunk>();
        } else {
            next = std::move(spare.back());
            spare.pop_back();
        }
        if (!dealer.next(next->chunk)) {
            all_dealt = true;
            changed.notify_all();
            return nullptr;
        }
        ++chunk_count;
        ++chunks_waiting;
        bytes_waiting += next->chunk.buffer_bytes;
        return next;
    }

    // With the mutex held.
    void give_back(FilledChunkPtr chunk) {
        --chunks_waiting;
        bytes_waiting -= chunk->chunk.buffer_bytes;
        if (chunk->memory.capacity() <= largest_spare) spare.push_back(std::move(chunk));
        changed.notify_all();
    }

    void deliver(FilledChunkPtr chunk, const std::optional<ChunkDigest>& digest) {
        for (const Piece& piece : chunk->chunk.pieces) done += to_bytes(piece.run.length).count();
        const std::lock_guard lock(mutex);
        if (digest) {
            const std::size_t number = static_cast<std::size_t>(chunk->chunk.number);
            if (content.size() <= number) content.resize(number + 1);
            content[number] = *digest;
        }
        if (hashers.empty()) {
            give_back(std::move(chunk));
            return;
        }
        chunk->readers = hashers.size();
        filled.emplace(chunk->chunk.number, std::move(chunk));
        changed.notify_all();
    }

    void work() {
        ChunkFiller filler(map, options.inflates);
        std::optional<ContentDigester> digester;
        if (options.content) digester.emplace(*options.content);
        std::vector<DamagedRange> damaged;
        CopyResult written;
        while (FilledChunkPtr chunk = deal()) {
            chunk->buffer = chunk->memory.take(chunk->chunk.buffer_bytes);
            filler.fill(chunk->chunk, chunk->buffer, damaged, digester ? &*digester : nullptr);
            if (!damaged.empty() && !options.allow_damaged)
                throw Error(ErrorKind::format, concat("the image is damaged: ", damaged.front().reason,
                                                      " (see --allow-damaged)"));
            if (target != nullptr) write(*chunk, written);
            deliver(std::move(chunk), digester ? std::optional(digester->finish()) : std::nullopt);
        }
        const std::lock_guard lock(mutex);
        result.copied += written.copied;
        result.inflated += written.inflated;
        result.damaged.insert(result.damaged.end(), damaged.begin(), damaged.end());
    }

    void write(const FilledChunk& chunk, CopyResult& written) {
        SparseWriter writer(*target, turn);
        std::size_t used = 0;
        for (const Piece& piece : chunk.chunk.pieces) {
            if (!has_bytes(piece)) continue;
            const std::size_t size = static_cast<std::size_t>(to_bytes(piece.run.length).count());
            if (!piece.shared) {
                const Bytes count(writer.write(target->offset_of(piece.run.start).count(),
                                               chunk.buffer.subspan(used, size)));
                (std::holds_alternative<Stored>(piece.run.content) ? written.copied : written.inflated) +=
                    count;
            }
            used += size;
        }
        writer.flush();
    }

    void hash(Hasher& hasher) {
        for (std::uint64_t number = 0;; ++number) {
            FilledChunkPtr chunk;
            {
                std::unique_lock lock(mutex);
                changed.wait(lock, [&] {
                    return stopped || filled.contains(number) || (all_dealt && number == chunk_count);
                });
                const auto found = filled.find(number);
                if (stopped || found == filled.end()) return;
                chunk = found->second;
            }
            std::size_t used = 0;
            for (const Piece& piece : chunk->chunk.pieces) {
                const std::uint64_t size = to_bytes(piece.run.length).count();
                if (!has_bytes(piece)) {
                    hasher.update_zeros(size);
                } else {
                    hasher.update(chunk->buffer.subspan(used, static_cast<std::size_t>(size)));
                    used += static_cast<std::size_t>(size);
                }
                if (stopped) return;
            }
            const std::lock_guard lock(mutex);
            if (--chunk->readers == 0) {
                filled.erase(number);
                give_back(std::move(chunk));
            }
        }
    }
};

CopyCrew::CopyCrew(const BlockMap& map, ChunkDealer& dealer, const CopyTarget* target,
                   const CopyOptions& options)
    : state_(std::make_unique<State>(map, dealer, target, options)) {
    for (const HashAlgorithm algorithm : options.hashes) state_->hashers.emplace_back(algorithm);
}

CopyCrew::~CopyCrew() = default;

void CopyCrew::run(const std::function<void(Bytes)>& report) {
    State& state = *state_;
    // Inflating takes every core; reading and writing overlap on two even where there is one.
    const unsigned cores = std::clamp(std::thread::hardware_concurrency(), 2U, 64U);
    std::vector<std::thread> threads;
    {
        const std::lock_guard lock(state.mutex);
        threads.reserve(cores + state.hashers.size());
        try {
            for (unsigned i = 0; i < cores; ++i) threads.push_back(state.start([&state] { state.work(); }));
            for (Hasher& hasher : state.hashers)
                threads.push_back(state.start([&state, &hasher] { state.hash(hasher); }));
        } catch (const std::system_error& error) {
            // Those that run wait for the lock, and stop.
            --state.running;
            state.error =
                std::make_exception_ptr(system_error("cannot start a thread", error.code().value()));
            state.stopped = true;
        }
    }
    {
        std::unique_lock lock(state.mutex);
        while (!state.changed.wait_for(lock, report_interval, [&] { return state.running == 0; })) {
            lock.unlock();
            try {
                report(Bytes(state.done));
            } catch (...) {
                state.stop(std::current_exception());
            }
            lock.lock();
        }
    }
    for (std::thread& thread : threads) thread.join();
    if (state.error) std::rethrow_exception(state.error);
    report(Bytes(state.done));
}

CopyResult CopyCrew::take_result() {
    CopyResult result = std::move(state_->result);
    std::sort(result.damaged.begin(), result.damaged.end(),
              [](const DamagedRange& a, const DamagedRange& b) { return a.start < b.start; });
    for (Hasher& hasher : state_->hashers) {
        const HashAlgorithm algorithm = hasher.algorithm();
        result.hashes.push_back({algorithm, hasher.finish()});
    }
    if (state_->options.content) result.content = content_digest(state_->content);
    return result;
}

}  // namespace vmdkdm
