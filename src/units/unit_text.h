// The text of a unit, built line by line.
#pragma once

#include <string>
#include <string_view>

namespace vmdkdm {

class UnitText {
  public:
    /// `origin` is what the unit was made from: "/etc/vmdktab:3".
    explicit UnitText(std::string_view origin);

    UnitText& section(std::string_view name);
    /// `value` must be fit for a unit already: percent signs doubled, no line end, and no '\' before it.
    UnitText& set(std::string_view key, std::string_view value);

    const std::string& text() const { return text_; }

  private:
    std::string text_;
};

/// Percent signs doubled (systemd.unit(5), "Specifiers").
std::string without_specifiers(std::string_view text);

/// A path as a word of a list: quoted, and with percent signs doubled.
std::string quoted_path(std::string_view path);

}  // namespace vmdkdm
