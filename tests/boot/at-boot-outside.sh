#!/usr/bin/env bash
# Boots a machine with images in its vmdktab (at-boot.prepare.sh, at-boot.sh), switches it off as users do, and looks at its disks
# from outside: the file system that holds the images, and those within them, are clean. Run on the build machine:
#
#   tests/boot/at-boot-outside.sh build/release
set -euo pipefail
project=$(dirname -- "$(readlink -f -- "$0")")/../..
build=${1:?usage: ${0##*/} BUILD-DIRECTORY [INSTALLED-VMDK-DM]}
vmdk_dm=${2:-/usr/local/sbin/vmdk-dm}
work=$(mktemp -d "${TMPDIR:-/tmp}/vmdkdm-test.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
export PATH=$PATH:/usr/sbin:/sbin

fail() {
    printf 'FAIL: %s\n' "$1"
    exit 1
}
check() { printf -- '- %s\n' "$1"; }

# is_clean IMAGE-OF-A-FILE-SYSTEM
is_clean() {
    dumpe2fs -h "$1" >"$work/dumpe2fs" 2>&1 || return 1
    grep -q '^Filesystem state: *clean$' "$work/dumpe2fs" && ! grep -q needs_recovery "$work/dumpe2fs" \
        && e2fsck -fn "$1" >"$work/e2fsck" 2>&1
}
must_be_clean() { is_clean "$1" || { cat -- "$work/dumpe2fs" "$work/e2fsck" 2>/dev/null | head -n 60; fail "$2 is not clean"; }; }

# Copies the host disk when the machine asks for it, and says so on a disk that is there for that. The rest is shown.
take_copy() {
    local line
    while IFS= read -r line; do
        printf '%s\n' "$line"
        [ "$line" = 'take a copy of the host disk' ] || continue
        cp --sparse=always -- "$work/one" "$work/one-in-use"
        printf taken | dd of="$work/answer" conv=notrunc status=none
    done
}

boot() {
    truncate --size 96M "$work/one"
    truncate --size 32M "$work/two"
    truncate --size 4K "$work/answer"
    local status=0
    (cd -- "$project" && scripts/run-in-vm --timeout 2400 --console --install "$build" \
        --disk "$work/one" --disk "$work/two" --disk "$work/answer" --before-boot 'bash tests/boot/at-boot.prepare.sh' -- \
        bash tests/boot/at-boot.sh "$vmdk_dm") 2>"$work/console" | take_copy || status=$?
    [ "$status" -eq 0 ] || { tail -n 30 -- "$work/console"; fail "exit status $status of the machine"; }
}

# says_before FIRST SECOND: lines of the console, when the machine goes down.
line_of() { tr '\r' '\n' <"$work/console" | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | grep -n -E -e "$1" | tail -n 1 | cut -d : -f 1; }
says_before() {
    local first second
    first=$(line_of "$1") || true
    second=$(line_of "$2") || true
    [ "${first:-999999}" -lt "${second:-0}" ] || { tail -n 150 -- "$work/console"; fail "not in this order: '$1' ($first), '$2' ($second)"; }
}

boot
check 'the machine went down in the order: mounts of the images, images, mount of the host disk'
for name in written in-place; do
    # In a line that is too long, it is the middle that the console leaves out.
    says_before "Unmounted.* /mnt/$name\\." "Stopped.* VMDK image $name\\."
    says_before "Stopped.* VMDK image $name\\." 'Unmounted.*\(LABEL=host-one\)'
done
check 'the file system of the host disk is clean'
must_be_clean "$work/one" 'the host disk'
check 'so is the file system in an image that was written in place'
debugfs -R "dump /vm/in-place-flat.vmdk $work/in-place" "$work/one" 2>/dev/null
must_be_clean "$work/in-place" 'in-place'
[ "$(debugfs -R 'cat /new' "$work/in-place" 2>/dev/null)" = 'in place' ] || fail 'what was written in place is not there'
check 'so is the file system in an image with an overlay'
mkdir -- "$work/vm"
for file in written.vmdk written-flat.vmdk written.overlay; do
    debugfs -R "dump -p /vm/$file $work/vm/$file" "$work/one" 2>/dev/null
done
"$build/vmdk-dm" compact --accept-touched --overlay "$work/vm/written.overlay" "$work/vm/written.vmdk" "$work/written" >"$work/said" 2>&1 \
    || { cat -- "$work/said"; fail 'the overlay cannot be read'; }
must_be_clean "$work/written" 'written'
[ "$(debugfs -R 'cat /new' "$work/written" 2>/dev/null)" = 'through an overlay' ] || fail 'what was written to the overlay is not there'

check 'and a machine that is cut off instead is found out'
! is_clean "$work/one-in-use" || fail 'the host disk was clean while the machine was writing to it'
echo '5 checks'
