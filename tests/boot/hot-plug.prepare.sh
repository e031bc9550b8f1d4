#!/usr/bin/env bash
# What the machine of hot-plug.sh finds when it starts: an entry on a disk that is not there yet.
. "$(dirname -- "$0")/prepare.sh"

modprobe -a virtio_console virtio_scsi sd_mod
plug() {
    local port
    for port in /sys/class/virtio-ports/*; do
        [ "$(<"$port/name")" != plug ] || echo "$1" >"/dev/${port##*/}"
    done
}
plug plug
host /dev/sda stick /mnt/stick
mkdir /mnt/stick/vm
partitioned /mnt/stick/vm/guest-flat.vmdk 8M guest
descriptor /mnt/stick/vm/guest.vmdk guest-flat.vmdk
umount /mnt/stick
plug unplug
while [ -b /dev/sda ]; do sleep 0.1; done

cat >/etc/vmdktab <<'END_OF_TABLE'
guest LABEL=stick:/vm/guest.vmdk nofail
END_OF_TABLE
cat >>/etc/fstab <<'END_OF_FSTAB'
/dev/mapper/guest1 /mnt/guest ext4 ro,X-mount.mkdir,noauto,x-systemd.wanted-by=dev-mapper-guest1.device 0 0
END_OF_FSTAB
