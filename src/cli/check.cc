// vmdk-dm check: all that is wrong with an image and its parents. Exit status 0 only when nothing is.
#include <filesystem>
#include <map>
#include <memory>

#include "base/concat.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/few_notes.h"
#include "cli/image_options.h"
#include "cli/output.h"
#include "cli/printer.h"
#include "cli/progress.h"
#include "compact/damage.h"
#include "compact/told_progress.h"
#include "kernel/signals.h"
#include "reader/check_value.h"
#include "reader/confined_reader.h"
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

void print_as_json(const CheckReport& report) {
    const Findings& findings = report.findings;
    print_json({{"image", report.path},
                {"sound", findings.sound()},
                {"layers", report.layers},
                {"files", report.files},
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

// One line each of the first `most` of a kind, and one for how many more there are.
void print_list(const FindingList& list, std::uint64_t most, const std::string& image_path, Printer& to,
                std::string_view before) {
    std::map<FindingKind, std::uint64_t> left = list.counts();
    for (const Finding& finding : list.kept()) {
        if (list.counts().at(finding.kind) - left[finding.kind] == most) continue;
        to << before << shown_path(finding.file, image_path) << ": byte " << finding.offset.count() << ": "
           << finding.text << "\n";
        --left[finding.kind];
    }
    for (const auto& [kind, count] : left)
        if (count > 0) to << before << "... and " << count << " more of kind '" << to_string(kind) << "'\n";
}

void print_as_text(const CheckReport& report, const std::string& image) {
    print_list(report.findings.notes, notes_of_a_kind, report.path, err(), "vmdk-dm: note: ");
    print_list(report.findings.faults, max_findings_of_a_kind, report.path, out(), "");
    out() << image << ": "
          << (report.findings.sound() ? "sound" : counted(report.findings.faults.count(), "fault")) << " ("
          << counted(report.layers, "layer") << ", " << counted(report.files, "file") << ")\n";
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

CheckReport check(const CheckOptions& options, FileOpener& opener, const ChainRules& rules) {
    const std::string& path = options.image.image;
    CheckReport report;
    std::vector<std::string> notes;
    {
        ProgressReport progress(options.progress);
        Reading reading{path, opener};
        reading.powers.threads = options.deep;
        reading.read = [&](FileOpener& asking, ParentLink& parent, Encoder& value) {
            CheckedImage checked = check_image(path, asking, rules);
            ToldProgress told(parent);
            if (options.deep) check_grains(checked, asking, rules.read, told);
            encode_report(value, checked);
        };
        reading.decode = [&](Decoder& from, const std::vector<FilePtr>&) { report = decode_report(from); };
        if (options.deep) reading.progress = told_to(progress);
        notes = read_confined(reading);
    }
    print_notes(notes);
    return report;
}

void run(const CheckOptions& options) {
    ConfinedOpener opener(open_rules(options.image));
    const ChainRules rules = chain_rules(options.image);
    const SignalDelay delay;
    const CheckReport report = with_context(concat("cannot open '", options.image.image, "'"),
                                            [&] { return check(options, opener, rules); });
    options.json ? print_as_json(report) : print_as_text(report, options.image.image);
    if (!report.findings.sound()) throw ExitStatus{static_cast<int>(ErrorKind::format)};
}

}  // namespace

void add_check_command(Command& app) {
    Command command = app.add_command("check", "Test an image and its parents; list every fault");
    const auto options = std::make_shared<CheckOptions>();
    add_place_options(command, options->image);
    command.add_flag("--deep", options->deep, "Read every compressed grain too");
    add_progress_option(command, options->progress);
    command.add_flag("--json", options->json, "Print one JSON object");
    command.on_run([options] { run(*options); });
}

}  // namespace vmdkdm
