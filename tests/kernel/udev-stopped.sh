#!/usr/bin/env bash
# udevd does not answer, or dies, while somebody waits for it: the command ends within its deadline and says so, the disk is
# right, and nothing is left, neither in the kernel nor among the semaphores.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/udevd.sh"
start mke2fs mount umount pidof
make_images small 1
make_grain_images ext4
remember_images
disk=/dev/mapper/vmdkdm-test-small1
image=$images/small1/vmdkdm-test-small1.vmdk
mkdir "$work/mnt"

start_udevd
install_our_rules
state_before=$state_at_start
kernel_state
state_at_start=$state
daemon() { pidof systemd-udevd; }
signal_udevd() {
    local pid
    for pid in $(daemon); do kill "-$1" "$pid" 2>/dev/null || true; done
}
note='note: udev did not answer within 10 s; links under /dev/disk may be missing or stale (see --no-udev)'

# within SECONDS ARGUMENT...: it ends in that time, and that of some commands on this machine.
within() {
    local before limit=$(($1 * 1000 + 20 * unit_ms))
    before=$(now_ms)
    try "${@:2}"
    [ $(($(now_ms) - before)) -lt "$limit" ] || fail "vmdk-dm ${*:2} took $(($(now_ms) - before)) ms"
}

measure_command
check 'stopped before attach and detach: each ends within its deadline, says so, and does its work'
signal_udevd STOP
within 30 attach "$image"
[ "$status" -eq 0 ] || fail "exit status $status"
says "$note"
same_bytes "$disk" "$work/expected/small1"
within 30 detach vmdkdm-test-small1
[ "$status" -eq 0 ] || fail "exit status $status"
says "$note"
nothing_left 'attach and detach while udevd is stopped'
check 'stopped, and --no-udev: nobody waits'
within 8 attach --no-udev "$image"
[ "$status" -eq 0 ] || fail "exit status $status"
is_silent
same_bytes "$disk" "$work/expected/small1"
within 8 detach --no-udev vmdkdm-test-small1
is_silent
signal_udevd CONT
udevadm settle --timeout=30
nothing_left 'attach --no-udev while udevd is stopped'

check 'mount and umount while udevd is stopped'
signal_udevd STOP
within 60 mount "$images/ext4/vmdkdm-test-ext4.vmdk" "$work/mnt"
[ "$status" -eq 0 ] || fail "exit status $status"
[ "$(<"$work/mnt/hello.txt")" = 'hello from inside the image' ] || fail 'the file is wrong'
within 60 umount "$work/mnt"
[ "$status" -eq 0 ] || fail "exit status $status"
signal_udevd CONT
udevadm settle --timeout=30
nothing_left 'mount and umount while udevd is stopped'
check 'interrupted and killed while it waits for udevd'
for signal in TERM KILL; do
    signal_udevd STOP
    set -m
    "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err" &
    process=$!
    set +m
    wait_until 60 test -e /sys/block/dm-2/dm/name || fail 'there are no devices'
    kill "-$signal" "$process"
    status=0
    wait "$process" 2>/dev/null || status=$?
    signal_udevd CONT
    udevadm settle --timeout=30
    # An attach that was interrupted while it waited for what it had made may have ended well.
    [ "$status" -ne 0 ] || must detach vmdkdm-test-small1
    nothing_left "SIG$signal while udevd is stopped"
done

check 'a detach that is killed while it waits for udevd'
must attach "$image"
signal_udevd STOP
"$vmdk_dm" detach vmdkdm-test-small1 >"$work/out" 2>"$work/err" &
process=$!
wait_until 60 test ! -e /sys/block/dm-0/dm/name || fail 'the devices stay'
kill -KILL "$process"
wait "$process" 2>/dev/null || true
signal_udevd CONT
udevadm settle --timeout=30
nothing_left 'a detach that was killed'

check 'udevd is killed while an attach waits for it, and while a detach does'
for words in "attach $image" 'detach vmdkdm-test-small1'; do
    signal_udevd STOP
    # shellcheck disable=SC2086 # words without blanks
    "$vmdk_dm" $words >"$work/out" 2>"$work/err" &
    process=$!
    # Its work is done, and it waits.
    if [[ $words == attach* ]]; then
        wait_until 60 test -e /sys/block/dm-2/dm/name || fail 'there are no devices'
    else
        wait_until 60 test ! -e /sys/block/dm-0 || fail 'the devices do not go'
    fi
    for _ in {1..25}; do pause; done
    signal_udevd KILL
    status=0
    wait "$process" || status=$?
    [ "$status" -eq 0 ] || fail "exit status $status"
    says "$note"
    [[ $words != attach* ]] || same_bytes "$disk" "$work/expected/small1"
    wait_until 60 eval '! daemon >/dev/null' || fail 'udevd is still there'
    rm -rf /run/udev/control
    if [[ $words == attach* ]]; then
        "$udevd" --daemon >"$work/udevd" 2>&1
        udevadm control --ping --timeout=20 || fail 'udevd does not answer'
    fi
done
rm -rf /run/udev
nothing_left 'udevd was killed'
state_at_start=$state_before
conclude
