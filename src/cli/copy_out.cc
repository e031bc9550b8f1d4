// vmdk-dm copy-out: files and directories out of an image, read by an embedded kernel.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/embedded_options.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "cli/size_option.h"
#include "embedded/receive_tree.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

struct CopyOutOptions {
    std::string source;  // IMAGE:VOLUME:/PATH
    std::string destination;
    bool force = false;
    std::optional<std::string> max_size;
    std::optional<std::uint32_t> max_files;
    EmbeddedOptions embedded;
};

struct Source {
    std::string image;
    CopyRequest request;
};

bool exists(const std::string& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

// "2:/etc", "vg0/root:/etc", "disk:/etc", ":/etc" or "/etc".
CopyRequest parse_request(const std::string& text, const std::string& whole) {
    if (text.starts_with('/')) return {"", text};
    const std::size_t colon = text.find(":/");
    if (colon == std::string::npos)
        throw Error(ErrorKind::usage,
                    concat("'", whole,
                           "' names no path after the volume: IMAGE:VOLUME:/PATH, such as "
                           "web.vmdk:1:/etc (VOLUME is a partition's number, VG/LV, LABEL=..., "
                           "UUID=... or disk)"));
    const std::string volume = text.substr(0, colon);
    return {volume == "disk" ? "" : volume, text.substr(colon + 1)};
}

// As for mount, an existing path wins, so that colons may stand in it.
Source parse_source(const std::string& text) {
    for (std::size_t colon = text.rfind(':'); colon != std::string::npos && colon > 0;
         colon = text.rfind(':', colon - 1))
        if (exists(text.substr(0, colon)) && !fs::is_directory(text.substr(0, colon)))
            return {text.substr(0, colon), parse_request(text.substr(colon + 1), text)};
    const std::string image = text.substr(0, text.find(':'));
    if (exists(text) || fs::is_directory(image))
        throw Error(ErrorKind::usage, concat("'", text, "' names no path in the image: IMAGE:VOLUME:/PATH"));
    throw Error(ErrorKind::not_found, concat("there is no image '", image, "'"));
}

// Where the copy goes: into a directory that is there, under its own name; else it is called as DEST says.
struct Place {
    UniqueFd directory;
    std::string name;
    std::string as_given;
};

Place place_of(const CopyOutOptions& options, const CopyRequest& request) {
    fs::path destination = options.destination;
    if (fs::is_directory(destination)) {
        const fs::path path = fs::path(request.path).lexically_normal();
        const fs::path name = path.has_filename() ? path.filename() : path.parent_path().filename();
        // The root has no name; what is in it goes into a directory called after the image.
        destination /= name.empty() ? fs::path(options.embedded.image.image).stem() : name;
    } else if (!destination.has_filename()) {
        destination = destination.parent_path();
    }
    const std::string name = destination.filename();
    if (name.empty() || name == "." || name == "..")
        throw Error(ErrorKind::usage, concat("'", options.destination, "' is no name for a copy"));
    const fs::path parent = destination.has_parent_path() ? destination.parent_path() : fs::path(".");
    Place place{UniqueFd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), name,
                destination.string()};
    if (!place.directory) throw system_error(concat("cannot open '", parent.string(), "'"), errno);
    if (!options.force && fs::exists(fs::symlink_status(destination)))
        throw Error(ErrorKind::busy, concat("'", place.as_given, "' is there already (see --force)"));
    if (::faccessat(place.directory.get(), ".", W_OK, AT_EACCESS) != 0)
        throw system_error(concat("cannot write to '", parent.string(), "'"), errno);
    return place;
}

// A whole disk would disturb everybody else on it.
std::uint64_t free_less_reserve(std::uint64_t free, std::uint64_t all, std::uint64_t most_reserve) {
    const std::uint64_t reserve = std::min(all / 20, most_reserve);
    return free - std::min(free, reserve);
}

// What the user allows, else what the file system of the copy can do without.
ReceiveOptions bounded(ReceiveOptions receive, const CopyOutOptions& options) {
    constexpr std::uint64_t most_names = 1'000'000;
    constexpr std::uint64_t gibibyte = std::uint64_t{1} << 30;
    struct statvfs facts = {};
    if (::fstatvfs(receive.directory, &facts) != 0)
        throw system_error(concat("'", receive.as_given, "'"), errno);
    receive.most_bytes =
        options.max_size
            ? parse_size(*options.max_size, "--max-size").count()
            : free_less_reserve(facts.f_bavail, facts.f_blocks, gibibyte / facts.f_frsize) * facts.f_frsize;
    receive.most_names = options.max_files.value_or(most_names);
    // Some file systems do not count.
    if (!options.max_files && facts.f_files != 0)
        receive.most_names =
            std::min(most_names, free_less_reserve(facts.f_favail, facts.f_files, most_names));
    return receive;
}

FillFrom stream_of(int descriptor) {
    return [descriptor](char* buffer, std::size_t size) {
        std::size_t filled = 0;
        while (filled < size) {
            const ssize_t got = ::read(descriptor, buffer + filled, size - filled);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) break;
            filled += static_cast<std::size_t>(got);
        }
        return filled;
    };
}

// None when we stopped listening before the kernel could say it.
std::optional<int> status_of(PreparedMachine& prepared, const std::exception_ptr& failure) {
    try {
        return prepared.run();
    } catch (const Error&) {
        if (!failure) throw;
        return std::nullopt;
    }
}

[[noreturn]] void run(CopyOutOptions& options) {
    const Source source = parse_source(options.source);
    options.embedded.image.image = source.image;
    PreparedMachine prepared(options.embedded);
    const Place place = place_of(options, source.request);
    const ReceiveOptions receive =
        bounded({place.directory.get(), place.name, place.as_given, options.force}, options);
    prepared.job.copy = source.request;
    prepared.machine.takes_input = false;
    std::optional<Received> received;
    std::exception_ptr failure;
    bool is_too_much = false;
    prepared.machine.take_output = [&](int descriptor) {
        const FillFrom stream = stream_of(descriptor);
        try {
            received = receive_tree(stream, receive,
                                    [](const std::string& text) { err() << "vmdk-dm: " << text << "\n"; });
            // To the end of the stream: the kernel has a status to say.
            for (char rest[4096]; stream(rest, sizeof rest) == sizeof rest;) continue;
        } catch (const Error& error) {
            failure = std::current_exception();
            is_too_much = error.kind() == ErrorKind::refused;
        }
    };
    const std::optional<int> status = status_of(prepared, failure);
    if (is_too_much) std::rethrow_exception(failure);
    if (status && *status != 0) throw ExitStatus{*status};
    if (failure) std::rethrow_exception(failure);
    if (received->failed > 0) throw ExitStatus{static_cast<int>(ErrorKind::system)};
    if (received->existing > 0) throw ExitStatus{static_cast<int>(ErrorKind::busy)};
    throw ExitStatus{0};
}

}  // namespace

void add_copy_out_command(Command& app) {
    Command command =
        app.add_command("copy-out", "Copy files out of an image, read by an embedded kernel; needs no root");
    const auto options = std::make_shared<CopyOutOptions>();
    command
        .add_argument("IMAGE:VOLUME:/PATH", options->source,
                      "What is copied. VOLUME is a partition's number, VG/LV, LABEL=..., UUID=..., or disk")
        .required();
    command.add_argument("DEST", options->destination, "A directory, or the copy's new name").required();
    command.add_flag("--force", options->force, "Replace files that are there already, and join directories");
    command.add_option("--max-size", options->max_size, "SIZE",
                       "How much the copy may take (default: what is free, less a reserve)");
    command
        .add_option("--max-files", options->max_files, "N",
                    "How many files and directories the copy may have (default: 1000000)")
        .in_range(1U, 4294967295U);
    add_embedded_options(command, options->embedded);
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
