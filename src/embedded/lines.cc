#include "embedded/lines.h"

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

// A kind and a length of two bytes.
constexpr std::size_t header_size = 3;

void append_le16(std::string& text, std::size_t number) {
    text += static_cast<char>(number & 0xff);
    text += static_cast<char>(number >> 8 & 0xff);
}

std::uint16_t le16_at(std::string_view text, std::size_t at) {
    return static_cast<std::uint16_t>(static_cast<unsigned char>(text[at]) |
                                      static_cast<unsigned char>(text[at + 1]) << 8);
}

}  // namespace

std::string frame(Frame::Kind kind, std::string_view content) {
    std::string text(1, static_cast<char>(kind));
    append_le16(text, content.size());
    return text.append(content);
}

std::string frame(WindowSize size) {
    std::string content;
    append_le16(content, size.rows);
    append_le16(content, size.columns);
    return frame(Frame::Kind::window_size, content);
}

std::optional<Frame> take_frame(std::string& received) {
    if (received.size() < header_size) return std::nullopt;
    const std::size_t size = le16_at(received, 1);
    if (size > largest_frame) throw Error(ErrorKind::format, concat("a frame of ", size, " bytes"));
    if (received.size() < header_size + size) return std::nullopt;
    Frame taken{static_cast<Frame::Kind>(received.front()), received.substr(header_size, size)};
    received.erase(0, header_size + size);
    return taken;
}

WindowSize window_size(const Frame& frame) {
    if (frame.content.size() != 4) throw Error(ErrorKind::format, "a window size that is none");
    return {le16_at(frame.content, 0), le16_at(frame.content, 2)};
}

}  // namespace vmdkdm
