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
#   vmdk_dm_forget_failures     after that shell: what failed is tried again, what is not understood is left out.
#   vmdk_dm_keep_for_shutdown   last, before the root file system takes over: where a file system that holds images is mounted
#                               writable, this initramfs is kept in /run/initramfs, for the shutdown to come back to.
#   vmdk_dm_unmount             at shutdown, back in there: unmounts the file systems that hold images. Status 1: not yet, as
#                               mapped devices still lie on them (vmdk_dm_remove_devices takes all of those down).
#
# None needs anything that the one before left in the shell: all state is in files, so they may run in different processes.
# Programs needed: vmdk-dm, udevadm, mount, umount, mkdir, readlink, rm, sleep, cat; cp to keep the initramfs; dmsetup to
# remove devices. All functions are subshells, and change no variable and no option of the shell that called them.
#
# rd.vmdk= and the table are read by vmdk-dm alone: "vmdk-dm tab initrd" makes one table of both, in which a comment before each
# entry says what this file has to know of it (see src/tab/initrd.h).
# shellcheck shell=sh disable=SC2030,SC2031 # subshells are meant

vmdk_dm_table=/run/vmdk-dm/initrd-vmdktab
# Of each entry: done.NAME when it is attached, failed.NAME with what was said when it could not be. What is wrong with rd.vmdk=
# or the table is in broken.
vmdk_dm_state=/run/vmdk-dm/initrd
# systemd never unmounts what lies below /run/initramfs, and takes it along into the root file system.
vmdk_dm_mounts=/run/initramfs/vmdk

vmdk_dm_collect() (
    rm -rf "$vmdk_dm_state"
    mkdir -p "$vmdk_dm_state"
    vmdk-dm tab initrd --command-line="$1" >"$vmdk_dm_table" 2>"$vmdk_dm_state/broken" && rm "$vmdk_dm_state/broken"
    [ -s "$vmdk_dm_table" ] || [ -e "$vmdk_dm_state/broken" ]
)

vmdk_dm_attach_ready() (
    [ ! -e "$vmdk_dm_state/broken" ] || return 2
    [ -e "$vmdk_dm_table" ] || return 0
    result=0
    while vmdk_dm_next; do
        [ ! -e "$vmdk_dm_state/done.$name" ] || continue
        rm -f "$vmdk_dm_state/failed.$name"
        if vmdk_dm_is_missing; then
            [ "$need" = nofail ] || [ $result -ne 0 ] || result=1
        elif vmdk_dm_mount >"$vmdk_dm_state/said" 2>&1 && vmdk_dm_attach >"$vmdk_dm_state/said" 2>&1; then
            echo >"$vmdk_dm_state/done.$name"
            cat "$vmdk_dm_state/said" >&2
        elif [ "$need" = nofail ]; then
            echo >"$vmdk_dm_state/done.$name"
            vmdk_dm_failure <"$vmdk_dm_state/said" >&2
        else
            vmdk_dm_failure <"$vmdk_dm_state/said" >"$vmdk_dm_state/failed.$name"
            result=2
        fi
    done <"$vmdk_dm_table"
    return $result
)

vmdk_dm_all_attached() (
    [ ! -e "$vmdk_dm_state/broken" ] || return 1
    [ -e "$vmdk_dm_table" ] || return 0
    while vmdk_dm_next; do
        [ -e "$vmdk_dm_state/done.$name" ] || [ "$need" = nofail ] || return 1
    done <"$vmdk_dm_table"
)

vmdk_dm_report() (
    [ ! -e "$vmdk_dm_state/broken" ] || cat "$vmdk_dm_state/broken"
    [ -e "$vmdk_dm_table" ] || return 0
    while vmdk_dm_next; do
        [ ! -e "$vmdk_dm_state/done.$name" ] || continue
        if [ -e "$vmdk_dm_state/failed.$name" ]; then
            cat "$vmdk_dm_state/failed.$name"
        elif [ "$need" = needed ] && vmdk_dm_is_missing; then
            printf "vmdk-dm: '%s' is not attached: %s has not appeared (%s)\n" "$name" "$node" "$source"
        fi
    done <"$vmdk_dm_table"
)

vmdk_dm_forget_failures() { rm -f "$vmdk_dm_state/broken" "$vmdk_dm_state"/failed.*; }

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

# Sets name, node, need, source and options to those of the next entry on standard input. The functions after this one are
# about that entry.
vmdk_dm_next() { read -r _ node need source options && read -r name _; }

vmdk_dm_is_missing() { [ ! -b "$node" ]; }

# On a directory of its own.
vmdk_dm_mount() (
    device=$(readlink -f "$node")
    directory=$vmdk_dm_mounts/${device##*/}
    ! vmdk_dm_is_mounted "$directory" '' || return 0
    type=$(vmdk_dm_file_system "$device")
    [ -n "$type" ] || { echo "vmdk-dm: no file system is known on $node ($device)"; return 1; }
    mkdir -p "$directory"
    mount -t "$type" -o "$options" "$device" "$directory" || {
        echo "vmdk-dm: cannot mount $node ($device, $type) on $directory with the options '$options'"
        return 1
    }
)

vmdk_dm_file_system() (
    udevadm info --query=property --name="$1" | while IFS='=' read -r key value; do
        [ "$key" != ID_FS_TYPE ] || printf '%s' "$value"
    done
)

vmdk_dm_attach() (
    # What it prints are the devices, in which nobody is interested here.
    vmdk-dm attach --table "$name" --table-file "$vmdk_dm_table" </dev/null 2>&1 >/dev/null
)

# Reads what was said about it.
vmdk_dm_failure() {
    printf "vmdk-dm: '%s' is not attached (%s):\n" "$name" "$source"
    cat
}

# vmdk_dm_is_mounted PATTERN ACCESS: whether something is mounted at such a directory, with this access (rw, ro) if one is given.
vmdk_dm_is_mounted() (
    while read -r _ directory _ options _; do
        # shellcheck disable=SC2254 # a pattern
        case $directory in $1) ;; *) continue ;; esac
        case $options, in "$2"*) return 0 ;; esac
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
