#!/usr/bin/env bash
# Before each boot of boots.sh: the first time it makes what is attached, and a machine that has little else to do; after that it
# sees to it that the boot before has left the host disk clean.
. "$(dirname -- "$0")/prepare.sh"

if [ "$RUN_IN_VM_BOOT" -gt 0 ]; then
    until [ -b /dev/vda ]; do sleep 0.1; done
    if dumpe2fs -h /dev/vda 2>&1 | grep needs_recovery; then exit 1; fi
    e2fsck -fn /dev/vda
    exit
fi

host /dev/vda host-disk /mnt/host
mkdir -p /srv/images
partitioned /srv/images/left-flat.vmdk 8M left
descriptor /srv/images/left.vmdk left-flat.vmdk
partitioned /mnt/host/right-flat.vmdk 8M right
descriptor /mnt/host/right.vmdk right-flat.vmdk
umount /mnt/host

cat >/etc/vmdktab <<'END_OF_TABLE'
left  /srv/images/left.vmdk
right LABEL=host-disk:/right.vmdk overlay=/right.overlay
END_OF_TABLE
cat >>/etc/fstab <<'END_OF_FSTAB'
/dev/mapper/left1  /mnt/left  ext4 ro,X-mount.mkdir 0 0
/dev/mapper/right1 /mnt/right ext4 X-mount.mkdir 0 0
END_OF_FSTAB

for unit in udisks2.service lvm2-monitor.service blk-availability.service mdmonitor.service systemd-binfmt.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-user-sessions.service \
    kmod-static-nodes.service systemd-sysctl.service dbus.service dbus.socket systemd-tmpfiles-clean.timer; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
for module in configfs drm efi_pstore fuse; do ln -sf /dev/null "/etc/systemd/system/modprobe@$module.service"; done
