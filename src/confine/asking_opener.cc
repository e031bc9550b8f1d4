#include "confine/asking_opener.h"

#include <stdexcept>

#include "base/concat.h"
#include "base/text_cursor.h"
#include "confine/file_request.h"
#include "files/real_file.h"

namespace vmdkdm {
namespace {

class AskedFile : public RealFile {
  public:
    AskedFile(std::uint64_t number, std::string path, UniqueFd fd, FileKind kind, FileIdentity identity,
              Bytes size)
        : RealFile(std::move(path), std::move(fd), kind, identity, size), number_(number) {}

    std::uint64_t number() const { return number_; }

  private:
    std::uint64_t number_;
};

Encoder request_of(FileRequest kind) {
    Encoder request;
    request.number(static_cast<std::uint64_t>(kind));
    return request;
}

}  // namespace

std::uint64_t number_of(const File& file) {
    const auto* asked = dynamic_cast<const AskedFile*>(&file);
    if (asked == nullptr) throw std::logic_error(concat("'", file.path(), "' is no file of the parent's"));
    return asked->number();
}

// Which image that is, the parent knows.
FilePtr AskingOpener::open_image(const std::string&) { return ask(request_of(FileRequest::image)); }

FilePtr AskingOpener::open_beside(const File& from, const std::string& name) {
    if (name.size() > max_requested_name) throw system_error(concat("'", printable(name), "'"), ENAMETOOLONG);
    Encoder request = request_of(FileRequest::beside);
    request.number(number_of(from));
    request.text(name);
    return ask(request);
}

void AskingOpener::need_encoding(const std::string& name) {
    if (name.size() > max_requested_encoding) return;
    Encoder request = request_of(FileRequest::encoding);
    request.text(name);
    parent_.ask(request);
}

FilePtr AskingOpener::ask(const Encoder& request) {
    Message reply = parent_.ask(request);
    Decoder from(reply.bytes);
    const std::uint64_t number = from.number();
    if (const auto known = files_.find(number); known != files_.end()) return known->second;
    std::string path = from.text(Channel::max_message);
    const auto kind = static_cast<FileKind>(from.number());
    const FileIdentity identity{from.number(), from.number()};
    const Bytes size(from.number());
    const auto file =
        std::make_shared<AskedFile>(number, std::move(path), std::move(reply.fd), kind, identity, size);
    files_.emplace(number, file);
    return file;
}

}  // namespace vmdkdm
