#!/usr/bin/env bash
# Where vmdk-dm may run: without udevd, with --no-udev, with an udevd that never answers, on a read-only root, from a
# directory that cannot be written, and without /dev/dm-N nodes.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp mount umount unshare
make_images small 1
make_images disks 1
remember_images
image=$images/small1/vmdkdm-test-small1.vmdk
name=vmdkdm-test-small1
disk=/dev/mapper/$name

attach_and_detach() { # OPTION...
    must attach "$@" "$image"
    printed "$disk" "${disk}p1"
    same_bytes "$disk" "$work/expected/small1"
    [ -b "${disk}p1" ] || fail 'no node for the partition'
    must detach ${1+"$1"} "$name"
    is_gone "$name"
    is_gone "${name}p1"
    nothing_left "attach and detach $*"
}

[ ! -e /run/udev/control ] || missing 'an udevd runs here (see scripts/run-in-kernel)'
check 'no udevd'
attach_and_detach
is_silent
check '--no-udev'
attach_and_detach --no-udev
is_silent

check 'an udevd that never answers: a note after the deadline, and the nodes are there'
mkdir -p /run/udev
: >/run/udev/control
measure_command
before=$(now_ms)
must attach "$image"
took=$(($(now_ms) - before))
says 'note: udev did not answer within 10 s'
[ "$took" -lt $((20000 + 20 * unit_ms)) ] || fail "it took $took ms"
same_bytes "$disk" "$work/expected/small1"
is_device "${name}p1"
must detach --no-udev "$name"
nothing_left 'an attach without an answer from udev'
check 'the same, but detach is the one that waits'
must attach --no-udev "$image"
must detach "$name"
says 'note: udev did not answer within 10 s'
is_gone "$name"
is_gone "${name}p1"
nothing_left 'a detach without an answer from udev'
check 'a failing attach that waits for udev leaves nothing, no semaphore either'
dmsetup create --noudevsync --noudevrules "${name}p1" --table '0 8 zero'
refuses 5 attach "$image"
dmsetup remove --noudevsync --noudevrules "${name}p1"
nothing_left 'a failed attach without an answer from udev'
rm /run/udev/control
rmdir /run/udev

check 'the directory of the image is read-only'
mount --bind "$images" "$images"
mount -o remount,bind,ro "$images"
if (: >"$images/small1/new") 2>"$work/err"; then fail 'the directory is writable'; fi
attach_and_detach
refuses 1 attach --in-place "$images/disk1/vmdkdm-test-disk1.vmdk"
says 'Read-only file system'
umount "$images"

# elsewhere COMMAND: attaches with a mount namespace of its own, made ready by the command; compares in there.
elsewhere() {
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --propagation private bash -euc "$1"'
        "$2" attach "$3"
        cmp "$4" "$5"
        "$2" detach "$3"
        [ ! -e "$4" ]' bash "$work" "$vmdk_dm" "$image" "$disk" "$work/expected/small1" >"$work/out" 2>"$work/err" ||
        fail 'attach, compare and detach did not succeed'
    printed "$disk" "${disk}p1"
    is_silent
    nothing_left 'attach and detach in a mount namespace'
}

check 'the root file system is read-only'
# shellcheck disable=SC2016 # for the inner shell
elsewhere '
    mount -o remount,bind,ro /
    ! (: >"$1/new") 2>/dev/null'

check 'a /dev without nodes for new devices'
# shellcheck disable=SC2016 # for the inner shell
elsewhere '
    mkdir "$1/dev"
    mount -t tmpfs none "$1/dev"
    cp --archive /dev/null /dev/loop* /dev/mapper "$1/dev"
    mount --bind "$1/dev" /dev'
conclude
