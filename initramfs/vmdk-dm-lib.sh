# Disks in VMDK images that are needed before there is a root file system: what dracut and initramfs-tools have in common.
#
# An initramfs sources this file and calls, in this order:
#
#   vmdk_dm_collect CMDLINE     once, before devices come up. Writes the entries of rd.vmdk= and of the embedded /etc/vmdktab
#                               to $vmdk_dm_table. Status 1: there are none, or rd.vmdk=0 says that there shall be none.
#   vmdk_dm_attach_ready        again and again while devices come up, after "udevadm settle": mounts the file systems that
#                               have appeared and attaches the images on them. Status 0: all is attached; 1: some devices
#                               are still missing; 2: something failed (and is tried again by the next call).
#   vmdk_dm_all_attached        status 0 when nothing needs to be waited for. Does nothing.
#   vmdk_dm_report              what failed and what is missing, in words, on standard output; nothing if all is well. For
#                               the console, right before the shell for emergencies.
#   vmdk_dm_keep_for_shutdown   last, before the root file system takes over: where a file system that holds images is mounted
#                               writable, this initramfs is kept in /run/initramfs, for the shutdown to come back to.
#   vmdk_dm_unmount             at shutdown, back in there: unmounts the file systems that hold images. Status 1: not yet, as
#                               mapped devices still lie on them (vmdk_dm_remove_devices takes all of those down).
#
# None needs anything that the one before left in the shell: all state is in files, so they may run in different processes.
# Programs needed: vmdk-dm, udevadm, mount, umount, mkdir, readlink, rm, sleep, cat; cp to keep the initramfs; dmsetup to
# remove devices. All functions are subshells, and change no variable and no option of the shell that called them.
#
# rd.vmdk=DEV:PATH:NAME[:OPTIONS] is the line "NAME DEV:PATH OPTIONS" of vmdktab(5). This file only needs to know DEV, and
# whether the entry writes; everything else in it is read, and complained about, by vmdk-dm itself.
# shellcheck shell=sh disable=SC2030,SC2031 # subshells are meant

vmdk_dm_table=/run/vmdk-dm/initrd-vmdktab
# Of the entry in line N of the table: done.N when it is attached, failed.N with what was said when it could not be.
vmdk_dm_state=/run/vmdk-dm/initrd
# systemd never unmounts what lies below /run/initramfs, and takes it along into the root file system.
vmdk_dm_mounts=/run/initramfs/vmdk

vmdk_dm_collect() (
    set -f
    rm -rf "$vmdk_dm_state" "$vmdk_dm_table"
    mkdir -p "$vmdk_dm_state"
    for word in $1; do
        case $word in
        rd.vmdk=0 | rd.vmdk=no | rd.vmdk=off) rm -rf "$vmdk_dm_state" "$vmdk_dm_table" && return 1 ;;
        rd.vmdk=*) vmdk_dm_table_line "$word" ;;
        esac
    done
    if [ -r /etc/vmdktab ]; then
        while read -r name image options _ || [ -n "$name" ]; do
            case $name in '' | '#'*) continue ;; esac
            case ,$options, in *,x-initrd.attach,*) ;; *) continue ;; esac
            ! vmdk_dm_is_entry "$name" || continue # the command line has the last word
            printf '# /etc/vmdktab\n%s %s %s\n' "$name" "$image" "$options" >>"$vmdk_dm_table"
        done </etc/vmdktab
    fi
    [ -e "$vmdk_dm_table" ] || [ -e "$vmdk_dm_state/failed.rd.vmdk" ]
)

vmdk_dm_attach_ready() (
    [ ! -e "$vmdk_dm_state/failed.rd.vmdk" ] || return 2
    [ -e "$vmdk_dm_table" ] || return 0
    result=0
    while vmdk_dm_next; do
        [ ! -e "$vmdk_dm_state/done.$line" ] || continue
        rm -f "$vmdk_dm_state/failed.$line"
        device=$(vmdk_dm_device "$image")
        if [ -n "$device" ] && [ ! -b "$(vmdk_dm_node "$device")" ]; then
            vmdk_dm_has "$options" nofail || [ $result -ne 0 ] || result=1
        elif vmdk_dm_mount "$device" >"$vmdk_dm_state/said" 2>&1 && vmdk_dm_attach "$name" >"$vmdk_dm_state/said" 2>&1; then
            echo >"$vmdk_dm_state/done.$line"
            cat "$vmdk_dm_state/said" >&2
        elif vmdk_dm_has "$options" nofail; then
            echo >"$vmdk_dm_state/done.$line"
            vmdk_dm_failure <"$vmdk_dm_state/said" >&2
        else
            vmdk_dm_failure <"$vmdk_dm_state/said" >"$vmdk_dm_state/failed.$line"
            result=2
        fi
    done <"$vmdk_dm_table"
    return $result
)

vmdk_dm_all_attached() (
    [ ! -e "$vmdk_dm_state/failed.rd.vmdk" ] || return 1
    [ -e "$vmdk_dm_table" ] || return 0
    while vmdk_dm_next; do
        [ -e "$vmdk_dm_state/done.$line" ] || vmdk_dm_has "$options" nofail || return 1
    done <"$vmdk_dm_table"
)

vmdk_dm_report() (
    [ ! -e "$vmdk_dm_state/failed.rd.vmdk" ] || cat "$vmdk_dm_state/failed.rd.vmdk"
    [ -e "$vmdk_dm_table" ] || return 0
    while vmdk_dm_next; do
        [ ! -e "$vmdk_dm_state/done.$line" ] || continue
        device=$(vmdk_dm_device "$image")
        if [ -e "$vmdk_dm_state/failed.$line" ]; then
            cat "$vmdk_dm_state/failed.$line"
        elif [ -n "$device" ] && [ ! -b "$(vmdk_dm_node "$device")" ]; then
            vmdk_dm_has "$options" nofail ||
                printf "vmdk-dm: '%s' is not attached: the device %s has not appeared (%s)\n" "$name" "$device" "$source"
        fi
    done <"$vmdk_dm_table"
)

# A copy of the whole initramfs but kernel modules and firmware, as what else lies below the images (MD, multipath) has its
# own part in the shutdown. In memory it takes some 30 MB, as does what dracut unpacks there at shutdown; but that comes from
# /boot, and a root file system in an image has no initramfs in its /boot, or an old one.
vmdk_dm_keep_for_shutdown() (
    vmdk_dm_is_mounted "$vmdk_dm_mounts/*" rw || return 0
    [ ! -e /run/initramfs/shutdown ] || return 0
    [ -e /shutdown ] || { echo 'vmdk-dm: no /shutdown in this initramfs' >&2; return 1; }
    vmdk_dm_copy_tree /run/initramfs && return 0
    # Half of it would be worse than nothing: systemd would come back to it all the same.
    rm -f /run/initramfs/shutdown
    echo 'vmdk-dm: cannot keep the initramfs in /run/initramfs; at shutdown, the file system of the images will stay mounted' >&2
    return 1
)

vmdk_dm_remove_devices() (
    result=0
    for path in /sys/block/dm-*; do
        [ ! -e "$path" ] || vmdk_dm_remove_device "$path" || result=1
    done
    return $result
)

# systemd has left the mounts where they were, now seen below /oldroot or /oldsys, or (257) has taken them along to /vmdk.
# Seen at several places, they end only when all are gone.
vmdk_dm_unmount() (
    tries=0
    while vmdk_dm_is_mounted '*/initramfs/vmdk/*' '' || vmdk_dm_is_mounted '/vmdk/*' ''; do
        # A loop device may need a moment to let go of its file.
        [ $tries -lt 20 ] || return 1
        [ $tries -eq 0 ] || sleep 0.1
        tries=$((tries + 1))
        while read -r _ directory _; do
            case $directory in */initramfs/vmdk/* | /vmdk/*) umount "$directory" 2>/dev/null || : ;; esac
        done </proc/mounts
    done
)

# Everything below is for the functions above only.

# Writes the line for a word of the command line, or down what is wrong with it.
vmdk_dm_table_line() (
    value=${1#rd.vmdk=}
    # DEV may have colons of its own, as in /dev/disk/by-path.
    device=${value%%:/*}
    rest=/${value#*:/}
    path=${rest%%:*}
    rest=${rest#"$path"}
    rest=${rest#:}
    name=${rest%%:*}
    rest=${rest#"$name"}
    options=${rest#:}
    case $device in
    "$value") name='' ;;
    LABEL=?* | UUID=?* | PARTLABEL=?* | PARTUUID=?* | /dev/?*) ;;
    *) name='' ;;
    esac
    if [ -n "$name" ]; then
        printf '# %s\n%s %s:%s %s\n' "$1" "$name" "$device" "$path" "${options:--}" >>"$vmdk_dm_table"
    else
        printf "vmdk-dm: '%s' is not understood: expected rd.vmdk=DEV:PATH:NAME[:OPTIONS], as in rd.vmdk=LABEL=data:/vm/root.vmdk:root\n" \
            "$1" >>"$vmdk_dm_state/failed.rd.vmdk"
    fi
)

# Sets name, image, options and line (its number) to the next entry on standard input, and source to where it came from.
vmdk_dm_next() {
    while read -r name image options; do
        line=$((${line:-0} + 1))
        case $name in
        '#') source=$image${options:+ $options} ;;
        *) return 0 ;;
        esac
    done
    return 1
}

vmdk_dm_is_entry() (
    wanted=$1
    [ -e "$vmdk_dm_table" ] || return 1
    while vmdk_dm_next; do
        [ "$name" != "$wanted" ] || return 0
    done <"$vmdk_dm_table"
    return 1
)

# vmdk_dm_has OPTIONS WORD
vmdk_dm_has() { case ,$1, in *",$2,"*) ;; *) return 1 ;; esac; }

# The device of the field DEV:PATH; nothing for a plain path, which lies in the initramfs itself.
vmdk_dm_device() (
    case $1 in
    LABEL=*:/* | UUID=*:/* | PARTLABEL=*:/* | PARTUUID=*:/* | /dev/*:/*) vmdk_dm_unescaped "${1%%:/*}" ;;
    esac
)

# Octal escapes as in fstab(5): \040 is a blank.
vmdk_dm_unescaped() (
    rest=$1
    format=''
    while :; do
        case $rest in
        *%*) format=$format${rest%%"%"*}%% && rest=${rest#*"%"} ;;
        *) break ;;
        esac
    done
    # shellcheck disable=SC2059 # printf knows these escapes in its format only
    printf "$format$rest"
)

# The node in /dev of LABEL=... and the like, whether it is there or not.
vmdk_dm_node() (
    case $1 in
    LABEL=*) printf '/dev/disk/by-label/' && vmdk_dm_link_name "${1#*=}" ;;
    PARTLABEL=*) printf '/dev/disk/by-partlabel/' && vmdk_dm_link_name "${1#*=}" ;;
    UUID=*) printf '/dev/disk/by-uuid/%s' "${1#*=}" ;;
    PARTUUID=*) printf '/dev/disk/by-partuuid/%s' "${1#*=}" ;;
    *) printf '%s' "$1" ;;
    esac
)

# udev's name of the link to a label: what is not in this list stands there as \x20. Letters beyond ASCII stand as they are.
vmdk_dm_link_name() (
    LC_ALL=C
    rest=$1
    while [ -n "$rest" ]; do
        tail=${rest#?}
        character=${rest%"$tail"}
        rest=$tail
        case $character in
        [0-9A-Za-z] | [-#+.:=@_]) printf '%s' "$character" ;;
        [!\ -~]) printf '%s' "$character" ;;
        *) printf '\\x%02x' "'$character" ;;
        esac
    done
)

# vmdk_dm_mount DEV: on a directory of its own; nothing to do for no DEV.
vmdk_dm_mount() (
    [ -n "$1" ] || return 0
    node=$(readlink -f "$(vmdk_dm_node "$1")")
    directory=$vmdk_dm_mounts/${node##*/}
    ! vmdk_dm_is_mounted "$directory" '' || return 0
    type=$(vmdk_dm_file_system "$node")
    [ -n "$type" ] || { echo "vmdk-dm: no file system is known on $1 ($node)"; return 1; }
    options=$(vmdk_dm_mount_options "$node")
    mkdir -p "$directory"
    mount -t "$type" -o "$options" "$node" "$directory" || {
        echo "vmdk-dm: cannot mount $1 ($node, $type) on $directory with the options '$options'"
        return 1
    }
)

vmdk_dm_file_system() (
    udevadm info --query=property --name="$1" | while IFS='=' read -r key value; do
        [ "$key" != ID_FS_TYPE ] || printf '%s' "$value"
    done
)

# Read-only unless some entry on the device writes; host-options= of the first entry that has it replaces that.
vmdk_dm_mount_options() (
    wanted=$1
    access=ro
    set -f
    while vmdk_dm_next; do
        device=$(vmdk_dm_device "$image")
        [ -n "$device" ] || continue
        [ "$(readlink -f "$(vmdk_dm_node "$device")")" = "$wanted" ] || continue
        IFS=,
        for option in $options; do
            case $option in
            host-options=*) vmdk_dm_unescaped "${option#*=}" && return ;;
            in-place | overlay=* | seal=* | cache-dir=*) access=rw ;;
            esac
        done
        unset IFS
    done <"$vmdk_dm_table"
    printf '%s' "$access"
)

vmdk_dm_attach() (
    # What it prints are the devices, in which nobody is interested here.
    vmdk-dm attach --table "$1" --table-file "$vmdk_dm_table" </dev/null 2>&1 >/dev/null
)

# Reads what was said about the entry name of source.
vmdk_dm_failure() {
    printf "vmdk-dm: '%s' is not attached (%s):\n" "$name" "$source"
    cat
}

# vmdk_dm_is_mounted PATTERN OPTION: whether something is mounted at such a directory, with this mount option if there is one.
vmdk_dm_is_mounted() (
    while read -r _ directory _ options _; do
        # shellcheck disable=SC2254 # a pattern
        case $directory in $1) ;; *) continue ;; esac
        [ -n "$2" ] || return 0
        ! vmdk_dm_has "$options" "$2" || return 0
    done </proc/mounts
    return 1
)

# What is mounted over the initramfs is not part of it, and a directory may be a link to another (/lib to /usr/lib).
vmdk_dm_copy_tree() (
    for directory in '' /usr /lib /usr/lib; do
        [ ! -L "$directory" ] || continue
        mkdir -p "$1$directory" || return 1
        for path in "$directory"/*; do
            case $path in
            /dev | /proc | /sys | /run | /tmp | /root | /sysroot | /usr | /lib | /usr/lib) [ -L "$path" ] || continue ;;
            */lib/modules | */lib/firmware) continue ;;
            esac
            cp -a "$path" "$1$directory/" || return 1
        done
    done
)

# The devices above first. Without udev, which does not run any more.
vmdk_dm_remove_device() (
    [ -e "$1/dm/name" ] || return 0 # gone with one before it
    for holder in "$1"/holders/dm-*; do
        [ ! -e "$holder" ] || vmdk_dm_remove_device "/sys/block/${holder##*/}" || return 1
    done
    read -r name <"$1/dm/name" && dmsetup --noudevsync remove "$name"
)
