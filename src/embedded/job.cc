#include "embedded/job.h"

#include <charconv>

#include "base/concat.h"
#include "base/error.h"

namespace vmdkdm {
namespace {

// Lists of words that may hold anything but NUL: the number of words, then the words, each ended by a NUL.
class Writer {
  public:
    void word(const std::string& text) { text_ += text + '\0'; }
    void list(const std::vector<std::string>& words) {
        word(concat(words.size()));
        for (const std::string& each : words) word(each);
    }
    std::string text() { return std::move(text_); }

  private:
    std::string text_;
};

class Reader {
  public:
    explicit Reader(std::string_view text) : left_(text) {}
    std::string word() {
        const std::size_t end = left_.find('\0');
        if (end == std::string_view::npos) throw Error(ErrorKind::format, "the job ends too early");
        const std::string text(left_.substr(0, end));
        left_.remove_prefix(end + 1);
        return text;
    }
    std::vector<std::string> list() {
        const std::string count = word();
        std::size_t number = 0;
        const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), number);
        if (error != std::errc() || end != count.data() + count.size())
            throw Error(ErrorKind::format, concat("the job has '", count, "' where a number belongs"));
        std::vector<std::string> words;
        while (words.size() < number) words.push_back(word());
        return words;
    }
    bool at_end() const { return left_.empty(); }

  private:
    std::string_view left_;
};

}  // namespace

std::string to_text(const Job& job) {
    Writer writer;
    writer.word(job.image);
    writer.word(job.name);
    for (const auto* list : {&job.image_options, &job.attach_options, &job.key_options, &job.show_again,
                             &job.writable, &job.command, &job.environment})
        writer.list(*list);
    writer.word(job.terminal ? "terminal" : "pipes");
    writer.list(job.copy ? std::vector{job.copy->volume, job.copy->path} : std::vector<std::string>());
    return writer.text();
}

Job parse_job(std::string_view text) {
    Reader reader(text);
    Job job;
    job.image = reader.word();
    job.name = reader.word();
    for (auto* list : {&job.image_options, &job.attach_options, &job.key_options, &job.show_again,
                       &job.writable, &job.command, &job.environment})
        *list = reader.list();
    job.terminal = reader.word() == "terminal";
    const std::vector<std::string> copy = reader.list();
    if (copy.size() == 2) job.copy = CopyRequest{copy[0], copy[1]};
    if (!reader.at_end()) throw Error(ErrorKind::format, "the job goes on after its end");
    return job;
}

}  // namespace vmdkdm
