#!/usr/bin/env bash
# What the machine refuses: loop devices, open files, processes, memory, the device mapper itself, root's rights. Each time the
# command says what is missing, and leaves nothing.
set -eu
. "$(dirname -- "$0")/lib.sh"
start losetup setpriv mount umount
make_images small 1
make_images many 60
make_grain_images inner
make_grain_images large
remember_images
small=$images/small1/vmdkdm-test-small1.vmdk
disk=/dev/mapper/vmdkdm-test-small1

# limited COMMAND...: it runs as a command of ours would; what it says is in $work/err.
limited() {
    status=0
    "$@" >"$work/out" 2>"$work/err" || status=$?
}
attaches_again() {
    must attach "$small"
    same_bytes "$disk" "$work/expected/small1"
    must detach vmdkdm-test-small1
    nothing_left "$1"
}

check 'no loop device, and none that could be made'
mv /dev/loop-control "$work/loop-control" 2>/dev/null || cp -a /dev/loop-control "$work/loop-control"
rm -f /dev/loop-control
refuses 1 attach "$small"
says 'there is no /dev/loop-control (modprobe loop?)'
nothing_left 'an attach without loop devices'
mknod /dev/loop-control c 10 237
check 'nodes of loop devices that cannot be opened, from the second on'
attaches_again 'loop devices are made, so that their nodes can be taken away'
mkdir "$work/dev"
for n in 1 2 3 1000 1001 1002 1003; do
    [ ! -e "/dev/loop$n" ] || mv "/dev/loop$n" "$work/dev"
done
try attach "$small"
[ "$status" -ne 0 ] || fail 'it was attached without nodes'
says "loop device for '"
nothing_left 'an attach without nodes of loop devices'
for node in "$work"/dev/*; do mv "$node" /dev; done
attaches_again 'loop devices are there again'

check 'open files: with each limit it is attached or says which file it was'
attached=0 refused=0
for ((files = 4; files <= 22; files += 3)); do
    limited bash -c "ulimit -n $files; exec \"\$@\"" bash "$vmdk_dm" attach "$small"
    if [ "$status" -eq 0 ]; then
        attached=$((attached + 1))
        must detach vmdkdm-test-small1
    else
        refused=$((refused + 1))
        [ ! -s "$work/out" ] || fail "$files files: it failed, but printed"
        says 'Too many open files'
    fi
    nothing_left "an attach with $files open files"
done
printf '  %d limits, %d refused\n' $((attached + refused)) "$refused"
[[ $attached -gt 0 && $refused -gt 1 ]] || fail 'no limit was met'
check 'a soft limit is raised: 60 files need no ulimit'
limited bash -c 'ulimit -S -n 20; exec "$@"' bash "$vmdk_dm" attach "$images/many/vmdkdm-test-many.vmdk"
[ "$status" -eq 0 ] || fail "exit status $status: $(<"$work/err")"
same_bytes /dev/mapper/vmdkdm-test-many "$work/expected/many"
must detach vmdkdm-test-many
nothing_left 'an attach with a low soft limit'

check 'root without CAP_SYS_ADMIN, and somebody who is not root'
for command in "attach $small" list "mount $small $work" 'detach --all'; do
    # shellcheck disable=SC2086 # words without blanks
    limited setpriv --bounding-set=-sys_admin "$vmdk_dm" $command
    [ "$status" -eq 1 ] || fail "$command: exit status $status"
    says 'root may not use the device mapper here: CAP_SYS_ADMIN is missing, as in a container'
    # shellcheck disable=SC2086
    limited setpriv --reuid=65534 --clear-groups --inh-caps=-all "$vmdk_dm" $command
    [ "$status" -ne 0 ] || fail "$command: it went well as nobody"
    [[ $(<"$work/err") == *'needs root'* || $(<"$work/err") == *'Permission denied'* ]] || fail "$command: it says something else"
    nothing_left "$command without rights"
done

check 'memory: a map of 600,000 runs under each limit is attached or refused, and nothing is left'
attached=0 refused=0
large=$images/large/vmdkdm-test-large.vmdk
for kibibytes in 24000 60000; do
    limited bash -c "ulimit -v $kibibytes; exec \"\$@\"" bash "$vmdk_dm" attach --strategy linear --name vmdkdm-test-large "$large"
    if [ "$status" -eq 0 ]; then
        attached=$((attached + 1))
        must detach vmdkdm-test-large
    else
        refused=$((refused + 1))
        [ "$status" -lt 128 ] || fail "$kibibytes KiB: it died: $status"
        [ -s "$work/err" ] || fail "$kibibytes KiB: it failed and said nothing"
        # 127: not even the program could be loaded.
        [[ $status -eq 127 || $(<"$work/err") == *'not enough memory'* || $(<"$work/err") == *'Cannot allocate memory'* ]] ||
            fail "$kibibytes KiB: it says something else"
    fi
    nothing_left "an attach with $kibibytes KiB"
done
[ "$refused" -gt 0 ] || fail 'no limit was met'
conclude
