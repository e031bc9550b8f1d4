#!/usr/bin/env bash
# The walk-through of docs/examiner.md: its commands are run on evidence that is made here, and print what stands there.
#
#   scripts/run-in-kernel -- bash tests/kernel/examiner.sh build/release/vmdk-dm [--record]
#
# --record writes what they print into the document instead.
set -eu
. "$(dirname -- "$0")/lib.sh"
start mkntfs ntfs-3g umount find diff
here=$(readlink -f -- "$here")
document=$(readlink -f -- "$here/../../docs/examiner.md")
name=vmdkdm-test-desk
if [ "${2:-}" = --record ]; then name=desk; fi

# in_ntfs FILE COMMAND: runs it in the root of the file system.
in_ntfs() {
    mkdir -p "$work/ntfs"
    mount -t ntfs-3g -o loop "$1" "$work/ntfs"
    (cd "$work/ntfs" && eval "$2")
    umount "$work/ntfs"
    wait_until 60 state_is_as_at_start || fail 'the file system that is being made is still in use'
}

make_evidence() {
    local before=$work/before after=$work/after
    truncate -s 24M "$before"
    mkntfs --force --quiet --quick --label Windows "$before" >"$work/mkntfs" 2>&1 || fail "$(<"$work/mkntfs")"
    in_ntfs "$before" 'mkdir -p Users/anna/Documents Users/anna/Downloads Windows/System32/drivers/etc
        echo "Quarterly figures, draft" >Users/anna/Documents/figures.txt
        echo "127.0.0.1 localhost" >Windows/System32/drivers/etc/hosts'
    cp "$before" "$after"
    in_ntfs "$after" 'echo "127.0.0.1 update.example.com" >>Windows/System32/drivers/etc/hosts
        head -c 70000 /dev/zero | tr "\0" M >Users/anna/Downloads/invoice.exe
        rm Users/anna/Documents/figures.txt'
    "$python" "$here/examiner_images.py" "$before" "$after" "$images" "$name"
}

check 'a base and a snapshot of a Windows disk'
make_evidence
remember_images

check 'the commands of docs/examiner.md'
mkdir "$work/bin" "$work/case"
ln -s "$vmdk_dm" "$work/bin/vmdk-dm"
cp -p "$images"/* "$work/case"
PATH=$work/bin:$PATH
cd "$work/case"
options=()
if [ "$name" = desk ]; then options=(--record); fi
"$python" "$here/examiner.py" "${options[@]}" "$document" "$name" || fail 'docs/examiner.md is not what happens'
cd /
conclude
