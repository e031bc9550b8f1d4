#!/usr/bin/env bash
# What the machine of at-boot.sh finds when it starts: two host disks, images on them and on the root, vmdktab, fstab and crypttab.
. "$(dirname -- "$0")/prepare.sh"
modprobe dm_crypt

host /dev/vda host-one /mnt/one
host /dev/vdb 'host two%' /mnt/two
mkdir -p /srv/images '/srv/with blank %h' /mnt/one/vm /mnt/two/vm

# Two that have nothing to wait for.
for name in left right; do
    partitioned "/srv/images/$name-flat.vmdk" 8M "$name"
    descriptor "/srv/images/$name.vmdk" "$name-flat.vmdk"
done

# A name and a path that must be escaped; asked for by fstab alone, as it is noauto.
partitioned '/srv/with blank %h/odd-flat.vmdk' 8M odd
descriptor '/srv/with blank %h/odd.vmdk' odd-flat.vmdk

# A chain over three file systems: the snapshot on a host disk, its parent on a bind mount, the parent's extent on the root.
mkdir -p /srv/elsewhere /mnt/bound
partitioned /srv/images/base-flat.vmdk 8M chain
descriptor /srv/elsewhere/base.vmdk /srv/images/base-flat.vmdk
snapshot /mnt/two/vm/chain.vmdk /srv/elsewhere/base.vmdk /mnt/bound/base.vmdk
# One whose descriptor alone says that another file system is needed.
partitioned /mnt/two/vm/far-flat.vmdk 8M far
descriptor /srv/images/far.vmdk /mnt/two/vm/far-flat.vmdk

# A volume group, found by the label of what is in it.
volume() {
    pvcreate -q -ff -y "$1"
    vgcreate -q inner-vg "$1"
    lvcreate -q -y --wipesignatures n --zero n --extents 100%FREE --name data inner-vg
    mke2fs -q -F -t ext4 -L in-lvm /dev/inner-vg/data
    mount /dev/inner-vg/data /mnt/inner && echo in-lvm >/mnt/inner/who && umount /mnt/inner
    vgchange -q --activate n inner-vg
}
mkdir -p /mnt/inner
truncate --size 24M /mnt/one/vm/lvm-flat.vmdk
on_loop /mnt/one/vm/lvm-flat.vmdk volume
descriptor /mnt/one/vm/lvm.vmdk lvm-flat.vmdk

# A container, found by its UUID.
printf secret >/etc/vault.key
chmod 600 /etc/vault.key
container() {
    cryptsetup luksFormat --batch-mode --type luks1 --uuid 11112222-3333-4444-5555-666677778888 \
        --pbkdf-force-iterations 1000 --key-file /etc/vault.key "$1"
    cryptsetup open --key-file /etc/vault.key "$1" preparing
    mke2fs -q -F -t ext4 -L in-luks /dev/mapper/preparing
    mount /dev/mapper/preparing /mnt/inner && echo in-luks >/mnt/inner/who && umount /mnt/inner
    cryptsetup close preparing
}
truncate --size 12M /mnt/one/vm/luks-flat.vmdk
on_loop /mnt/one/vm/luks-flat.vmdk container
descriptor /mnt/one/vm/luks.vmdk luks-flat.vmdk

# One that is written to, with an overlay beside it, and one in place.
file_system /mnt/one/vm/written-flat.vmdk 8M written
descriptor /mnt/one/vm/written.vmdk written-flat.vmdk
truncate --size 8M /mnt/one/vm/in-place-flat.vmdk
mke2fs -q -F -t ext4 -L in-place /mnt/one/vm/in-place-flat.vmdk
descriptor /mnt/one/vm/in-place.vmdk in-place-flat.vmdk

umount /mnt/one /mnt/two

cat >/etc/vmdktab <<'END_OF_TABLE'
# name      image                               options
left        /srv/images/left.vmdk
this line is broken
right       /srv/images/right.vmdk              -
a-b+c.d@e:f#g=h_1 /srv/with\040blank\040%h/odd.vmdk noauto
chain       /mnt/two/vm/chain.vmdk              search-dir=/mnt/bound,allow-path=/srv/images
wrong       /srv/images/right.vmdk              no-such-option
lost        /srv/images/lost.vmdk
gone        LABEL=no-such-disk:/x.vmdk          nofail,x-systemd.device-timeout=10min
lost-too    /srv/images/lost-too.vmdk           nofail
far         /srv/images/far.vmdk                allow-path=/mnt
lvm         LABEL=host-one:/vm/lvm.vmdk         expose
luks        LABEL=host-one:/vm/luks.vmdk        expose
written     LABEL=host-one:/vm/written.vmdk     overlay=/vm/written.overlay
in-place    LABEL=host-one:/vm/in-place.vmdk    in-place
END_OF_TABLE

cat >>/etc/fstab <<'END_OF_FSTAB'
LABEL=host\040two%         /mnt/two     ext4 ro 0 0
/srv/elsewhere             /mnt/bound   none bind 0 0
/dev/mapper/chain1         /mnt/chain   ext4 ro,X-mount.mkdir 0 0
/dev/mapper/far1           /mnt/far     ext4 ro,X-mount.mkdir 0 0
/dev/mapper/left1          /mnt/left    ext4 ro,X-mount.mkdir 0 0
/dev/disk/by-vmdk/right-part1 /mnt/right   ext4 ro,X-mount.mkdir 0 0
/dev/mapper/a-b+c.d@e:f#g=h_1p1 /mnt/odd ext4 ro,X-mount.mkdir 0 0
LABEL=in-lvm               /mnt/lvm     ext4 ro,X-mount.mkdir 0 0
/dev/mapper/vault          /mnt/luks    ext4 ro,X-mount.mkdir 0 0
/dev/mapper/written        /mnt/written ext4 X-mount.mkdir 0 0
/dev/mapper/in-place       /mnt/in-place ext4 X-mount.mkdir 0 0
END_OF_FSTAB
echo 'vault UUID=11112222-3333-4444-5555-666677778888 /etc/vault.key luks' >>/etc/crypttab
