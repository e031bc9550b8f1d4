#include "cli/attach_table.h"

#include <optional>

#include "attach/attached.h"
#include "base/concat.h"
#include "base/error.h"
#include "cli/attach_image.h"
#include "cli/cli.h"
#include "cli/find_disk.h"
#include "cli/printer.h"
#include "cli/table_entry.h"
#include "kernel/linux_kernel.h"
#include "kernel/signals.h"
#include "tab/options.h"
#include "tab/tab.h"

namespace vmdkdm {
namespace {

enum class State { attached, already, failed };

std::string_view to_string(State state) {
    switch (state) {
        case State::attached:
            return "attached";
        case State::already:
            return "already";
        case State::failed:
            return "failed";
    }
    return "";
}

struct Outcome {
    State state = State::failed;
    std::vector<std::string> paths;
    Json description = nullptr;
    std::string message;
};

class TableRun {
  public:
    explicit TableRun(const AttachTableOptions& options) : options_(options), tab_(read_tab(options.file)) {}

    void run() {
        attach_entries();
        // Where the signal is not blocked by whoever started us, it has ended the process by now.
        if (is_interrupted_)
            throw Error(ErrorKind::system, "interrupted: entries are left that are not attached");
        if (first_failure_) throw ExitStatus{static_cast<int>(*first_failure_)};
    }

  private:
    // An entry is attached whole or not at all; a signal is heeded between two, and what stands is told.
    void attach_entries() {
        const SignalDelay delay;
        if (options_.names.empty())
            attach_all();
        else
            attach_named();
        if (options_.json) print_json(list_);
        out().flush();
        if (!is_interrupted_) delay.discard();
    }

    void attach_all() {
        for (const TabFault& fault : tab_.faults) fail(fault.error);
        for (const TabEntry& entry : tab_.entries)
            if (!entry.noauto() && !stop_when_interrupted()) attach_entry(entry, entry.nofail());
    }

    // Lines that are not meant and broken do not matter here.
    void attach_named() {
        for (const std::string& name : options_.names) {
            if (stop_when_interrupted()) return;
            const TabEntry* const entry = tab_.find(name);
            if (entry != nullptr)
                attach_entry(*entry, /*may_fail=*/false);
            else
                fail_unknown(name);
        }
    }

    void fail_unknown(const std::string& name) {
        bool is_broken = false;
        for (const TabFault& fault : tab_.faults)
            if (fault.name == name) {
                fail(fault.error);
                is_broken = true;
            }
        if (!is_broken)
            fail(Error(ErrorKind::not_found, concat("'", options_.file, "' has no entry '", name, "'",
                                                    tab_.faults.empty() ? "" : " (see vmdk-dm tab check)")));
    }

    void attach_entry(const TabEntry& entry, bool may_fail) {
        Outcome outcome;
        try {
            outcome = attached(entry);
        } catch (const Error& error) {
            outcome.message = error.what();
            // It was no failure, the signal will say why.
            if (stop_when_interrupted()) return;
            report_failure(entry, error, may_fail);
        }
        if (!options_.json)
            for (const std::string& path : outcome.paths) (out() << path << "\n").flush();
        list_.push_back({{"entry", entry.name},
                         {"line", entry.line},
                         {"state", to_string(outcome.state)},
                         {"message", outcome.message.empty() ? Json(nullptr) : Json(outcome.message)},
                         {"paths", outcome.paths},
                         {"attached", outcome.description}});
    }

    Outcome attached(const TabEntry& entry) {
        const std::string directory = device_directory_of(entry);
        AttachCommandOptions options = attach_options_of(entry, directory);
        check_paths_on_device(entry, directory);
        options.preparation.progress = options_.progress;
        Outcome outcome;
        if (const std::vector<std::string> paths = paths_if_attached(entry, options); !paths.empty()) {
            outcome.state = State::already;
            outcome.paths = paths;
            return outcome;
        }
        attach_image(options, [&](const AttachedImage& attached, const SignalDelay&) {
            for (const std::string& note : attached.notes) print_note(entry, note);
            outcome = {State::attached, attached.paths, attached.description, ""};
        });
        return outcome;
    }

    // By the same name. Under another one the attach will say that it is attached already.
    static std::vector<std::string> paths_if_attached(const TabEntry& entry,
                                                      const AttachCommandOptions& options) {
        const std::string id = id_of_image(options.image.image);
        if (id.empty()) return {};
        LinuxKernel kernel(options.no_udev ? UdevUse::off : UdevUse::automatic);
        for (const AttachedDisk& disk : list_attached(kernel)) {
            if (disk.id != id || disk.device.name != entry.name) continue;
            std::vector<std::string> paths = {kernel.device_path(disk.device.name)};
            for (const AttachedPartition& partition : disk.partitions)
                paths.push_back(kernel.device_path(partition.device.name));
            return paths;
        }
        return {};
    }

    bool stop_when_interrupted() {
        is_interrupted_ = is_interrupted_ || interruption_pending();
        return is_interrupted_;
    }

    static void print_note(const TabEntry& entry, std::string_view note) {
        err() << "vmdk-dm: note: " << entry.place() << ": '" << entry.name << "': " << note << "\n";
    }

    void report_failure(const TabEntry& entry, const Error& error, bool may_fail) {
        const bool says_where = dynamic_cast<const TextError*>(&error) != nullptr;
        if (says_where) print_error(error);
        const std::string why = says_where ? "it is not attached: see above" : error.what();
        if (may_fail) return print_note(entry, concat(why, " (nofail)"));
        err() << "vmdk-dm: " << entry.place() << ": '" << entry.name << "': " << why << "\n";
        remember(error);
    }

    void fail(const Error& error) {
        print_error(error);
        remember(error);
    }

    void remember(const Error& error) {
        if (!first_failure_) first_failure_ = error.kind();
    }

    const AttachTableOptions& options_;
    Tab tab_;
    Json list_ = Json::array();
    std::optional<ErrorKind> first_failure_;
    bool is_interrupted_ = false;
};

}  // namespace

void attach_table(const AttachTableOptions& options) { TableRun(options).run(); }

}  // namespace vmdkdm
