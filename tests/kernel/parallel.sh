#!/usr/bin/env bash
# Attaches at the same time: of one image exactly one wins, of several all do.
set -eu
. "$(dirname -- "$0")/lib.sh"
start cp
make_images small 8
remember_images

# together NAME-OPTION IMAGE...: attaches all at once; the exit statuses are in statuses[].
together() {
    local i pids=()
    for ((i = 0; i < $#; i++)); do
        "$vmdk_dm" attach --name "vmdkdm-test-p$i" "${@:i+1:1}" >"$work/out.$i" 2>"$work/err.$i" &
        pids[i]=$!
    done
    statuses=()
    for i in "${!pids[@]}"; do
        statuses[i]=0
        wait "${pids[i]}" || statuses[i]=$?
    done
}

image() { echo "$images/small$1/vmdkdm-test-small$1.vmdk"; }

check 'the same image four times: one wins, the others are told why'
for _ in 1 2 3; do
    together "$(image 1)" "$(image 1)" "$(image 1)" "$(image 1)"
    won=0
    for i in "${!statuses[@]}"; do
        if [ "${statuses[i]}" -eq 0 ]; then
            won=$((won + 1))
            same_bytes "/dev/mapper/vmdkdm-test-p$i" "$work/expected/small1"
        else
            [ "${statuses[i]}" -eq 5 ] || fail "exit status ${statuses[i]}: $(<"$work/err.$i")"
            is_gone "vmdkdm-test-p$i"
            is_gone "vmdkdm-test-p${i}p1"
        fi
    done
    [ "$won" -eq 1 ] || fail "$won attaches of the same image succeeded: $(cat "$work"/err.*)"
    [ "$(loops_on "$images" | wc -l)" -eq 2 ] || fail "loops of a losing attach are left: $(loops_on "$images")"
    must detach --all
    nothing_left 'attaches of the same image'
done

check 'eight images: all succeed'
for _ in 1 2; do
    together "$(image 1)" "$(image 2)" "$(image 3)" "$(image 4)" "$(image 5)" "$(image 6)" "$(image 7)" "$(image 8)"
    for i in "${!statuses[@]}"; do
        [ "${statuses[i]}" -eq 0 ] || fail "exit status ${statuses[i]}: $(<"$work/err.$i")"
        same_bytes "/dev/mapper/vmdkdm-test-p$i" "$work/expected/small$((i + 1))"
    done
    [ "$(loops_on "$images" | wc -l)" -eq 16 ] || fail "not two loops for each: $(loops_on "$images")"
    must detach --all
    nothing_left 'eight attaches'
done

check 'eight detaches at the same time'
together "$(image 1)" "$(image 2)" "$(image 3)" "$(image 4)" "$(image 5)" "$(image 6)" "$(image 7)" "$(image 8)"
pids=()
for i in {0..7}; do
    "$vmdk_dm" detach "vmdkdm-test-p$i" >"$work/out.$i" 2>"$work/err.$i" &
    pids[i]=$!
done
for i in {0..7}; do wait "${pids[i]}" || fail "detach: $(<"$work/err.$i")"; done
nothing_left 'eight detaches'
conclude
