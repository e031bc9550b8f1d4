#include "reader/chain_value.h"

#include <algorithm>

#include <set>

#include "base/error.h"

namespace vmdkdm {
namespace {

constexpr std::size_t max_note = 16 << 10;

void encode_key_values(Encoder& to, const std::vector<KeyValue>& entries) {
    to.number(entries.size());
    for (const auto& [key, value] : entries) {
        to.text(key);
        to.text(value);
    }
}

std::vector<KeyValue> decode_key_values(Decoder& from) {
    std::vector<KeyValue> entries;
    for (std::size_t left = from.count(2 * sizeof(std::uint64_t), "the number of header lines"); left > 0;
         --left) {
        std::string key = from.text(max_descriptor_bytes);
        std::string value = from.text(max_descriptor_bytes);
        entries.emplace_back(std::move(key), std::move(value));
    }
    return entries;
}

void encode_extent(Encoder& to, const ExtentDescriptor& extent) {
    to.number(static_cast<std::uint64_t>(extent.access));
    to.number(extent.size.count());
    to.number(static_cast<std::uint64_t>(extent.type));
    to.text(extent.file_name);
    to.number(extent.offset.count());
    to.number(extent.position.line);
    to.number(extent.position.column);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

ExtentDescriptor decode_extent(Decoder& from) {
    ExtentDescriptor extent;
    extent.access = static_cast<Access>(
        from.number(static_cast<std::uint64_t>(Access::no_access), "the access of an extent"));
    extent.size = Sectors(from.number());
    extent.type = static_cast<ExtentType>(
        from.number(static_cast<std::uint64_t>(ExtentType::vsan_sparse), "the type of an extent"));
    extent.file_name = from.text(max_descriptor_bytes);
    if (std::any_of(extent.file_name.begin(), extent.file_name.end(), is_control))
        throw BadValue("a file name holds a control character");
    extent.offset = Sectors(from.number());
    extent.position.line = static_cast<std::size_t>(from.number());
    extent.position.column = static_cast<std::size_t>(from.number());
    return extent;
}

void encode_descriptor(Encoder& to, const Descriptor& descriptor) {
    to.number(descriptor.version);
    to.text(descriptor.encoding);
    to.number(descriptor.cid.value);
    to.number(descriptor.parent_cid.value);
    to.text(descriptor.create_type);
    to.text(descriptor.parent_file_name_hint);
    encode_key_values(to, descriptor.header);
    to.number(descriptor.extents.size());
    for (const ExtentDescriptor& extent : descriptor.extents) encode_extent(to, extent);
    encode_key_values(to, descriptor.ddb.entries());
}

Descriptor decode_descriptor(Decoder& from) {
    Descriptor descriptor;
    descriptor.version = from.integer<std::uint32_t>("the version of a descriptor");
    descriptor.encoding = from.text(max_descriptor_bytes);
    descriptor.cid.value = from.integer<std::uint32_t>("a CID");
    descriptor.parent_cid.value = from.integer<std::uint32_t>("the CID of a parent");
    descriptor.create_type = from.text(max_descriptor_bytes);
    descriptor.parent_file_name_hint = from.text(max_descriptor_bytes);
    descriptor.header = decode_key_values(from);
    const std::uint64_t extents = from.number(max_extents, "the number of extents");
    for (std::uint64_t i = 0; i < extents; ++i) descriptor.extents.push_back(decode_extent(from));
    try {
        if (descriptor.capacity() > max_capacity) throw BadValue("a disk is larger than any can be");
    } catch (const UnitOverflow&) {
        throw BadValue("a disk is larger than any can be");
    }
    descriptor.ddb = DiskDatabase(decode_key_values(from));
    return descriptor;
}

void encode_header(Encoder& to, const SparseHeader& header) {
    for (const bool flag :
         {header.redundant_tables, header.zero_grains, header.compressed, header.unclean_shutdown})
        to.number(flag ? 1 : 0);
    to.number(header.version);
    to.number(header.entries_per_table);
    for (const Sectors sectors :
         {header.capacity, header.grain_size, header.descriptor_offset, header.descriptor_size,
          header.redundant_directory, header.directory, header.overhead})
        to.number(sectors.count());
    to.number(header.stream_end.count());
}

SparseHeader decode_header(Decoder& from) {
    SparseHeader header;
    for (bool* const flag :
         {&header.redundant_tables, &header.zero_grains, &header.compressed, &header.unclean_shutdown})
        *flag = from.flag();
    header.version = from.integer<std::uint32_t>("the version of a header");
    header.entries_per_table = from.integer<std::uint32_t>("the size of a grain table");
    for (Sectors* const sectors :
         {&header.capacity, &header.grain_size, &header.descriptor_offset, &header.descriptor_size,
          &header.redundant_directory, &header.directory, &header.overhead})
        *sectors = Sectors(from.number());
    header.stream_end = Bytes(from.number());
    return header;
}

}  // namespace

void encode_chain(Encoder& to, const ImageChain& chain,
                  const std::function<std::uint64_t(const File&)>& number_of) {
    to.number(chain.images.size());
    for (const Image& image : chain.images) {
        to.number(number_of(*image.file));
        encode_descriptor(to, image.descriptor);
        to.number(image.embedding ? 1 : 0);
        if (image.embedding) encode_header(to, *image.embedding);
    }
}

ImageChain decode_chain(Decoder& from, const std::vector<FilePtr>& files, const std::string& image_path) {
    const std::uint64_t count = from.number(max_links, "the number of links");
    if (count == 0) throw BadValue("a chain without a link");
    ImageChain chain;
    std::set<FileIdentity> links;
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t number = from.number();
        if (number >= files.size()) throw BadValue("a descriptor was not opened");
        const FilePtr& file = files[static_cast<std::size_t>(number)];
        if (!links.insert(file->identity()).second) throw BadValue("a link of the chain is there twice");
        // As the readers call it in messages.
        Image image{number == 0 ? image_path : file->path(), file, decode_descriptor(from), std::nullopt};
        if (from.flag()) image.embedding = decode_header(from);
        chain.images.push_back(std::move(image));
    }
    return chain;
}

void encode_broken(Encoder& to, const std::exception_ptr& broken) {
    to.number(broken ? 1 : 0);
    if (!broken) return;
    try {
        std::rethrow_exception(broken);
    } catch (const Error& error) {
        to.number(static_cast<std::uint64_t>(error.kind()));
        to.number(dynamic_cast<const TextError*>(&error) != nullptr ? 1 : 0);
        to.text(std::string_view(error.what()).substr(0, max_note));
    }
}

std::exception_ptr decode_broken(Decoder& from) {
    if (!from.flag()) return nullptr;
    const auto kind =
        static_cast<ErrorKind>(from.number(static_cast<std::uint64_t>(ErrorKind::changed), "an error"));
    using enum ErrorKind;
    for (const ErrorKind known : {system, usage, format, refused, busy, not_found}) {
        if (kind != known) continue;
        const bool in_text = from.flag();
        const std::string text = from.text(max_note);
        if (in_text && std::count(text.begin(), text.end(), '\n') > 2)
            throw BadValue("an error has more lines than a message, a line and a caret");
        return in_text ? std::make_exception_ptr(TextError(text))
                       : std::make_exception_ptr(Error(kind, text));
    }
    throw BadValue("a chain ends with no kind of error");
}

void encode_texts(Encoder& to, const std::vector<std::string>& texts) {
    to.number(texts.size());
    for (const std::string& text : texts) to.text(std::string_view(text).substr(0, max_note));
}

std::vector<std::string> decode_texts(Decoder& from) {
    std::vector<std::string> texts;
    for (std::size_t left = from.count(sizeof(std::uint64_t), "the number of notes"); left > 0; --left)
        texts.push_back(from.text(max_note));
    return texts;
}

}  // namespace vmdkdm
