# Bash completion of vmdk-dm(8). Installed as bash-completion/completions/vmdk-dm; may also be sourced.
# shellcheck shell=bash

# Names of the attached disks. Read from sysfs and not from `vmdk-dm list`, which needs root, so that it works for
# whoever is about to type sudo.
_vmdk_dm_disks() {
    local uuid_file uuid name
    for uuid_file in /sys/block/dm-*/dm/uuid; do
        { read -r uuid <"$uuid_file" && read -r name <"${uuid_file%uuid}name"; } 2>/dev/null || continue
        if [[ $uuid == VMDK-*-disk && $name == "$1"* ]]; then COMPREPLY+=("$name"); fi
    done
}

_vmdk_dm_images() {
    local cur=$1 path
    compopt -o filenames 2>/dev/null
    if declare -F _filedir >/dev/null; then
        _filedir vmdk
        return
    fi
    while IFS= read -r path; do COMPREPLY+=("$path"); done < <(
        compgen -A directory -- "$cur"
        compgen -A file -X '!*.[vV][mM][dD][kK]' -- "$cur"
    )
}

_vmdk_dm_directories() {
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen -A directory -- "$1")
}

_vmdk_dm_files() {
    local path
    compopt -o filenames 2>/dev/null
    while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen -f -- "$1")
}

# Names of the entries of the table, which may be given with --table-file.
_vmdk_dm_entries() {
    local file=/etc/vmdktab name rest i
    for ((i = 1; i < COMP_CWORD; ++i)); do
        if [[ ${COMP_WORDS[i]} == --table-file ]]; then
            file=${COMP_WORDS[i + 1]}
            [[ $file != = ]] || file=${COMP_WORDS[i + 2]}
        fi
    done
    while read -r name rest; do
        if [[ -n $rest && $name != '#'* && $name == "$1"* ]]; then COMPREPLY+=("$name"); fi
    done 2>/dev/null <"$file"
}

# _vmdk_dm_words CURRENT WORD...: those words that begin with CURRENT
_vmdk_dm_words() {
    local cur=$1 word
    shift
    for word; do
        if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
    done
}

_vmdk_dm() {
    COMPREPLY=()
    # Bash takes "--name=web" for three words.
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = && $COMP_CWORD -ge 2 ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi

    local command=${COMP_WORDS[1]}
    if [[ $COMP_CWORD -eq 1 ]]; then
        if [[ $cur == -* ]]; then
            _vmdk_dm_words "$cur" -h --help --version
        else
            _vmdk_dm_words "$cur" attach detach mount umount shell run copy-out list info map table compact hash verify cache check \
                overlay filesystems activate deactivate tab generate-cmdline
        fi
        return
    fi

    local place_options=(--allow-path --search-dir --allow-devices --layer)
    local image_options=("${place_options[@]}" --allow-short --ignore-cid --use-redundant --allow-damaged)
    local device_options=(--name --in-place --strategy --sector-size --direct-io --overlay --overlay-size --scratch --accept-touched)
    local key_options=(--key-file --key-fd --key)
    local embedded_options=(--name --sector-size --key-file --cache-dir --cache-limit --mem --timeout --console)
    local options
    case $command in
    attach)
        options=("${image_options[@]}" "${device_options[@]}" --no-partitions -p --delimiter --expose --run-dir --cache-dir --cache-limit --seal --require-seal --progress --no-udev --json --table --table-file)
        ;;
    detach) options=(--all --deferred --verify --progress --no-udev --json) ;;
    mount)
        options=("${image_options[@]}" "${device_options[@]}" "${key_options[@]}" --rw -o --options -t --type --owner --mode --run-dir --cache-dir --cache-limit --progress --no-udev --json)
        ;;
    umount) options=(--no-udev --json) ;;
    shell | run) options=("${image_options[@]}" "${embedded_options[@]}" --dir --dir-ro) ;;
    copy-out) options=("${image_options[@]}" "${embedded_options[@]}" --force --max-size --max-files) ;;
    list) options=(--json --wait-low) ;;
    info) options=("${image_options[@]}" --chain --json) ;;
    map) options=("${image_options[@]}" --overlay --accept-touched --deep --json) ;;
    compact)
        options=("${image_options[@]}" --overlay --accept-touched --to-device --force --hash --no-sync --progress --json)
        ;;
    hash) options=("${image_options[@]}" --overlay --accept-touched --algorithm --progress --json) ;;
    overlay)
        options=("${image_options[@]}" --overlay --accept-touched --format --force --hash --no-sync --progress --json)
        ;;
    verify) options=(--image --allow-path --search-dir --allow-devices --deep --progress --json) ;;
    cache) options=(--cache-dir --clear --json) ;;
    table) options=("${image_options[@]}" "${device_options[@]}" --cache-dir --deep --json --concise) ;;
    check) options=("${place_options[@]}" --deep --progress --json) ;;
    filesystems)
        options=("${image_options[@]}" "${key_options[@]}" --sector-size --run-dir --cache-dir --cache-limit --progress --no-udev --json)
        ;;
    activate) options=("${key_options[@]}" --vg-name --no-udev --json) ;;
    deactivate) options=(--no-udev --json) ;;
    tab) options=(--name -o --options --by-uuid --table-file --json) ;;
    generate-cmdline) options=(--name -o --options --table-file) ;;
    *) return ;;
    esac
    options+=(-h --help)

    case $prev in
    --allow-path | --search-dir | --run-dir | --cache-dir | --dir | --dir-ro) _vmdk_dm_directories "$cur"; return ;;
    --format) _vmdk_dm_words "$cur" raw vmdk-delta; return ;;
    --seal | --require-seal | --verify | --table-file) _vmdk_dm_files "$cur"; return ;;
    --image) _vmdk_dm_images "$cur"; return ;;
    --progress) _vmdk_dm_words "$cur" auto text none json; return ;;
    --hash | --algorithm) _vmdk_dm_words "$cur" md5 sha1 sha256; return ;;
    --direct-io) _vmdk_dm_words "$cur" auto off; return ;;
    --strategy) _vmdk_dm_words "$cur" auto linear exceptions materialise; return ;;
    --sector-size) _vmdk_dm_words "$cur" 512 4096; return ;;
    --owner)
        while IFS= read -r cur; do COMPREPLY+=("$cur"); done < <(compgen -A user -- "$cur")
        return
        ;;
    --name | --layer | -o | --options | -t | --type | --mode | -p | --delimiter | --overlay-size | --cache-limit | --key-fd | --key | --vg-name | --mem | --timeout | --max-size | --max-files) return ;;
    --overlay)
        compopt -o default 2>/dev/null
        return
        ;;
    --key-file) compopt -o default 2>/dev/null; return ;;
    esac
    if [[ $cur == -* ]]; then
        _vmdk_dm_words "$cur" "${options[@]}"
        return
    fi
    if [[ $command == attach && " ${COMP_WORDS[*]} " == *' --table '* ]]; then
        _vmdk_dm_entries "$cur"
        return
    fi
    case $command in
    tab)
        if [[ $COMP_CWORD -eq 2 ]]; then
            _vmdk_dm_words "$cur" check add
        elif [[ ${COMP_WORDS[2]} == add ]]; then
            _vmdk_dm_images "$cur"
        fi
        ;;
    generate-cmdline)
        _vmdk_dm_entries "$cur"
        _vmdk_dm_images "$cur"
        ;;
    attach | info | map | table | hash | check | shell) _vmdk_dm_images "$cur" ;;
    run | copy-out)
        compopt -o default 2>/dev/null
        _vmdk_dm_images "$cur"
        ;;
    overlay)
        if [[ $COMP_CWORD -eq 2 ]]; then
            _vmdk_dm_words "$cur" info discard merge-to
        else
            compopt -o default 2>/dev/null
        fi
        ;;
    verify) _vmdk_dm_files "$cur" ;;
    compact)
        compopt -o default 2>/dev/null
        _vmdk_dm_images "$cur"
        ;;
    mount)
        _vmdk_dm_images "$cur"
        _vmdk_dm_directories "$cur"
        ;;
    umount)
        _vmdk_dm_disks "$cur"
        _vmdk_dm_images "$cur"
        _vmdk_dm_directories "$cur"
        ;;
    detach | filesystems | activate | deactivate)
        _vmdk_dm_disks "$cur"
        _vmdk_dm_images "$cur"
        ;;
    esac
}

complete -F _vmdk_dm vmdk-dm
