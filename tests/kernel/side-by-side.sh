#!/usr/bin/env bash
# A disk in 40 files, whose loop devices are made by several threads: a call of any of them fails or is killed, a signal comes,
# threads cannot be started, others take loop devices at the same time; either all is attached or nothing.
set -eu
. "$(dirname -- "$0")/lib.sh"
start strace
make_images many 40
remember_images
RANDOM=4711
name=vmdkdm-test-many
image=$images/many/$name.vmdk
expected=$work/expected/many

attach_works() {
    must attach "$image"
    printed "/dev/mapper/$name"
    same_bytes "/dev/mapper/$name" "$expected"
    must detach "$name"
    nothing_left "an ordinary attach and detach $1"
}

# with_strace INJECTION [STRACE-OPTION...]: of each thread and each process, its Nth such call.
with_strace() {
    status=0
    { strace -f -o "$work/strace" -e "trace=${1%%:*}" -e "inject=$1" "${@:2}" "$vmdk_dm" attach "$image" >"$work/out" \
        2>"$work/err" || status=$?; } 2>/dev/null
}

was_injected() {
    local line
    while read -r line; do
        [[ $line != *'(INJECTED)'* && $line != *'killed by SIGKILL'* ]] || return 0
    done <"$work/strace"
    return 1
}

attach_works 'before'
check 'several threads make them'
strace -f -o "$work/strace" -e trace=ioctl "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err"
declare -A threads=()
while read -r thread call; do
    [[ $call != *LOOP_CONFIGURE* ]] || threads[$thread]=1
done <"$work/strace"
printf '  %d threads\n' "${#threads[@]}"
[ "${#threads[@]}" -gt 1 ] || fail 'one thread made all loop devices'
must detach "$name"
nothing_left 'that'

check 'an ioctl of each thread fails, each in turn'
failed=0
for number in 1 3 5 8; do
    with_strace "ioctl:error=EIO:when=$number"
    if [ "$status" -eq 0 ]; then
        must detach "$name"
    else
        failed=$((failed + 1))
        [ -s "$work/err" ] || fail "ioctl $number: a failed attach said nothing"
        [ ! -s "$work/out" ] || fail "ioctl $number: a failed attach printed to stdout"
    fi
    nothing_left "ioctl $number of each thread failed"
done
[ "$failed" -ge 3 ] || fail "only $failed failures were noticed"

check 'one of the loop devices cannot be opened, or configured'
for call in openat:error=EMFILE ioctl:error=EIO; do
    with_strace "$call" -P /dev/loop1017
    was_injected || fail "$call: nothing was injected"
    [ "$status" -ne 0 ] || fail "$call: it was attached all the same"
    nothing_left "$call"
done
says 'cannot configure /dev/loop1017: Input/output error'

check 'somebody else takes one first: another is taken'
with_strace ioctl:error=EBUSY -P /dev/loop1017
was_injected || fail 'nothing was injected'
[ "$status" -eq 0 ] || fail 'a lost race was not borne'
same_bytes "/dev/mapper/$name" "$expected"
must detach "$name"
nothing_left 'a lost race'

# The first processes are the readers of the image; their failure is another test's matter.
check 'threads cannot be started: one does all'
done_alone=0
for number in 2 3 4; do
    with_strace "clone,clone3:error=EAGAIN:when=$number"
    if [ "$status" -eq 0 ] && was_injected; then
        done_alone=$((done_alone + 1))
        same_bytes "/dev/mapper/$name" "$expected"
    fi
    [ "$status" -ne 0 ] || must detach "$name"
    nothing_left "no process or thread at $number"
done
[ "$done_alone" -ge 1 ] || fail 'no attach did without a thread'

check 'killed at an ioctl of any thread'
for number in 2 4 7; do
    with_strace "ioctl:signal=SIGKILL:when=$number"
    [ "$status" -ne 0 ] || must detach "$name"
    nothing_left "SIGKILL at ioctl $number"
done

# Nobody is at work any more, and there is nothing or the disk.
is_decided() {
    state_is_as_at_start || [[ $state != *'process /'* && $state == *"device $name"* ]]
}

check 'interrupted and killed at any moment'
before=$(now_ms)
must attach "$image"
duration=$(($(now_ms) - before))
must detach "$name"
for signal in KILL KILL KILL KILL TERM TERM INT; do
    moment=$((RANDOM * duration / 32768))
    set -m
    "$vmdk_dm" attach "$image" >"$work/out" 2>"$work/err" &
    process=$!
    set +m
    read -r -t "$((moment / 1000)).$(printf %03d $((moment % 1000)))" _ <&"$never" || true
    kill "-$signal" "$process" 2>/dev/null || true
    status=0
    wait "$process" 2>/dev/null || status=$?
    # SIGKILL may also come when all stands and is not printed yet.
    wait_until 60 is_decided || fail "$signal after $moment ms: it is neither attached nor gone: $state"
    if [ -s "$work/out" ] || { [ "$signal" = KILL ] && [ "$state" != "$state_at_start" ]; }; then
        same_bytes "/dev/mapper/$name" "$expected"
        must detach "$name"
    fi
    nothing_left "$signal after $moment ms"
done

check 'several attach at once'
cp -r "$images/many" "$work/second"
"$vmdk_dm" attach --name vmdkdm-test-second "$work/second/$name.vmdk" >"$work/second-out" &
other=$!
must attach "$image"
wait "$other"
same_bytes "/dev/mapper/$name" "$expected"
same_bytes /dev/mapper/vmdkdm-test-second "$expected"
must detach "$name" vmdkdm-test-second
nothing_left 'two attaches at once'
attach_works 'after all that'
conclude
