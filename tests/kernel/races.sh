#!/usr/bin/env bash
# Several processes attach, detach, mount, list, kill and write overlays of the same and of other images, in a random order and
# all at once: no wrong byte at any time, no failure but "somebody else has it" and "it is not there", and at the end nothing
# is left.
#
#   races.sh VMDK-DM [SECONDS [PROCESSES [SEED [udev]]]]
#
# The first half without udevd, the second, where there is one, with it.
set -eu
. "$(dirname -- "$0")/lib.sh"
. "$here/udevd.sh"
seconds=${2:-30} processes=${3:-5} seed=${4:-4711}
start mke2fs mount umount
make_images small 2
make_grain_images inner
make_grain_images ext4
remember_images
"$python" - "$work" "$images" >"$work/plan" <<'END'
import json, sys
work, images = sys.argv[1:]
names = ("small1", "small2", "inner", "ext4")
print(json.dumps([{"image": f"{images}/{name}/vmdkdm-test-{name}.vmdk", "device": f"/dev/mapper/vmdkdm-test-{name}",
                   "disk": f"{work}/expected/{name}", "mount": name == "ext4", "sparse": name in ("inner", "ext4")}
                  for name in names]))
END

# Guards that are on their way home take what is left of what was killed; the next attach does, too.
all_comes_down() {
    try detach --all
    for name in small1 small2 inner ext4; do
        must attach "$images/$name/vmdkdm-test-$name.vmdk"
        same_bytes "/dev/mapper/vmdkdm-test-$name" "$work/expected/$name"
    done
    must detach --all
    nothing_left 'all that'
    images_unchanged
}

check "without udevd: $processes processes, $((seconds / 2)) s, seed $seed"
"$python" "$here/races.py" "$work/plan" "$work" "$vmdk_dm" $((seconds / 2)) "$processes" "$seed"
all_comes_down
start_udevd
install_our_rules
state_before=$state_at_start
kernel_state
state_at_start=$state
check "with udevd: $processes processes, $((seconds - seconds / 2)) s"
"$python" "$here/races.py" "$work/plan" "$work" "$vmdk_dm" $((seconds - seconds / 2)) "$processes" $((seed + 1))
all_comes_down
remove_our_rules
stop_udevd
state_at_start=$state_before
conclude
