#include "compact/hash_files.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "base/concat.h"
#include "base/descriptor_status.h"
#include "compact/copy.h"
#include "compact/copy_value.h"
#include "compact/digest.h"
#include "compact/told_progress.h"
#include "confine/confined_child.h"

namespace vmdkdm {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t read_bytes = 256 << 10;
constexpr auto report_interval = 100ms;

// Thrown in the threads, and caught there, when the work is to end.
struct Stopped {};

// What tells whether a file was written meanwhile. Nothing for what is no regular file.
std::optional<struct stat> facts_of(const File& file) {
    if (file.kind() != FileKind::regular || file.fd() < 0) return std::nullopt;
    struct stat facts = {};
    if (status_of_descriptor(file.fd(), facts) != 0)
        throw system_error(concat("cannot stat '", file.path(), "'"), errno);
    return facts;
}

bool same_facts(const struct stat& a, const struct stat& b) {
    return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
           a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

void refuse_written(const File& file, const std::optional<struct stat>& before) {
    const std::optional<struct stat> after = facts_of(file);
    if (!after) return;
    if (!same_facts(*before, *after) || static_cast<std::uint64_t>(after->st_size) != file.size().count())
        throw Error(ErrorKind::busy, concat("'", file.path(), "' was written while it was read"));
}

bool is_from_end_to_end(const BlockMap& disk, const File& file) {
    if (disk.size() != 1) return false;
    const Run run = disk[0];
    const auto* stored = std::get_if<Stored>(&run.content);
    return stored != nullptr && stored->sector == Sectors(0) && to_bytes(disk.capacity()) == file.size() &&
           disk.files()[stored->file].file->identity() == file.identity();
}

class HashCrew {
  public:
    HashCrew(const std::vector<FilePtr>& files, const BlockMap* disk, Progress& progress)
        : files_(files), disk_(disk), progress_(progress) {
        result_.files.resize(files.size());
    }

    FileHashes run() {
        deal_jobs();
        const std::size_t cores = std::clamp(std::thread::hardware_concurrency(), 1U, 64U);
        std::vector<std::thread> threads = start(std::min(cores, jobs_.size()));
        wait();
        for (std::thread& thread : threads) thread.join();
        if (failure_) std::rethrow_exception(failure_);
        progress_.update(total_, total_);
        if (disk_is_file_) result_.disk = disk_hash_of(result_.files[*disk_is_file_]);
        return std::move(result_);
    }

  private:
    struct Job {
        Bytes size;
        std::optional<std::size_t> file;  // none: the disk
    };

    void deal_jobs() {
        for (std::size_t i = 0; i < files_.size(); ++i) {
            jobs_.push_back({files_[i]->size(), i});
            if (disk_ != nullptr && is_from_end_to_end(*disk_, *files_[i])) disk_is_file_ = i;
        }
        if (disk_ != nullptr && !disk_is_file_) jobs_.push_back({to_bytes(disk_->capacity()), std::nullopt});
        std::sort(jobs_.begin(), jobs_.end(), [](const Job& a, const Job& b) { return a.size > b.size; });
        for (const Job& job : jobs_) total_ += job.size;
    }

    // Fewer threads than wanted take longer; only none is an error.
    std::vector<std::thread> start(std::size_t wanted) {
        const std::lock_guard lock(mutex_);  // none ends before all are counted
        std::vector<std::thread> threads;
        threads.reserve(wanted);
        try {
            while (threads.size() < wanted) threads.emplace_back([this] { work(); });
        } catch (const std::system_error& error) {
            if (threads.empty()) throw system_error("cannot start a thread", error.code().value());
        }
        running_ = threads.size();
        return threads;
    }

    // Reports from the caller's own thread until all others have ended.
    void wait() {
        std::unique_lock lock(mutex_);
        while (!ended_.wait_for(lock, report_interval, [this] { return running_ == 0; })) {
            lock.unlock();
            try {
                progress_.update(std::min(Bytes(done_), total_), total_);
            } catch (...) {
                stop(std::current_exception());
            }
            lock.lock();
        }
    }

    void stop(std::exception_ptr why) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::move(why);
        stopped_ = true;
    }

    void work() {
        try {
            for (std::size_t next = next_job_++; next < jobs_.size(); next = next_job_++)
                jobs_[next].file ? hash_file(*jobs_[next].file) : hash_disk();
        } catch (const Stopped&) {
        } catch (...) {
            stop(std::current_exception());
        }
        const std::lock_guard lock(mutex_);
        --running_;
        ended_.notify_all();
    }

    void hash_file(std::size_t index) {
        const File& file = *files_[index];
        FileHash& hash = result_.files[index];
        try {
            const std::optional<struct stat> before = facts_of(file);
            std::string sha256 = hash_bytes(file);
            refuse_written(file, before);
            if (before) hash.modified = before->st_mtim;
            hash.sha256 = std::move(sha256);
        } catch (const Error& error) {
            hash.error = error;
        }
    }

    std::string hash_bytes(const File& file) {
        Hasher hasher(HashAlgorithm::sha256);
        std::vector<std::byte> buffer(read_bytes);
        for (Bytes position; position < file.size();) {
            if (stopped_) throw Stopped();
            const std::uint64_t left = (file.size() - position).count();
            const auto piece =
                std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(left, read_bytes)));
            file.read_at(position, piece);
            hasher.update(piece);
            position += Bytes(piece.size());
            done_ += piece.size();
        }
        return hasher.finish();
    }

    // Adds what is done of the disk to what is done of the files.
    class DiskProgress : public Progress {
      public:
        explicit DiskProgress(HashCrew& crew) : crew_(crew) {}
        void update(Bytes done, Bytes) override {
            if (crew_.stopped_) throw Stopped();
            crew_.done_ += (done - told_).count();
            told_ = done;
        }

      private:
        HashCrew& crew_;
        Bytes told_;
    };

    void hash_disk() {
        DiskHash hash;
        try {
            CopyOptions options;
            options.allow_damaged = true;
            options.hashes = {HashAlgorithm::sha256};
            DiskProgress progress(*this);
            const CopyResult result = copy_disk(*disk_, nullptr, options, progress);
            hash.sha256 = result.hashes.front().hex;
            for (const DamagedRange& range : result.damaged) hash.unreadable += to_bytes(range.length);
        } catch (const Error& error) {
            hash.error = error;
        }
        result_.disk = std::move(hash);
    }

    static DiskHash disk_hash_of(const FileHash& file) { return {file.sha256, Bytes(0), file.error}; }

    const std::vector<FilePtr>& files_;
    const BlockMap* disk_;
    Progress& progress_;
    std::vector<Job> jobs_;
    std::optional<std::size_t> disk_is_file_;
    Bytes total_;
    FileHashes result_;  // each part written by one thread
    std::atomic<std::size_t> next_job_{0};
    std::atomic<std::uint64_t> done_{0};
    std::atomic<bool> stopped_{false};
    std::mutex mutex_;  // of what follows
    std::condition_variable ended_;
    std::size_t running_ = 0;
    std::exception_ptr failure_;
};

}  // namespace

FileHashes hash_files(const std::vector<FilePtr>& files, const BlockMap* disk, Progress& progress) {
    ConfinedTask task;
    task.worker = "the hasher";
    task.powers.threads = true;
    std::uint64_t bytes = disk == nullptr ? 0 : to_bytes(disk->capacity()).count();
    for (const FilePtr& file : files) bytes += file->size().count();
    task.budget = Budget::of_copier(bytes);
    for (const FilePtr& file : files) task.keep.push_back(file->fd());
    if (disk != nullptr)
        for (const MappedFile& mapped : disk->files()) task.keep.push_back(mapped.file->fd());
    task.work = [&](ParentLink& parent, Encoder& value) {
        ToldProgress told(parent);
        encode_hashes(value, HashCrew(files, disk, told).run());
    };
    task.progress = told_to(progress);
    return value_of_confined(task, [&](Decoder& from) { return decode_hashes(from, files.size(), disk); });
}

}  // namespace vmdkdm
