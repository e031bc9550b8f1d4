#!/usr/bin/env bash
# What was written through an attached overlay is what overlay merge-to writes out, in both formats: over a flat disk and
# over a sparse one, written in one attach and in two. The images stay as they are.
set -eu
. "$(dirname -- "$0")/lib.sh"
start dd dmsetup
make_images disks 1
make_grain_images inner
remember_images
overlay=$work/overlay
confirmed=0
with_qemu=true
command -v qemu-img >/dev/null || { with_qemu=false && echo 'no qemu-img: the deltas are read by vmdk-dm only'; }

# merged_is EXPECTED IMAGE: in both formats.
merged_is() {
    must overlay merge-to --no-sync --force --hash sha256 --overlay "$overlay" "$2" "$work/merged"
    same_bytes "$work/merged" "$1"
    read -r digest _ < <(sha256sum "$1")
    printed "$work/merged" "SHA256 ($work/merged) = $digest"
    must overlay merge-to --no-sync --force --overlay "$overlay" --format vmdk-delta "$2" "$work/delta.vmdk"
    must check "$work/delta.vmdk"
    must compact --no-sync --force "$work/delta.vmdk" "$work/merged"
    same_bytes "$work/merged" "$1"
    # It knows no images of createType custom.
    if $with_qemu && qemu-img info "$2" >/dev/null 2>&1; then
        confirmed=$((confirmed + 1))
        qemu-img convert -f vmdk -O raw "$work/delta.vmdk" "$work/merged" || fail 'qemu-img cannot read the delta'
        same_bytes "$work/merged" "$1"
    fi
    must hash --overlay "$overlay" "$2"
    printed "sha256  $digest"
}

for image in "$images/disk1/vmdkdm-test-disk1.vmdk" "$images/inner/vmdkdm-test-inner.vmdk"; do
    name=${image##*/}
    name=${name%.vmdk}
    for seed in 1 2; do
        check "$name, attach $seed: what is written to the disk is merged"
        must attach --no-partitions --overlay "$overlay" "$image"
        run_script overlay_stores.py write "/dev/mapper/$name" "$seed"
        dd if="/dev/mapper/$name" of="$work/shown" bs=1M iflag=direct status=none
        refuses 5 overlay merge-to --overlay "$overlay" "$image" "$work/none"
        refuses 5 overlay discard "$overlay"
        must overlay info "$overlay"
        says 'the overlay is attached'
        must detach "$name"
        nothing_left "attach $seed"
        images_unchanged
        merged_is "$work/shown" "$image"
    done

    check "$name: the delta attached by itself is the same disk"
    # Its parent lies below its directory.
    must attach --no-partitions --name vmdkdm-test-delta "$work/delta.vmdk"
    dd if=/dev/mapper/vmdkdm-test-delta of="$work/merged" bs=1M iflag=direct status=none
    same_bytes "$work/merged" "$work/shown"
    must detach vmdkdm-test-delta
    nothing_left 'the delta'

    check "$name: the discarded overlay can be attached again, and shows the image"
    must compact --no-sync --force "$image" "$work/merged"
    must overlay discard "$overlay"
    must attach --no-partitions --overlay "$overlay" "$image"
    dd if="/dev/mapper/$name" of="$work/shown" bs=1M iflag=direct status=none
    same_bytes "$work/shown" "$work/merged"
    must detach "$name"
    rm -f "$overlay" "$work/delta.vmdk"
done

! $with_qemu || [ "$confirmed" -ge 2 ] || fail "qemu-img has read $confirmed deltas"
conclude
