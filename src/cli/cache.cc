// vmdk-dm cache: what attach has kept of compressed images.
#include <chrono>
#include <ctime>
#include <map>
#include <memory>
#include <optional>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cache_options.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "compact/cache.h"
#include "kernel/linux_kernel.h"

namespace vmdkdm {
namespace {

struct CacheCommandOptions {
    std::optional<std::string> directory;
    bool clear = false;
    std::vector<std::string> names;
    bool json = false;
};

// The loop devices by the file that they hold, as far as this user can see them.
std::map<FileIdentity, std::string> loops_by_file() {
    std::map<FileIdentity, std::string> loops;
    try {
        LinuxKernel kernel(UdevUse::off);
        for (const LoopInfo& loop : kernel.list_loops()) loops[loop.backing_identity] = loop.node;
    } catch (const Error&) {
        // Not root: then it is not said.
    }
    return loops;
}

std::string utc_time(std::chrono::system_clock::time_point time) {
    const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
    std::tm parts = {};
    ::gmtime_r(&seconds, &parts);
    char text[32] = {};
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

void show(const Cache& cache, const CacheCommandOptions& options) {
    const std::vector<Cache::Entry> entries = cache.entries();
    const auto loops = loops_by_file();
    const auto loop_of = [&loops](const Cache::Entry& entry) {
        const auto loop = loops.find(entry.identity);
        return loop == loops.end() ? std::string() : loop->second;
    };
    if (options.json) {
        Json list = Json::array();
        for (const Cache::Entry& entry : entries)
            list.push_back({{"name", entry.name},
                            {"path", entry.path},
                            {"allocated", entry.allocated.count()},
                            {"capacity", entry.capacity.count()},
                            {"lastUsed", utc_time(entry.last_used)},
                            {"loop", loop_of(entry).empty() ? Json(nullptr) : Json(loop_of(entry))}});
        print_json(list);
        return;
    }
    if (entries.empty()) {
        err() << "vmdk-dm: nothing is kept in '" << cache.directory() << "'\n";
        return;
    }
    using enum TextTable::Align;
    TextTable table(
        {{"ALLOCATED", right}, {"CAPACITY", right}, {"LAST USED", left}, {"LOOP", left}, {"NAME", left}});
    for (const Cache::Entry& entry : entries)
        table.add({human_size(entry.allocated), human_size(entry.capacity), utc_time(entry.last_used),
                   loop_of(entry).empty() ? "-" : loop_of(entry), entry.name});
    table.print();
}

std::vector<Cache::Entry> chosen_entries(const Cache& cache, const std::vector<std::string>& names) {
    const std::vector<Cache::Entry> entries = cache.entries();
    if (names.empty()) return entries;
    std::vector<Cache::Entry> chosen;
    for (const std::string& name : names) {
        const auto entry = std::find_if(entries.begin(), entries.end(),
                                        [&name](const auto& each) { return each.name == name; });
        if (entry == entries.end())
            throw Error(ErrorKind::not_found,
                        concat("there is no '", name, "' in '", cache.directory(), "'"));
        chosen.push_back(*entry);
    }
    return chosen;
}

void clear(const Cache& cache, const CacheCommandOptions& options) {
    const std::vector<Cache::Entry> chosen = chosen_entries(cache, options.names);
    const auto loops = loops_by_file();
    Json removed = Json::array();
    for (const Cache::Entry& entry : chosen) {
        // The loop would keep the bytes, but nobody could see any more what takes the room.
        if (const auto loop = loops.find(entry.identity); loop != loops.end()) {
            print_notes({concat("'", entry.name, "' is in use by ", loop->second, " and is kept")});
            continue;
        }
        cache.remove(entry);
        removed.push_back(entry.name);
        if (!options.json) out() << entry.name << "\n";
    }
    if (options.json) print_json(removed);
}

void run(const CacheCommandOptions& options) {
    if (!options.clear && !options.names.empty())
        throw Error(ErrorKind::usage, concat("'", options.names.front(), "' is given without --clear"));
    const Cache cache(options.directory);
    options.clear ? clear(cache, options) : show(cache, options);
}

}  // namespace

void add_cache_command(Command& app) {
    Command command = app.add_command("cache", "Show or remove what attach has kept of compressed images");
    const auto options = std::make_shared<CacheCommandOptions>();
    add_cache_options(command, options->directory);
    command.add_flag("--clear", options->clear, "Remove what is not in use: all, or what is named");
    command.add_argument("NAME", options->names, "With --clear: the entries to remove");
    command.add_flag("--json", options->json, "Print a JSON array");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
