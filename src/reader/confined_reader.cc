#include "reader/confined_reader.h"

#include <optional>
#include <set>

#include "base/concat.h"
#include "confine/asking_opener.h"
#include "confine/confined_child.h"
#include "confine/file_server.h"
#include "files/keeping_opener.h"
#include "reader/chain_value.h"
#include "reader/map_value.h"
#include "vmdk/file_name.h"

namespace vmdkdm {
namespace {

const std::string reader = "the reader";

// The more character sets, the more often the chain is read; one has one, or two.
constexpr std::size_t max_encodings = 8;

std::vector<FilePtr> decode_files(Decoder& from, const std::vector<FilePtr>& known) {
    std::vector<FilePtr> files;
    std::set<FileIdentity> listed;
    for (std::size_t left = from.count(sizeof(std::uint64_t), "the number of files"); left > 0; --left) {
        const std::uint64_t number = from.number();
        if (number >= known.size()) throw BadValue("a file of the image was not opened");
        files.push_back(known[static_cast<std::size_t>(number)]);
        if (!listed.insert(files.back()->identity()).second)
            throw BadValue("a file of the image is listed twice");
    }
    return files;
}

}  // namespace

// Again, in another child, when it needs a character set: those are files, and the child that has seen the
// name of one cannot open any more.
std::vector<std::string> read_confined(const Reading& reading) {
    std::set<std::string> encodings;
    for (;;) {
        FileServer files(reading.opener, reading.path, encodings);
        ConfinedTask task;
        task.worker = reader;
        task.powers = reading.powers;
        if (reading.powers.threads) {  // it inflates, too, nobody knows yet how much
            task.budget.memory += Budget::of_copier(0).memory;
            task.budget.processor_seconds.reset();
        }
        task.before = [&encodings] {
            for (const std::string& encoding : encodings) load_encoding(encoding);
        };
        task.work = [&reading](ParentLink& parent, Encoder& value) {
            AskingOpener asking(parent);
            reading.read(asking, parent, value);
        };
        task.serve = [&files](Decoder& request) { return files.answer(request); };
        task.progress = reading.progress;
        try {
            const std::string unfiltered =
                run_confined(task, [&](Decoder& from) { reading.decode(from, files.files()); });
            if (unfiltered.empty()) return {};
            return {
                concat("the image was read without a system call filter, which this system does not grant (",
                       unfiltered, ")")};
        } catch (const EncodingNeeded& needed) {
            if (encodings.size() == max_encodings)
                throw Error(ErrorKind::format,
                            concat("its descriptors use more than ", max_encodings, " character sets"));
            encodings.insert(needed.name);
        }
    }
}

ReadDisk read_disk_confined(const std::string& path, FileOpener& opener, const ChainRules& rules) {
    const auto read = [&](FileOpener& asking, ParentLink&, Encoder& value) {
        std::vector<std::string> notes;
        const ImageChain chain = read_chain(path, asking, rules, notes);
        KeepingOpener extents(asking);
        for (const Image& image : chain.images) extents.keep(image.file);
        const BlockMap map = map_chain(chain, extents, rules.read, notes);
        encode_chain(value, chain, number_of);
        encode_texts(value, notes);
        value.number(extents.files().size());
        for (const FilePtr& file : extents.files()) value.number(number_of(*file));
        encode_map(value, map, number_of);
    };
    std::optional<ReadDisk> disk;
    const auto decode = [&](Decoder& from, const std::vector<FilePtr>& files) {
        ImageChain chain = decode_chain(from, files, path);
        std::vector<std::string> notes = decode_texts(from);
        std::vector<FilePtr> of_image = decode_files(from, files);
        BlockMap map = decode_map(from, files, static_cast<std::uint32_t>(chain.images.size()));
        disk.emplace(ReadDisk{std::move(chain), std::move(map), std::move(of_image), std::move(notes)});
    };
    const std::vector<std::string> notes = read_confined({path, opener, {}, read, decode});
    disk->notes.insert(disk->notes.end(), notes.begin(), notes.end());
    return std::move(*disk);
}

ReadChain read_descriptors_confined(const std::string& path, FileOpener& opener, const ChainRules& rules,
                                    bool whole) {
    const auto read = [&](FileOpener& asking, ParentLink&, Encoder& value) {
        std::vector<std::string> notes;
        PartialChain partial;
        if (whole)
            partial = read_readable_chain(path, asking, rules, notes);
        else
            partial.chain.images.push_back(read_image(path, asking));
        encode_chain(value, partial.chain, number_of);
        encode_broken(value, partial.broken);
        encode_texts(value, notes);
    };
    ReadChain result;
    const auto decode = [&](Decoder& from, const std::vector<FilePtr>& files) {
        result.chain = decode_chain(from, files, path);
        result.broken = decode_broken(from);
        result.notes = decode_texts(from);
    };
    const std::vector<std::string> notes = read_confined({path, opener, {}, read, decode});
    result.notes.insert(result.notes.end(), notes.begin(), notes.end());
    return result;
}

}  // namespace vmdkdm
