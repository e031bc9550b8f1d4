#!/usr/bin/env bash
# An attach that is killed, at any point, leaves nothing; one that is interrupted cleans up and then dies of the signal.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace
make_images small 1
remember_images
image=$images/small1/vmdkdm-test-small1.vmdk
name=vmdkdm-test-small1
RANDOM=4711

attach_works() {
    must attach "$image"
    printed "/dev/mapper/$name" "/dev/mapper/${name}p1"
    same_bytes "/dev/mapper/$name" "$work/expected/small1"
    must detach "$name"
    nothing_left "an ordinary attach and detach $1"
}

# signal_each SIGNAL: the signal comes with the first ioctl, the second, ... until an attach makes no more.
signal_each() {
    local number=0
    while :; do
        number=$((number + 1))
        status=0
        { strace -o "$work/strace" -e trace=ioctl -e "inject=ioctl:signal=$1:when=$number" "$vmdk_dm" attach "$image" \
            >"$work/out" 2>"$work/err" || status=$?; } 2>/dev/null
        if [ "$status" -eq 0 ]; then
            must detach "$name"
            nothing_left "an attach with $1 at ioctl $number that went well"
            grep -q -e "--- $1" "$work/strace" || break
        else
            [ ! -s "$work/out" ] || fail "$1 at ioctl $number: stdout says that it is attached, and it is not"
            nothing_left "$1 at ioctl $number"
        fi
    done
    printf '  %d ioctls\n' $((number - 1))
    [ "$number" -gt 15 ] || fail "an attach with only $number ioctls"
    attach_works "after $1"
}

check 'SIGKILL at each ioctl'
signal_each SIGKILL
check 'SIGTERM at each ioctl'
signal_each SIGTERM

# Disk and partition, to stay.
is_attached_whole() {
    local devices
    [ -b "/dev/mapper/$name" ] && [ -b "/dev/mapper/${name}p1" ] || return 1
    devices=$(dmsetup info)
    [[ $devices == *LIVE*LIVE* && $devices != *DEFERRED* ]]
}

# signal_at_random SIGNAL TARGET ROUNDS: TARGET is '' for the process, '-' for its whole process group. What prints its
# paths is attached, and what does not print them is not; only SIGKILL may come between attaching and printing.
signal_at_random() {
    local signal=$1 target=$2 round moment process died=0
    for ((round = 0; round < $3; round++)); do
        moment=$((RANDOM * duration / 32768))
        # A job of its own has a process group of its own, and does not ignore SIGINT.
        set -m
        "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err" &
        process=$!
        set +m
        read -r -t "$((moment / 1000)).$(printf %03d $((moment % 1000)))" _ <&"$never" || true
        kill "-$signal" -- "$target$process" 2>/dev/null || true
        status=0
        wait "$process" 2>/dev/null || status=$?
        [ "$status" -eq 0 ] || died=$((died + 1))
        if [ -s "$work/out" ] || { [ "$signal" = KILL ] && is_attached_whole; }; then
            is_attached_whole || fail "$signal after $moment ms (exit status $status): not attached entirely"
            must detach "$name"
        fi
        nothing_left "$signal after $moment ms (exit status $status)"
    done
    printf '  %d times, %d came before the end\n' "$3" "$died"
}

before=$(now_ms)
must attach "$image"
duration=$(($(now_ms) - before))
must detach "$name"
for round in 'KILL 18' 'KILL 12 -' 'INT 8 -' 'TERM 8'; do
    read -r signal rounds target <<<"$round"
    check "SIG$signal at any moment of $duration ms${target:+, to the whole process group}"
    signal_at_random "$signal" "$target" "$rounds"
done
attach_works 'after all that'

check 'an empty device that a kill of everything left is removed by the next attach'
read -r device inode < <(stat -c '%d %i' "$image")
uuid=$(printf 'VMDK-%x.%x-disk' "$device" "$inode")
dmsetup create "$name" --uuid "$uuid" --notable
attach_works 'over debris'
dmsetup create "$name" --uuid "$uuid" --notable
dmsetup create "${name}p1" --uuid "part1-$uuid" --notable
must attach --name vmdkdm-test-other "$image"
must detach vmdkdm-test-other
nothing_left 'an attach under another name'
conclude
