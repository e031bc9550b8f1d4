// vmdk-dm check: all that is wrong with an image and its parents. Exit status 0 only when nothing is.
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "compact/damage.h"
#include "kernel/signals.h"
#include "vmdk/check.h"

namespace vmdkdm {
namespace {

struct CheckOptions {
    ImageOptions image;
    bool deep = false;
    std::string progress = "auto";
    bool json = false;
};

Json as_json(const FindingList& list) {
    Json array = Json::array();
    for (const Finding& finding : list.kept())
        array.push_back({{"file", finding.file},
                         {"offset", finding.offset.count()},
                         {"kind", to_string(finding.kind)},
                         {"text", finding.text}});
    return array;
}

Json counts_of(const FindingList& list) {
    Json counts = Json::object();
    for (const auto& [kind, count] : list.counts()) counts[std::string(to_string(kind))] = count;
    return counts;
}

void print_as_json(const CheckedImage& checked) {
    const Findings& findings = checked.findings;
    print_json({{"image", checked.path},
                {"sound", findings.sound()},
                {"layers", checked.chain.images.size()},
                {"files", checked.files},
                {"faults", as_json(findings.faults)},
                {"notes", as_json(findings.notes)},
                {"faultCounts", counts_of(findings.faults)},
                {"noteCounts", counts_of(findings.notes)}});
}

// Files below the image's directory by their names there, as the descriptor has them.
std::string shown_path(const std::string& path, const std::string& image_path) {
    const std::string directory = std::filesystem::path(image_path).parent_path().string();
    const std::string prefix = directory.ends_with('/') ? directory : directory + '/';
    return path.starts_with(prefix) ? path.substr(prefix.size()) : path;
}

// One line each, and one for those of each kind that were not kept.
void print_list(const FindingList& list, const std::string& image_path, std::ostream& out,
                std::string_view before) {
    std::map<FindingKind, std::uint64_t> left = list.counts();
    for (const Finding& finding : list.kept()) {
        out << before << shown_path(finding.file, image_path) << ": byte " << finding.offset.count() << ": "
            << finding.text << "\n";
        --left[finding.kind];
    }
    for (const auto& [kind, count] : left)
        if (count > 0) out << before << "... and " << count << " more of kind '" << to_string(kind) << "'\n";
}

void print_as_text(const CheckedImage& checked, const std::string& image) {
    print_list(checked.findings.notes, checked.path, std::cerr, "vmdk-dm: note: ");
    print_list(checked.findings.faults, checked.path, std::cout, "");
    std::cout << image << ": "
              << (checked.findings.sound() ? "sound" : counted(checked.findings.faults.count(), "fault"))
              << " (" << counted(checked.chain.images.size(), "layer") << ", "
              << counted(checked.files, "file") << ")\n";
}

// Compressed grains that do not inflate, of every layer: also those that its child hides.
void check_grains(CheckedImage& checked, FileOpener& opener, const ReadRules& rules, Progress& progress) {
    std::vector<std::string> told_already;
    SparseFiles sparse_files;
    for (const Image& image : checked.chain.images) {
        std::vector<Layer> layer;
        try {
            layer.push_back(read_layer(image, 0, opener, rules, told_already, sparse_files));
        } catch (const Error&) {
            continue;  // why it cannot be read is among the faults
        }
        for (const DamagedRange& range : find_damage(flatten(layer), progress))
            checked.findings.faults.add(FindingKind::grain, range.file->path(), range.offset, [&] {
                return text_about(*range.file, Error(ErrorKind::format, range.reason));
            });
    }
}

void run(const CheckOptions& options) {
    ConfinedOpener opener(open_rules(options.image));
    const ChainRules rules = chain_rules(options.image);
    const SignalDelay delay;
    CheckedImage checked = with_context(concat("cannot open '", options.image.image, "'"), [&] {
        CheckedImage found = check_image(options.image.image, opener, rules);
        if (options.deep) {
            ProgressReport progress(options.progress);
            check_grains(found, opener, rules.read, progress);
        }
        return found;
    });
    options.json ? print_as_json(checked) : print_as_text(checked, options.image.image);
    if (!checked.findings.sound()) throw ExitStatus{static_cast<int>(ErrorKind::format)};
}

}  // namespace

void add_check_command(CLI::App& app) {
    CLI::App& command = *app.add_subcommand("check", "Test an image and its parents; list every fault");
    const auto options = std::make_shared<CheckOptions>();
    add_place_options(command, options->image);
    command.add_flag("--deep", options->deep, "Read every compressed grain too");
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object");
    command.callback([options] { run(*options); });
}

}  // namespace vmdkdm
