#include "confine/file_server.h"

#include <algorithm>

#include "confine/file_request.h"

namespace vmdkdm {

Reply FileServer::answer(Decoder& request) {
    switch (static_cast<FileRequest>(request.number())) {
        case FileRequest::image:
            request.expect_end();
            return give(opener_.open_image(image_path_));
        case FileRequest::beside: {
            const std::uint64_t from = request.number();
            const std::string name = request.text(max_requested_name);
            request.expect_end();
            if (from >= files_.size()) throw BadValue("it named a file that it was not given");
            if (name.find('\0') != std::string::npos) throw BadValue("it asked for a name with a NUL");
            return give(opener_.open_beside(*files_[from], name));
        }
        case FileRequest::encoding:
            take_encoding(request.text(max_requested_encoding));
            request.expect_end();
            return {};
    }
    throw BadValue("there is no such request");
}

// Of a file that the child has already it needs no second descriptor.
Reply FileServer::give(FilePtr file) {
    const auto [known, is_new] = numbers_.try_emplace({file->identity(), file->path()}, files_.size());
    Reply reply;
    reply.value.number(known->second);
    if (!is_new) return reply;
    reply.value.text(file->path());
    reply.value.number(static_cast<std::uint64_t>(file->kind()));
    reply.value.number(file->identity().device);
    reply.value.number(file->identity().inode);
    reply.value.number(file->size().count());
    reply.fd = file->fd();
    files_.push_back(std::move(file));
    return reply;
}

// The name becomes that of a file of the C library's.
void FileServer::take_encoding(const std::string& name) const {
    const auto is_plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '_' || c == '.' || c == ':';
    };
    if (name.empty() || !std::all_of(name.begin(), name.end(), is_plain)) return;
    if (!loaded_.contains(name)) throw EncodingNeeded{name};
}

}  // namespace vmdkdm
