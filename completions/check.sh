#!/usr/bin/env bash
# Compares the commands and options that vmdk-dm --help prints with those that the man page documents and that each
# completion file offers, in both directions; and the words of vmdktab with vmdktab(5). Names every difference and fails
# if there is one.
#
#   completions/check.sh build/release/vmdk-dm
set -euo pipefail
export LC_ALL=C

if [ $# -ne 1 ]; then
    printf 'Usage: completions/check.sh PATH-OF-VMDK-DM\n' >&2
    exit 2
fi
if [ ! -x "$1" ]; then
    printf "check.sh: no program at '%s'\n" "$1" >&2
    exit 2
fi
vmdk_dm=$(readlink -f -- "$1")
here=$(dirname -- "$(readlink -f -- "$0")")
cd -- "${here%/*}"

man_page=man/vmdk-dm.8
bash_file=completions/vmdk-dm.bash
zsh_file=completions/_vmdk-dm
fish_file=completions/vmdk-dm.fish
differences=0
comparisons=0

# compare PLACE WHAT EXPECTED FOUND: the last two are lists, one item a line, in any order.
compare() {
    local place=$1 what=$2 item
    comparisons=$((comparisons + 1))
    while IFS= read -r item; do
        [ -n "$item" ] || continue
        printf '%s: %s: not there, but in --help: %s\n' "$place" "$what" "$item"
        differences=$((differences + 1))
    done < <(comm -23 <(sort -u <<<"$3") <(sort -u <<<"$4"))
    while IFS= read -r item; do
        [ -n "$item" ] || continue
        printf '%s: %s: there, but not in --help: %s\n' "$place" "$what" "$item"
        differences=$((differences + 1))
    done < <(comm -13 <(sort -u <<<"$3") <(sort -u <<<"$4"))
}

# What --help says -------------------------------------------------------------------------------------------------

# The options of a command ('' for the program itself) with their values: "-p, --delimiter TEXT". A command with
# commands of its own has all of theirs.
help_options() {
    local below
    {
        "$vmdk_dm" ${1:+"$1"} --help
        [ -z "$1" ] || for below in $(help_commands "$1"); do "$vmdk_dm" "$1" "$below" --help; done
    } | sed -nE 's/^  (-[^ ]*)( ([A-Z]+))?([ :].*)?$/\1 \3/p' | sed -E 's/,/, /; s/ +$//' | sort -u
}

# The commands of the program, or of a command.
help_commands() {
    "$vmdk_dm" ${1:+"$1"} --help | sed -nE '/^(Sub)?[Cc]ommands:/,/^$/s/^  ([a-z-]+) .*/\1/p'
}

# "-p, --delimiter TEXT" -> "-p" and "--delimiter"
names_of() { sed -E 's/ [A-Z]+$//; s/, /\n/'; }

# "-p, --delimiter TEXT" -> "--delimiter TEXT"
long_of() { sed -E 's/^-[^-], //'; }

without_general() { grep -vE '^(-h, )?(--help|--version)$|^-h$' || true; }

# What the man page says -------------------------------------------------------------------------------------------

# The lines of the .SS, or of the .SH, of this title.
man_section() { awk -v wanted="$1" '/^\.S[SH] /{ title = $0; sub(/^\.S[SH] /, "", title); next } title == wanted' "$man_page"; }

man_commands() { awk '/^\.SH /{ inside = $0 == ".SH COMMANDS" } inside && /^\.SS [a-z]/{ print $2 }' "$man_page"; }

# From the synopsis of a command: "--delimiter TEXT".
man_synopsis() { man_section "$1" | sed -nE 's/\\-/-/g; s/^\.OP //p'; }

# The terms that a section explains and that are options: "-p, --delimiter TEXT".
man_terms() {
    man_section "$1" | awk 'after { print } { after = $0 == ".TP" }' |
        sed -E 's/\\-/-/g; s/\\f[A-Z]//g; s/^\.[BIR]+ //; s/"//g; s/ +/ /g; s/ ,/,/g' | grep '^-' || true
}

# What the completions offer ---------------------------------------------------------------------------------------

# Asks the function itself for what can follow these words.
bash_offers() {
    bash --norc -c '
        source "$1"
        shift
        COMP_WORDS=(vmdk-dm "$@")
        COMP_CWORD=$#
        _vmdk_dm
        printf "%s\n" "${COMPREPLY[@]}"
    ' bash "$bash_file" "$@"
}

# The options in the branch of a command, those of the arrays that it refers to included; '' for the program itself.
zsh_options() {
    awk -v wanted="$1" '
        function options_in(text) {
            gsub(/\[[^]]*\]/, "", text)              # explanations
            gsub(/\([^){]*\)/, "", text)             # what excludes each other; values
            text = " " text
            while (match(text, /[^-a-z]--?[a-z][-a-z]*/)) {
                found[place] = found[place] substr(text, RSTART + 1, RLENGTH - 1) "\n"
                text = substr(text, RSTART + RLENGTH)
            }
        }
        /^ *#/ { next }
        /^ *[a-z]+_options=\($/ { place = $1; sub(/=.*/, "", place); next }
        /^ *\)$/ { place = "" }
        /^ *[a-z-]+\)$/ { place = $1; sub(/\).*/, "", place); next }
        /^ *;;$/ { place = "" }
        /_arguments -C / { place = "program" }
        /&& ret=0$/ && place == "program" { options_here(); place = ""; next }
        { options_here() }
        function options_here(   line, reference) {
            if (place == "") return
            line = $0
            while (match(line, /\$[a-z]+_options/)) {
                reference = substr(line, RSTART + 1, RLENGTH - 1)
                uses[place] = uses[place] " " reference
                line = substr(line, 1, RSTART - 1) substr(line, RSTART + RLENGTH)
            }
            sub(/_arguments -[A-Z] /, "", line)
            options_in(line)
        }
        END {
            place = wanted == "" ? "program" : wanted
            count = split(uses[place], arrays, " ")
            printf "%s", found[place]
            for (i = 1; i <= count; ++i) printf "%s", found[arrays[i]]
        }
    ' "$zsh_file"
}

zsh_commands() { sed -nE "/^ *commands=\\(/,/^ *\\)/s/^ *['\"]([a-z-]+):.*/\\1/p" "$zsh_file"; }

fish_options() {
    awk -v wanted="$1" '
        $1 != "complete" { next }
        {
            applies = 1
            if (match($0, /__fish_seen_subcommand_from [a-z -]+/))
                applies = index(substr($0, RSTART + 27, RLENGTH - 27) " ", " " wanted " ") > 0 && wanted != ""
            else if (/__fish_use_subcommand/)
                applies = wanted == ""
            if (!applies) next
            for (i = 2; i < NF && $i != "-d"; ++i) {
                if ($i == "-l") print "--" $(i + 1)
                if ($i == "-s") print "-" $(i + 1)
            }
        }
    ' "$fish_file"
}

fish_commands() { sed -nE "s/^complete -c vmdk-dm -n __fish_use_subcommand -a ([a-z-]+) .*/\\1/p" "$fish_file"; }

# The comparisons --------------------------------------------------------------------------------------------------

commands=$(help_commands '')
[ -n "$commands" ] || {
    printf 'no commands found in what %s --help prints\n' "$vmdk_dm" >&2
    exit 1
}
compare "$man_page" 'commands' "$commands" "$(man_commands)"
compare "$bash_file" 'commands' "$commands" "$(bash_offers '')"
compare "$zsh_file" 'commands' "$commands" "$(zsh_commands)"
compare "$fish_file" 'commands' "$commands" "$(fish_commands)"

program=$(help_options '')
compare "$man_page" 'general options' "$program" "$(man_terms 'General options')"
compare "$bash_file" 'general options' "$(names_of <<<"$program")" "$(bash_offers -)"
compare "$zsh_file" 'general options' "$(names_of <<<"$program")" "$(zsh_options '')"
compare "$fish_file" 'general options' "$(names_of <<<"$program")" "$(fish_options '')"

shared=$(man_terms 'Image options'; man_terms 'Device options'; man_terms 'Embedded kernel options')
everything=''
while IFS= read -r command; do
    options=$(help_options "$command")
    own=$(without_general <<<"$options")
    everything+=$own$'\n'
    compare "$man_page" "synopsis of $command" "$(long_of <<<"$own")" "$(man_synopsis "$command")"
    # A shared term belongs to this command if its synopsis says so, which has just been compared.
    of_this=$(grep -Fxf <(printf '%s\n' "$own") <<<"$shared" || true)
    compare "$man_page" "explanations of $command" "$own" "$(man_terms "$command"; printf '%s\n' "$of_this")"
    compare "$bash_file" "options of $command" "$(names_of <<<"$options")" "$(bash_offers "$command" -)"
    compare "$zsh_file" "options of $command" "$(names_of <<<"$options")" "$(zsh_options "$command")"
    compare "$fish_file" "options of $command" "$(names_of <<<"$options")" "$(fish_options "$command")"
done <<<"$commands"
compare "$man_page" 'shared explanations' "$(grep -Fxf <(printf '%s\n' "$shared") <<<"$everything" || true)" "$shared"

# The words of vmdktab that are no options of attach.
boot_words=$(sed -nE 's/^ *BootWord\{"([^"]+)".*/\1/p' src/tab/options.cc)
explained=$(sed -E 's/\\-/-/g; s/\\f[A-Z]//g' man/vmdktab.5)
compare man/vmdktab.5 'words of the boot' "$boot_words" \
    "$(while IFS= read -r word; do [[ $explained != *"$word"* ]] || printf '%s\n' "$word"; done <<<"$boot_words")"

if [ "$differences" -gt 0 ]; then
    printf 'number of differences: %s\n' "$differences"
    exit 1
fi
printf 'man page and completions agree with --help: %s comparisons, no difference\n' "$comparisons"
