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
            _vmdk_dm_words "$cur" attach detach mount umount list info map table compact hash cache check
        fi
        return
    fi

    local place_options=(--allow-path --search-dir --allow-devices --layer)
    local image_options=("${place_options[@]}" --allow-short --ignore-cid --use-redundant --allow-damaged)
    local device_options=(--name --in-place --strategy --sector-size --overlay --overlay-size --scratch --accept-touched)
    local options
    case $command in
    attach)
        options=("${image_options[@]}" "${device_options[@]}" --no-partitions -p --delimiter --direct-io --run-dir --cache-dir --progress --no-udev --json)
        ;;
    detach) options=(--all --deferred --no-udev --json) ;;
    mount)
        options=("${image_options[@]}" "${device_options[@]}" --rw -o --options -t --type --owner --mode --run-dir --cache-dir --progress --no-udev --json)
        ;;
    umount) options=(--no-udev --json) ;;
    list) options=(--json --wait-low) ;;
    info) options=("${image_options[@]}" --chain --json) ;;
    map) options=("${image_options[@]}" --deep --json) ;;
    compact)
        options=("${image_options[@]}" --to-device --force --hash --no-sync --progress --json)
        ;;
    hash) options=("${image_options[@]}" --algorithm --progress --json) ;;
    cache) options=(--cache-dir --clear --json) ;;
    table) options=("${image_options[@]}" "${device_options[@]}" --cache-dir --deep --json --concise) ;;
    check) options=("${place_options[@]}" --deep --progress --json) ;;
    *) return ;;
    esac
    options+=(-h --help)

    case $prev in
    --allow-path | --search-dir | --run-dir | --cache-dir) _vmdk_dm_directories "$cur"; return ;;
    --progress) _vmdk_dm_words "$cur" auto text none json; return ;;
    --hash | --algorithm) _vmdk_dm_words "$cur" md5 sha1 sha256; return ;;
    --direct-io) _vmdk_dm_words "$cur" auto on off; return ;;
    --strategy) _vmdk_dm_words "$cur" auto linear exceptions materialise; return ;;
    --sector-size) _vmdk_dm_words "$cur" 512 4096; return ;;
    --owner)
        while IFS= read -r cur; do COMPREPLY+=("$cur"); done < <(compgen -A user -- "$cur")
        return
        ;;
    --name | --layer | -o | --options | -t | --type | --mode | -p | --delimiter | --overlay-size) return ;;
    --overlay)
        compopt -o default 2>/dev/null
        return
        ;;
    esac
    if [[ $cur == -* ]]; then
        _vmdk_dm_words "$cur" "${options[@]}"
        return
    fi
    case $command in
    attach | info | map | table | hash | check) _vmdk_dm_images "$cur" ;;
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
    detach)
        _vmdk_dm_disks "$cur"
        _vmdk_dm_images "$cur"
        ;;
    esac
}

complete -F _vmdk_dm vmdk-dm
