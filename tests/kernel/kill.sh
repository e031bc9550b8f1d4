#!/usr/bin/env bash
# An attach that is killed, at any point, leaves nothing; one that is interrupted cleans up and then dies of the signal.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace
make_images small 1
make_grain_images inner
remember_images
RANDOM=4711
# Whether the overlay is there before each attach, or made by it.
keeps_overlay=true
overlay=$work/overlay

# choose NAME DISK PARTITION DEVICES [OPTION...]: what is attached from here on, which paths it has, how many devices it is
# made of.
choose() {
    image=$images/$1/vmdkdm-test-$1.vmdk
    expected=$work/expected/$1
    disk=$2 partition=$3 devices=$4 options=("${@:5}")
    name=${disk##*/}
}

attach_works() {
    must attach "${options[@]}" "$image"
    printed "$disk" "$partition"
    same_bytes "$disk" "$expected"
    must detach "$name"
    nothing_left "an ordinary attach and detach $1"
}

# signal_each SIGNAL CALL NEEDED [STEP]: the signal comes with the first such call, the second (or STEP further), ... until
# an attach makes no more; at least NEEDED of them are expected.
signal_each() {
    local number=1
    while :; do
        status=0
        $keeps_overlay || rm -f "$overlay"
        { strace -o "$work/strace" -e "trace=$2" -e "inject=$2:signal=$1:when=$number" "$vmdk_dm" attach \
            "${options[@]}" "$image" >"$work/out" 2>"$work/err" || status=$?; } 2>/dev/null
        if [ "$status" -eq 0 ]; then
            must detach "$name"
            nothing_left "an attach with $1 at $2 $number that went well"
            [[ $(<"$work/strace") == *"--- $1"* ]] || break
        else
            [ ! -s "$work/out" ] || fail "$1 at $2 $number: stdout says that it is attached, and it is not"
            nothing_left "$1 at $2 $number"
            # The first ioctl asks for a terminal: nobody watches yet, and what stays is whole and empty.
            $keeps_overlay || [ "$number" -eq 1 ] || [ ! -e "$overlay" ] || fail "$1 at $2 $number: the new overlay is left"
        fi
        number=$((number + ${4:-1}))
    done
    printf '  %d times %s\n' $((number - 1)) "$2"
    [ "$number" -gt "$3" ] || fail "an attach with only $number times $2"
    attach_works "after $1"
}

# All devices, to stay.
is_attached_whole() {
    local info live
    [ -b "$disk" ] && [ -b "$partition" ] || return 1
    info=$(dmsetup info)
    live=${info//[^L]LIVE/}
    [[ $(((${#info} - ${#live}) / 5)) -eq $devices && $info != *DEFERRED* ]]
}

# signal_at_random SIGNAL TARGET ROUNDS: TARGET is '' for the process, '-' for its whole process group. What prints its
# paths is attached, and what does not print them is not; only SIGKILL may come between attaching and printing.
signal_at_random() {
    local signal=$1 target=$2 round moment process died=0
    for ((round = 0; round < $3; round++)); do
        moment=$((RANDOM * duration / 32768))
        # A job of its own has a process group of its own, and does not ignore SIGINT.
        set -m
        "$vmdk_dm" attach "${options[@]}" "$image" >"$work/out" 2>"$work/err" &
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

# at_any_moment ROUND...: each "SIGNAL ROUNDS [TARGET]".
at_any_moment() {
    local round before duration
    before=$(now_ms)
    must attach "${options[@]}" "$image"
    duration=$(($(now_ms) - before))
    is_attached_whole || fail 'an attach that went well is not what this test takes for one'
    must detach "$name"
    for round in "$@"; do
        read -r signal rounds target <<<"$round"
        check "SIG$signal at any moment of $duration ms${target:+, to the whole process group}"
        signal_at_random "$signal" "$target" "$rounds"
    done
    attach_works 'after all that'
}

choose small1 /dev/mapper/vmdkdm-test-small1 /dev/mapper/vmdkdm-test-small1p1 3
check 'SIGKILL at each ioctl'
signal_each SIGKILL ioctl 15
check 'SIGTERM at each ioctl'
signal_each SIGTERM ioctl 15
at_any_moment 'KILL 18' 'KILL 12 -' 'INT 8 -' 'TERM 8'

# Origin, COW device, grains, disk and partition.
choose inner /dev/mapper/vmdkdm-test-inner /dev/mapper/vmdkdm-test-inner1 6 --strategy exceptions
check 'with inner devices: SIGKILL at each ioctl, and while the exception store is written'
signal_each SIGKILL ioctl 40
signal_each SIGKILL mkdir 1
signal_each SIGKILL pwrite64 2
signal_each SIGKILL ftruncate 1
check 'with inner devices: SIGTERM at each seventh ioctl'
signal_each SIGTERM ioctl 35 7
at_any_moment 'KILL 6' 'KILL 6 -' 'TERM 3'

# Base, disk and partition.
choose small1 /dev/mapper/vmdkdm-test-small1 /dev/mapper/vmdkdm-test-small1p1 5 --overlay "$overlay"
check 'with an overlay that is new: SIGKILL at each ioctl, SIGTERM at each third; its file goes too'
keeps_overlay=false
signal_each SIGKILL ioctl 20
signal_each SIGTERM ioctl 20 3
check 'while its file is written; a whole overlay may stay then, which the next attach takes'
keeps_overlay=true
rm -f "$overlay"
signal_each SIGKILL pwrite64 1
rm -f "$overlay"
signal_each SIGKILL fsync 1
check 'with an overlay that was there'
signal_each SIGKILL ioctl 20 4
[ -e "$overlay" ] || fail 'the overlay is gone'
at_any_moment 'KILL 6' 'KILL 4 -' 'TERM 3'
check 'with an overlay in memory'
choose small1 /dev/mapper/vmdkdm-test-small1 /dev/mapper/vmdkdm-test-small1p1 5 --scratch=1M
signal_each SIGKILL ioctl 20 4
at_any_moment 'KILL 6' 'TERM 3'

choose small1 /dev/mapper/vmdkdm-test-small1 /dev/mapper/vmdkdm-test-small1p1 3
check 'an empty device that a kill of everything left is removed by the next attach'
read -r device inode < <(stat -c '%d %i' "$image")
uuid=$(printf 'VMDK-%x.%x-disk' "$device" "$inode")
dmsetup create "$name" --uuid "$uuid" --notable
attach_works 'over debris'
check 'and so are empty inner devices'
for layer in origin cow grains; do
    dmsetup create "$name-$layer" --uuid "${uuid%disk}$layer" --notable
done
attach_works 'over the debris of inner devices'
dmsetup create "$name" --uuid "$uuid" --notable
dmsetup create "${name}p1" --uuid "part1-$uuid" --notable
must attach --name vmdkdm-test-other "$image"
must detach vmdkdm-test-other
nothing_left 'an attach under another name'
conclude
