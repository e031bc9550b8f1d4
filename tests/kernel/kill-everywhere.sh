#!/usr/bin/env bash
# Each command is killed at every call with which it changes something, and each of these calls fails in turn: afterwards the
# image can be attached again and reads right, nothing is left, and no file of an image has changed.
#
#   kill-everywhere.sh VMDK-DM [STRIDE [SHIFT [NAME...]]]
#
# STRIDE 1 is the whole sweep, of an hour, by hand. CI takes every so many-th call, other ones in each scenario, in all
# scenarios, and at least one of each kind of call. NAME: only these scenarios.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/stack.sh"
stride=${2:-20} shift_by=${3:-1} only=("${@:4}")
start lvm mdadm cryptsetup mke2fs mount strace umount
export MDADM_NO_UDEV=1
make_images small 1
make_grain_images inner
make_grain_images ext4
make_grain_images stream

# LUKS, a VG and half a mirror, each the whole of an image.
printf 'correct horse' >"$work/key"
blank "$work/vg" 12
blank "$work/luks" 6
blank "$work/half" 6
blank "$work/other" 6
vg=$(loop_of "$work/vg") luks=$(loop_of "$work/luks") half=$(loop_of "$work/half") other=$(loop_of "$work/other")
quiet lvm pvcreate "$vg"
quiet lvm vgcreate -s 1M vg0 "$vg"
for lv in root home; do quiet lvm lvcreate -y -Wn -Zn -L 3M -n "$lv" vg0; done
fill /dev/mapper/vg0-root root
cp /dev/mapper/vg0-root "$work/expected/root"
quiet lvm vgchange -an vg0
quiet cryptsetup luksFormat --batch-mode --type luks1 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file "$work/key" "$luks"
quiet mdadm --create /dev/md/vmdkdm_mirror --run --level=1 --raid-devices=2 --metadata=1.2 --homehost=guest --name=data \
    --bitmap=none --assume-clean "$half" "$other"
quiet mdadm --stop /dev/md/vmdkdm_mirror
for loop in "$vg" "$luks" "$half" "$other"; do losetup --detach "$loop"; done
for name in vg luks half; do wrap "$work/$name" "$name"; done
remember_images

mkdir "$work/mnt" "$work/results"
# Where a file can be without a name until it is whole; elsewhere a kill leaves one with a temporary name.
mount -t tmpfs none "$work/results"
disk=/dev/mapper/vmdkdm-test
small=$images/small1/vmdkdm-test-small1.vmdk

# An overlay in which something was written.
must attach --overlay "$work/written" "$small"
printf 'a written block' | dd of="$disk-small1" bs=4096 seek=3 conv=notrunc,fsync iflag=fullblock status=none
cp "$disk-small1" "$work/expected/written"
must detach vmdkdm-test-small1
must compact "$small" "$work/expected/raw"

"$python" - "$work" "$images" "${only[@]}" >"$work/scenarios" <<'END'
import json, sys
work, images, only = sys.argv[1], sys.argv[2], sys.argv[3:]
disk, overlay = "/dev/mapper/vmdkdm-test-", work + "/overlay"
image = {name: f"{images}/{name}/vmdkdm-test-{name}.vmdk" for name in
         ("small1", "inner", "ext4", "stream", "vg", "luks", "half")}
expected = lambda name: f"{work}/expected/{name}"
detach = lambda name: ["detach", "vmdkdm-test-" + name]
scenarios = []


def add(name, command, after, modes=("kill", "kill-all", "fail"), **further):
    if not only or name in only:
        scenarios.append({"name": name, "command": command, "after": after, "modes": list(modes), **further})


def attach(name, which, *options, **further):
    """Killed or not, attached or not: after that it can be attached, and detached."""
    words = ["attach", *options, image[which]]
    add(name, words, [[words, ["list"]], detach(which)],
        compare={disk + which: expected(further.pop("disk", which))}, **further)


attach("attach", "small1")
attach("attach, exceptions", "inner", "--strategy", "exceptions", every=3)
attach("attach, new overlay", "small1", "--overlay", overlay, every=2)
attach("attach, old overlay", "small1", "--overlay", overlay, every=2, files={overlay: work + "/written"}, disk="written")
attach("attach, cache", "stream", "--cache-dir", work + "/cache", every=2)
words = ["attach", image["small1"]]
add("detach", detach("small1"), [[words, ["list"]], detach("small1")], before=[words],
    compare={disk + "small1": expected("small1")}, changes=True)
words = ["attach", "--overlay", overlay, image["small1"]]
add("detach, overlay", detach("small1"), [[words, ["list"]], detach("small1")], before=[words],
    files={overlay: work + "/written"}, compare={disk + "small1": expected("written")}, changes=True, every=2)
mounted = ["mount", image["ext4"], work + "/mnt"]
gone = [["umount", work + "/mnt"], ["detach", "--all"]]
add("mount", mounted, [gone, mounted, ["umount", work + "/mnt"]], every=2)
# The node of a device that went by itself stays without udevd, until the next of that name.
add("umount", ["umount", work + "/mnt"], [gone, mounted, ["umount", work + "/mnt"]], before=[mounted], changes=True)
for name, options, path in (("vg", [], "vg-vg0-root"), ("luks", ["--key-file", work + "/key"], "luks-0"),
                            ("half", [], "")):
    attached = ["attach", image[name]]
    activate = ["activate", *options, "vmdkdm-test-" + name]
    deactivate = ["deactivate", "vmdkdm-test-" + name]
    compare = {disk + path: expected("root")} if name == "vg" else {}
    add("activate, " + name, activate, [activate, deactivate, detach(name)], before=[attached], compare=compare, every=2)
    add("deactivate, " + name, deactivate, [activate, deactivate, detach(name)], before=[attached, activate],
        compare=compare, changes=True, every=2)
add("overlay discard", ["overlay", "discard", overlay], [["overlay", "info", overlay], ["overlay", "discard", overlay],
    ["attach", "--overlay", overlay, image["small1"]], detach("small1")], files={overlay: work + "/written"}, changes=True)
add("overlay merge-to", ["overlay", "merge-to", "--overlay", overlay, "--format", "raw", image["small1"], work + "/results/merged"],
    [["overlay", "info", overlay]], files={overlay: work + "/written"}, whole={work + "/results/merged": expected("written")})
add("overlay grow", ["attach", "--overlay", overlay, "--overlay-size", "1M", image["small1"]],
    [[["attach", "--overlay", overlay, image["small1"]], ["list"]], detach("small1")],
    files={overlay: work + "/written"}, compare={disk + "small1": expected("written")}, every=3)
add("compact", ["compact", image["small1"], work + "/results/raw"], [["compact", "--force", image["small1"], work + "/results/raw"]],
    whole={work + "/results/raw": expected("raw")})
json.dump(scenarios, sys.stdout)
END
check "each call in turn, every ${stride}th: killed, and failing"
"$python" "$here/everywhere.py" "$work/scenarios" "$work" "$vmdk_dm" "$stride" "$shift_by"
umount "$work/results"
conclude
