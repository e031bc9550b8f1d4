// A command of the command line: the words that it takes, how each is read and what --help says of it.
// Commands are described through this alone. The parser behind it is known to command.cc only: every file
// that includes its headers takes ten seconds to compile.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace vmdkdm {

/// An option, a flag or an argument of a command. A handle, valid as long as the program.
class Option {
  public:
    explicit Option(CLI::Option& option) : option_(&option) {}

    Option required(bool is_required = true);
    Option one_of(std::initializer_list<const char*> values);
    Option one_of(std::initializer_list<int> values);
    Option in_range(unsigned least, unsigned most);
    Option excludes(Option other);
    Option needs(Option other);
    /// Replaces what --help says of it.
    Option help(const std::string& text);

  private:
    CLI::Option* option_;
};

/// What can be asked of an option once the words have been read.
struct OptionUse {
    std::string name;        ///< "strategy" for --strategy, "IMAGE" for an argument
    std::string value_name;  ///< "DIR", or "[=SIZE]" where it may be left out; empty for a flag
    std::string help;
    bool is_argument = false;
    bool given = false;  ///< it is among the words
};

/// A command, and the commands below it. A handle, valid as long as the program.
class Command {
  public:
    explicit Command(CLI::App& app) : app_(&app) {}

    Command add_command(const std::string& name, const std::string& help);

    /// Words without a dash, such as IMAGE. Only the last argument may take many.
    Option add_argument(const std::string& name, std::string& value, const std::string& help);
    Option add_argument(const std::string& name, std::vector<std::string>& values, const std::string& help);

    /// `words` is "--name" or "-n,--name"; `value_name` is what --help calls its value.
    Option add_option(const std::string& words, std::string& value, const std::string& value_name,
                      const std::string& help);
    Option add_option(const std::string& words, std::optional<std::string>& value,
                      const std::string& value_name, const std::string& help);
    Option add_option(const std::string& words, std::uint32_t& value, const std::string& value_name,
                      const std::string& help);
    Option add_option(const std::string& words, std::optional<std::uint32_t>& value,
                      const std::string& value_name, const std::string& help);
    Option add_option(const std::string& words, std::optional<int>& value, const std::string& value_name,
                      const std::string& help);
    /// May be given several times, with one value each time.
    Option add_option(const std::string& words, std::vector<std::string>& values,
                      const std::string& value_name, const std::string& help);

    Option add_flag(const std::string& words, bool& value, const std::string& help);
    /// --flag or --flag=VALUE; without a value it is `flag_without_value`.
    Option add_flag(const std::string& words, std::optional<std::string>& value,
                    const std::string& value_name, const std::string& help);

    /// One that was added before, by "--name" or the name of the argument.
    Option option(const std::string& name);

    /// --help does not list it.
    void hide();
    /// One of the commands below it must follow.
    void require_command();
    /// Words that nobody knows are passed over.
    void allow_unknown_words();
    void on_run(std::function<void()> run);

    std::string name() const;
    std::vector<Command> commands() const;
    /// All of its options and arguments, in the order of --help, and --help itself.
    std::vector<OptionUse> options() const;

  private:
    CLI::App* app_;
};

/// What add_flag() gives for a flag without a value.
inline constexpr const char* flag_without_value = "true";

/// The words are not what a command takes.
class WordsError : public std::runtime_error {
  public:
    WordsError(const std::string& message, std::vector<std::string> of_commands,
               std::vector<std::string> unknown_words)
        : std::runtime_error(message), commands(std::move(of_commands)), unknown(std::move(unknown_words)) {}

    std::vector<std::string> commands;  ///< that the words name: "overlay" and then "info"
    std::vector<std::string> unknown;   ///< words for which there is no option and no argument
};

/// Owns the commands.
class Program {
  public:
    explicit Program(const std::string& name = "", const std::string& help = "");
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    /// The words before any command.
    Command& top() { return top_; }
    void set_version(const std::string& text);
    /// The last line of --help.
    void set_footer(const std::string& text);

    enum class Did { run, show_help };
    /// Reads the words, those behind the program's name, and runs the command that they name; or prints what
    /// --help or --version asks for. Throws WordsError, and what the command throws.
    Did run(std::vector<std::string> words);

  private:
    std::unique_ptr<CLI::App> app_;
    Command top_;
};

}  // namespace vmdkdm
