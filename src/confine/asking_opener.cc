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

// So many requests under way cost one change of processes for all. The longest names and the paths that come
// back fit into the buffer of a socket, so that neither side waits for the other.
constexpr std::size_t most_ahead = 16;
constexpr std::size_t longest_name_ahead = 4096;

Encoder request_of(FileRequest kind) {
    Encoder request;
    request.number(static_cast<std::uint64_t>(kind));
    return request;
}

Encoder request_beside(std::uint64_t from, const std::string& name) {
    Encoder request = request_of(FileRequest::beside);
    request.number(from);
    request.text(name);
    return request;
}

}  // namespace

std::uint64_t number_of(const File& file) {
    const auto* asked = dynamic_cast<const AskedFile*>(&file);
    if (asked == nullptr) throw std::logic_error(concat("'", file.path(), "' is no file of the parent's"));
    return asked->number();
}

// Which image that is, the parent knows.
FilePtr AskingOpener::open_image(const std::string&) {
    settle();
    parent_.send(request_of(FileRequest::image));
    return take_reply();
}

FilePtr AskingOpener::open_beside(const File& from, const std::string& name) {
    if (name.size() > max_requested_name) throw system_error(concat("'", printable(name), "'"), ENAMETOOLONG);
    const std::uint64_t number = number_of(from);
    if (asked_ < names_.size() && number == from_ && name == names_[asked_]) {
        send_ahead();
        ++asked_;
    } else {
        settle();
        parent_.send(request_beside(number, name));
    }
    return take_reply();
}

void AskingOpener::expect_beside(const File& from, const std::vector<std::string>& names) {
    settle();
    from_ = number_of(from);
    names_ = names;
}

// When half of them are answered, the next ones go off together.
void AskingOpener::send_ahead() {
    if (sent_ - asked_ > most_ahead / 2) return;
    for (; sent_ < names_.size() && sent_ - asked_ < most_ahead; ++sent_) {
        if (sent_ > asked_ && names_[sent_].size() > longest_name_ahead) return;
        parent_.send(request_beside(from_, names_[sent_]));
    }
}

// Something else is wanted: what was asked for ahead of time is taken, since the parent takes it for known.
void AskingOpener::settle() {
    for (; asked_ < sent_; ++asked_) try {
            take_reply();
        } catch (const Error&) {
            // Whoever wants that file will ask for it, and be told.
        }
    names_.clear();
    asked_ = sent_ = 0;
}

void AskingOpener::need_encoding(const std::string& name) {
    if (name.size() > max_requested_encoding) return;
    settle();
    Encoder request = request_of(FileRequest::encoding);
    request.text(name);
    parent_.ask(request);
}

FilePtr AskingOpener::take_reply() {
    Message reply = parent_.reply();
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
