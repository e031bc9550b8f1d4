#include "cli/certificate.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <optional>
#include <set>

#include "base/concat.h"
#include "base/error.h"
#include "base/escaped.h"
#include "base/text_cursor.h"
#include "cli/output.h"
#include "files/confined_opener.h"

namespace vmdkdm {
namespace {

namespace fs = std::filesystem;

constexpr const char* format_word = "vmdk-dm seal";
constexpr std::uint64_t format_version = 1;
constexpr std::size_t largest_certificate = 32 << 20;  // some 60,000 files
constexpr int deepest_value = 8;

bool has_control_characters(const std::string& text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte < 0x20 || byte == 0x7f;
    });
}

bool is_utf8(const std::string& text) {
    try {
        return !Json(text).dump().empty();
    } catch (const Json::type_error&) {
        return false;
    }
}

// A path is bytes, and JSON is text: what JSON cannot hold, or should not, goes into `key`Hex.
void put_path(Json& object, const std::string& key, const std::string& path) {
    if (is_utf8(path) && !has_control_characters(path)) {
        object[key] = path;
        return;
    }
    static constexpr char digits[] = "0123456789abcdef";
    std::string hex;
    for (const char c : path) {
        hex += digits[static_cast<unsigned char>(c) >> 4];
        hex += digits[static_cast<unsigned char>(c) & 15];
    }
    object[key + "Hex"] = hex;
}

bool is_hex(const std::string& text) {
    return std::all_of(text.begin(), text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string bytes_of_hex(const std::string& hex) {
    const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    std::string bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes += static_cast<char>(value(hex[i]) * 16 + value(hex[i + 1]));
    return bytes;
}

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::format, what); }

// Takes the members of one object, each once; none may be left.
class ObjectReader {
  public:
    /// `place` is the object's own key with a dot behind it: "files[3]."; nothing for the outermost.
    ObjectReader(const Json& object, std::string place) : object_(object), place_(std::move(place)) {}

    const Json& take(const std::string& key) {
        taken_.insert(key);
        const auto found = object_.find(key);
        if (found == object_.end()) refuse(concat(named(key), " is missing"));
        return *found;
    }

    std::string text(const std::string& key) {
        const Json& value = take(key);
        if (!value.is_string()) refuse(concat(named(key), " is not a string"));
        std::string text = value.get<std::string>();
        if (has_control_characters(text)) refuse(concat(named(key), " has control characters in it"));
        return text;
    }

    std::uint64_t number(const std::string& key) {
        const Json& value = take(key);
        if (!value.is_number_unsigned())
            refuse(concat(named(key), " is not a whole number from 0 to 2^64 - 1"));
        return value.get<std::uint64_t>();
    }

    bool boolean(const std::string& key) {
        const Json& value = take(key);
        if (!value.is_boolean()) refuse(concat(named(key), " is neither true nor false"));
        return value.get<bool>();
    }

    std::string sha256(const std::string& key) {
        std::string hex = text(key);
        if (hex.size() != 64 || !is_hex(hex))
            refuse(concat(named(key), " is not a SHA-256 (64 lower-case hexadecimal digits)"));
        return hex;
    }

    std::string path(const std::string& key) {
        const std::string hex_key = key + "Hex";
        std::string path;
        if (object_.contains(hex_key)) {
            const std::string hex = text(hex_key);
            if (hex.size() % 2 != 0 || !is_hex(hex)) refuse(concat(named(hex_key), " is not hexadecimal"));
            path = bytes_of_hex(hex);
            if (path.find('\0') != std::string::npos)
                refuse(concat(named(hex_key), " has a zero byte in it"));
        } else {
            path = text(key);
        }
        if (path.empty()) refuse(concat(named(key), " is empty"));
        return path;
    }

    std::string absolute_path(const std::string& key) {
        std::string found = path(key);
        if (!found.starts_with('/')) refuse(concat(named(key), " is not an absolute path"));
        return found;
    }

    ObjectReader object(const std::string& key) {
        const Json& value = take(key);
        if (!value.is_object()) refuse(concat(named(key), " is not an object"));
        return {value, concat(place_, key, ".")};
    }

    void refuse_others() const {
        for (const auto& [key, value] : object_.items())
            if (!taken_.contains(key))
                refuse(concat(named(printable(key)), " is not known to version ", format_version));
    }

    std::string named(const std::string& key) const { return concat("the key '", place_, key, "'"); }

  private:
    const Json& object_;
    std::string place_;
    std::set<std::string> taken_;
};

// nlohmann's parser takes a key twice and any depth.
class StrictParser {
  public:
    Json parse(std::string_view text) {
        const Json::parser_callback_t callback = [this](int depth, Json::parse_event_t event, Json& value) {
            watch(depth, event, value);
            return true;
        };
        try {
            return Json::parse(text, callback);
        } catch (const Json::parse_error& error) {
            refuse(concat("it is not JSON (see byte ", error.byte, ")"));
        } catch (const Json::exception&) {
            refuse("it holds a number that is too large");
        }
    }

  private:
    void watch(int depth, Json::parse_event_t event, const Json& value) {
        if (depth > deepest_value) refuse("its values are nested too deeply");
        if (event == Json::parse_event_t::object_start) keys_.emplace_back();
        if (event == Json::parse_event_t::object_end) keys_.pop_back();
        if (event == Json::parse_event_t::key && !keys_.back().insert(value.get<std::string>()).second)
            refuse(concat("the key '", printable(value.get<std::string>()), "' is given twice"));
    }

    std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

SealedFile read_file(ObjectReader file) {
    SealedFile sealed;
    sealed.path = file.absolute_path("path");
    sealed.name = file.path("name");
    const std::string kind = file.text("kind");
    if (kind != "file" && kind != "device") refuse(concat(file.named("kind"), " is neither file nor device"));
    sealed.kind = kind == "file" ? FileKind::regular : FileKind::block_device;
    sealed.size = Bytes(file.number("size"));
    if (sealed.kind == FileKind::regular)
        sealed.modified = file.text("modified");
    else if (!file.take("modified").is_null())
        refuse(concat(file.named("modified"), " is not null, as it is for a device"));
    sealed.sha256 = file.sha256("sha256");
    file.refuse_others();
    return sealed;
}

std::vector<SealedFile> read_files(ObjectReader& certificate) {
    const Json& list = certificate.take("files");
    if (!list.is_array() || list.empty()) refuse("the key 'files' is not an array of files");
    std::vector<SealedFile> files;
    std::set<std::string> names;
    for (std::size_t i = 0; i < list.size(); ++i) {
        const std::string place = concat("files[", i, "]");
        if (!list[i].is_object()) refuse(concat("the key '", place, "' is not an object"));
        files.push_back(read_file({list[i], place + "."}));
        if (!names.insert(files.back().name).second)
            refuse(concat("the key '", place, ".name' is that of another file too"));
    }
    return files;
}

void read_format(ObjectReader& certificate) {
    if (certificate.text("format") != format_word)
        refuse(concat("the key 'format' is not '", format_word, "'"));
    if (const std::uint64_t version = certificate.number("version"); version != format_version)
        refuse(concat("the key 'version' is ", version, ", and this vmdk-dm reads version ", format_version));
}

}  // namespace

std::string certificate_text(const Certificate& certificate) {
    Json json = {{"format", format_word},
                 {"version", format_version},
                 {"created", certificate.created},
                 {"tool", certificate.tool}};
    put_path(json, "image", certificate.image);
    json["layer"] = certificate.layer;
    json["read"] = {{"allowShort", certificate.read.allow_short},
                    {"useRedundant", certificate.read.use_redundant},
                    {"ignoreCid", certificate.ignore_cid}};
    json["capacity"] = certificate.capacity.count();
    json["disk"] = {{"sha256", certificate.disk_sha256}, {"unreadable", certificate.disk_unreadable.count()}};
    json["files"] = Json::array();
    for (const SealedFile& file : certificate.files) {
        Json entry = Json::object();
        put_path(entry, "path", file.path);
        put_path(entry, "name", file.name);
        const bool is_device = file.kind == FileKind::block_device;
        entry["kind"] = is_device ? "device" : "file";
        entry["size"] = file.size.count();
        entry["modified"] = is_device ? Json(nullptr) : Json(file.modified);
        entry["sha256"] = file.sha256;
        json["files"].push_back(std::move(entry));
    }
    return escaped_json(json.dump(2)) + "\n";
}

Certificate parse_certificate(std::string_view text) {
    const Json json = StrictParser().parse(text);
    if (!json.is_object()) refuse("it is not a JSON object");
    ObjectReader reader(json, "");
    read_format(reader);
    Certificate certificate;
    certificate.created = reader.text("created");
    certificate.tool = reader.text("tool");
    certificate.image = reader.absolute_path("image");
    const std::uint64_t layer = reader.number("layer");
    if (layer > std::numeric_limits<unsigned>::max()) refuse("the key 'layer' is too large");
    certificate.layer = static_cast<unsigned>(layer);
    ObjectReader read = reader.object("read");
    certificate.read = {read.boolean("allowShort"), read.boolean("useRedundant")};
    certificate.ignore_cid = read.boolean("ignoreCid");
    read.refuse_others();
    certificate.capacity = Bytes(reader.number("capacity"));
    ObjectReader disk = reader.object("disk");
    certificate.disk_sha256 = disk.sha256("sha256");
    certificate.disk_unreadable = Bytes(disk.number("unreadable"));
    disk.refuse_others();
    certificate.files = read_files(reader);
    reader.refuse_others();
    return certificate;
}

Certificate read_certificate(const std::string& path) {
    return with_context(concat("cannot use the certificate '", path, "'"), [&] {
        const FilePtr file = open_named_file(path, /*allow_device=*/false);
        if (file->size() > Bytes(largest_certificate))
            refuse(concat("it is ", file->size().count(), " bytes long (at most ", largest_certificate,
                          " are read)"));
        std::string text(static_cast<std::size_t>(file->size().count()), '\0');
        file->read_at(Bytes(0), std::as_writable_bytes(std::span(text)));
        return parse_certificate(text);
    });
}

std::string sealed_name(const File& file, const std::string& image_path) {
    if (file.kind() == FileKind::block_device) return file.path();
    return fs::path(file.path()).lexically_relative(fs::path(image_path).parent_path()).string();
}

}  // namespace vmdkdm
