#include "cli/command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

namespace vmdkdm {
namespace {

// CLI11 2.4 refuses names such as "IMAGE[:VOLUME] DIR" for an argument. So it gets a plain one, and people
// see the other.
class Help : public CLI::Formatter {
  public:
    Help() {
        label("SUBCOMMAND", "COMMAND");
        label("Subcommands", "Commands");
        label("REQUIRED", "");
        label("TEXT", "");
    }

    std::string make_option_name(const CLI::Option* option, bool is_positional) const override {
        return with_shown_names(CLI::Formatter::make_option_name(option, is_positional));
    }

    /// A name for the parser.
    std::string plain(const std::string& shown) {
        std::string name = shown;
        for (char& c : name)
            if (c <= ' ' || c == ':' || c == '=' || c == '{') c = '_';
        if (name != shown) shown_by_plain_[name] = shown;
        return name;
    }

    std::string with_shown_names(std::string text) const {
        for (const auto& [plain, shown] : shown_by_plain_)
            if (const std::size_t at = text.find(plain); at != std::string::npos)
                text.replace(at, plain.size(), shown);
        return text;
    }

  private:
    std::map<std::string, std::string> shown_by_plain_;
};

Help& help_of(const CLI::App& app) { return static_cast<Help&>(*app.get_formatter()); }

template <class Value>
Option add_valued(CLI::App& app, const std::string& words, Value& value, const std::string& value_name,
                  const std::string& help) {
    return Option(*app.add_option(words, value, help)->type_name(value_name));
}

std::string value_name_of(const CLI::Option& option) {
    if (option.get_positional()) return "";
    return option.get_option_text().empty() ? option.get_type_name() : option.get_option_text();
}

std::vector<std::string> chosen_commands(const CLI::App& app) {
    std::vector<std::string> names;
    for (auto below = app.get_subcommands(); !below.empty(); below = below.front()->get_subcommands())
        names.push_back(below.front()->get_name());
    return names;
}

const CLI::App& last_command(const CLI::App& app) {
    const auto below = app.get_subcommands();
    return below.empty() ? app : last_command(*below.front());
}

}  // namespace

// Option
// ------------------------------------------------------------------------------------------------------

Option Option::required(bool is_required) { return Option(*option_->required(is_required)); }

// The values stand in the help's text.
Option Option::one_of(std::initializer_list<const char*> values) {
    return Option(*option_->check(CLI::IsMember(values).description("")));
}

Option Option::one_of(std::initializer_list<int> values) {
    return Option(*option_->check(CLI::IsMember(values).description("")));
}

Option Option::in_range(unsigned least, unsigned most) {
    return Option(*option_->check(CLI::Range(least, most).description("")));
}

Option Option::excludes(Option other) { return Option(*option_->excludes(other.option_)); }

Option Option::needs(Option other) { return Option(*option_->needs(other.option_)); }

Option Option::help(const std::string& text) { return Option(*option_->description(text)); }

// Command
// -----------------------------------------------------------------------------------------------------

Command Command::add_command(const std::string& name, const std::string& help) {
    return Command(*app_->add_subcommand(name, help));
}

Option Command::add_argument(const std::string& name, std::string& value, const std::string& help) {
    return Option(*app_->add_option(help_of(*app_).plain(name), value, help));
}

Option Command::add_argument(const std::string& name, std::vector<std::string>& values,
                             const std::string& help) {
    return Option(*app_->add_option(help_of(*app_).plain(name), values, help));
}

Option Command::add_option(const std::string& words, std::string& value, const std::string& value_name,
                           const std::string& help) {
    return add_valued(*app_, words, value, value_name, help);
}

Option Command::add_option(const std::string& words, std::optional<std::string>& value,
                           const std::string& value_name, const std::string& help) {
    return add_valued(*app_, words, value, value_name, help);
}

Option Command::add_option(const std::string& words, std::uint32_t& value, const std::string& value_name,
                           const std::string& help) {
    return add_valued(*app_, words, value, value_name, help);
}

Option Command::add_option(const std::string& words, std::optional<std::uint32_t>& value,
                           const std::string& value_name, const std::string& help) {
    return add_valued(*app_, words, value, value_name, help);
}

Option Command::add_option(const std::string& words, std::optional<int>& value, const std::string& value_name,
                           const std::string& help) {
    return add_valued(*app_, words, value, value_name, help);
}

Option Command::add_option(const std::string& words, std::vector<std::string>& values,
                           const std::string& value_name, const std::string& help) {
    return Option(*app_->add_option(words, values, help)
                       ->type_name(value_name)
                       ->expected(1)
                       ->allow_extra_args(false)
                       ->take_all());
}

Option Command::add_flag(const std::string& words, bool& value, const std::string& help) {
    return Option(*app_->add_flag(words, value, help));
}

Option Command::add_flag(const std::string& words, std::optional<std::string>& value,
                         const std::string& value_name, const std::string& help) {
    return Option(*app_->add_flag(words, value, help)->option_text("[=" + value_name + "]"));
}

Option Command::option(const std::string& name) { return Option(*app_->get_option(name)); }

void Command::hide() { app_->group(""); }

void Command::require_command() { app_->require_subcommand(1); }

void Command::allow_unknown_words() { app_->allow_extras(); }

void Command::on_run(std::function<void()> run) { app_->callback(std::move(run)); }

std::string Command::name() const { return app_->get_name(); }

std::vector<Command> Command::commands() const {
    std::vector<Command> commands;
    for (CLI::App* command : app_->get_subcommands([](const CLI::App*) { return true; }))
        commands.emplace_back(*command);
    return commands;
}

std::vector<OptionUse> Command::options() const {
    std::vector<OptionUse> uses;
    for (const CLI::Option* option : std::as_const(*app_).get_options())
        uses.push_back({help_of(*app_).with_shown_names(option->get_single_name()), value_name_of(*option),
                        option->get_description(), option->get_positional(), option->count() > 0});
    return uses;
}

// Program
// -----------------------------------------------------------------------------------------------------

Program::Program(const std::string& name, const std::string& help)
    : app_(std::make_unique<CLI::App>(help, name)), top_(*app_) {
    // The commands take it over, so it comes first.
    app_->formatter(std::make_shared<Help>());
}

Program::~Program() = default;

void Program::set_version(const std::string& text) { app_->set_version_flag("--version", text); }

void Program::set_footer(const std::string& text) { app_->footer(text); }

Program::Did Program::run(std::vector<std::string> words) {
    // The parser takes them from the back.
    std::reverse(words.begin(), words.end());
    try {
        app_->parse(std::move(words));
        return Did::run;
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
            app_->exit(error);
            return Did::show_help;
        }
        std::vector<std::string> unknown;
        if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr)
            unknown = last_command(*app_).remaining();
        throw WordsError(help_of(*app_).with_shown_names(error.what()), chosen_commands(*app_), unknown);
    }
}

}  // namespace vmdkdm
