# Fish completion of vmdk-dm(8). Installed in fish/vendor_completions.d. completions/check.sh reads the options out of
# this file: one `complete` a line, the commands written out behind __fish_seen_subcommand_from.

# Names of the attached disks, for root and others alike: `vmdk-dm list` needs root, sysfs does not.
function __vmdk_dm_disks
    for uuid_file in /sys/block/dm-*/dm/uuid
        read -l uuid <$uuid_file 2>/dev/null
        and string match -q 'VMDK-*-disk' -- $uuid
        and read -l name <(string replace -r 'uuid$' name -- $uuid_file) 2>/dev/null
        and printf '%s\tattached disk\n' $name
    end
end

function __vmdk_dm_images
    __fish_complete_suffix .vmdk | string match -ri '.*(?:/|\.vmdk)(?:\t.*)?$'
end

# Names of the entries of the usual table.
function __vmdk_dm_entries
    while read -l name rest
        test -n "$rest"
        and string match -qv '#*' -- $name
        and printf '%s\tentry of vmdktab\n' $name
    end </etc/vmdktab 2>/dev/null
end

complete -c vmdk-dm -f
complete -c vmdk-dm -s h -l help -d 'Print help and exit'
complete -c vmdk-dm -n __fish_use_subcommand -l version -d 'Print the version and exit'

complete -c vmdk-dm -n __fish_use_subcommand -a attach -d 'Make disk and partitions of an image appear under /dev/mapper'
complete -c vmdk-dm -n __fish_use_subcommand -a detach -d 'Remove attached disks'
complete -c vmdk-dm -n __fish_use_subcommand -a mount -d 'Mount file systems of images'
complete -c vmdk-dm -n __fish_use_subcommand -a umount -d 'Unmount, and wait until what mount made is gone'
complete -c vmdk-dm -n __fish_use_subcommand -a shell -d 'A shell beside the file systems of an image, in an embedded kernel'
complete -c vmdk-dm -n __fish_use_subcommand -a run -d 'Run a command beside the file systems of an image, in an embedded kernel'
complete -c vmdk-dm -n __fish_use_subcommand -a copy-out -d 'Copy files out of an image, read by an embedded kernel'
complete -c vmdk-dm -n __fish_use_subcommand -a list -d 'Show what is attached'
complete -c vmdk-dm -n __fish_use_subcommand -a info -d 'Show what an image\'s descriptor says'
complete -c vmdk-dm -n __fish_use_subcommand -a map -d 'Show where every byte of the disk is stored'
complete -c vmdk-dm -n __fish_use_subcommand -a table -d 'Show the loops, devices and tables that attach would make'
complete -c vmdk-dm -n __fish_use_subcommand -a compact -d 'Write the disk to a raw sparse file or a block device'
complete -c vmdk-dm -n __fish_use_subcommand -a hash -d 'Hash the disk, as if it were a raw file'
complete -c vmdk-dm -n __fish_use_subcommand -a verify -d 'Compare the files of a sealed image with its certificate'
complete -c vmdk-dm -n __fish_use_subcommand -a cache -d 'Show or remove what attach has kept of compressed images'
complete -c vmdk-dm -n __fish_use_subcommand -a check -d 'Test an image and its parents'
complete -c vmdk-dm -n __fish_use_subcommand -a overlay -d 'Show, discard or write out what was written to an overlay'
complete -c vmdk-dm -n __fish_use_subcommand -a filesystems -d 'Show what is on a disk'
complete -c vmdk-dm -n __fish_use_subcommand -a activate -d 'Bring up LVM, LUKS, BitLocker and MD on attached disks'
complete -c vmdk-dm -n __fish_use_subcommand -a deactivate -d 'Take down what activate brought up'
complete -c vmdk-dm -n __fish_use_subcommand -a tab -d 'Check the table of what is attached at boot, or add to it'
complete -c vmdk-dm -n __fish_use_subcommand -a generate-cmdline -d 'Print the rd.vmdk= for an image'

complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash verify check overlay filesystems' -l allow-path -x -a '(__fish_complete_directories)' -d 'Extents may lie below this directory too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash verify check overlay filesystems' -l search-dir -x -a '(__fish_complete_directories)' -d 'Parents of a snapshot are looked for in this directory too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash verify check overlay filesystems' -l allow-devices -d 'Extents may be block devices'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash overlay filesystems' -l allow-short -d 'Make the missing tail of a short extent unreadable'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash check overlay filesystems' -l layer -x -d 'An older state of a snapshot chain: 1 is the parent'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash overlay filesystems' -l ignore-cid -d 'Accept a parent that was written since the snapshot was made'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash overlay filesystems' -l use-redundant -d 'Read sparse extents through their redundant grain directories'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out info map table compact hash overlay filesystems' -l allow-damaged -d 'Make damaged parts unreadable instead of refusing the image'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out table tab generate-cmdline' -l name -x -d 'Name of the device'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l in-place -d 'Writable: writes go straight into the image\'s files'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l strategy -x -a 'auto linear exceptions materialise' -d 'How to show a fragmented disk'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out table filesystems' -l sector-size -x -a '512 4096' -d 'Logical sector size in bytes'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l overlay -r -F -d 'Writable: writes go to this file'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l overlay-size -x -d 'How large the overlay may become'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l scratch -d 'Writable: writes go to memory'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l accept-touched -d 'Accept an overlay although a file of the image has another time'
complete -c vmdk-dm -n '__fish_seen_subcommand_from list' -l wait-low -d 'Wait until an overlay is nearly full'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l no-partitions -d 'Make the disk only'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l expose -d 'No quarantine: let udev and LVM find what is on the disk'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -s p -l delimiter -x -d 'Put this between disk name and partition number'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount table' -l direct-io -x -a 'auto off' -d 'Direct I/O of the loop devices'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount filesystems' -l run-dir -x -a '(__fish_complete_directories)' -d 'Where exception stores are written'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount' -l rw -d 'Writable, with --scratch, --overlay or --in-place'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount' -s o -l options -x -d 'Options as in mount -o'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount' -s t -l type -x -d 'The driver'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount' -l owner -x -a '(__fish_complete_users)' -d 'Whose the files are to be'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount' -l mode -x -d 'Permissions of the files, such as 640'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach' -l all -d 'Every disk that vmdk-dm attached'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach' -l deferred -d 'What is in use goes when its last user closes it'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount umount detach filesystems activate deactivate' -l no-udev -d 'Do not wait for udev'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount umount detach list info map table compact hash verify cache check overlay filesystems activate deactivate tab' -l json -d 'Print JSON'
complete -c vmdk-dm -n '__fish_seen_subcommand_from info' -l chain -d 'Show the parents of a snapshot too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from table' -l concise -d 'Print what dmsetup create --concise takes'
complete -c vmdk-dm -n '__fish_seen_subcommand_from map table check' -l deep -d 'Read every compressed grain'
complete -c vmdk-dm -n '__fish_seen_subcommand_from verify' -l deep -d 'Hash the disk too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from verify' -l image -r -k -a '(__vmdk_dm_images)' -d 'Where the image is now'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l seal -r -F -d 'Make a certificate of all files'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l require-seal -r -F -d 'Refuse unless all files are what this certificate says'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach' -l verify -r -F -d 'Compare the files with this certificate afterwards'
complete -c vmdk-dm -n '__fish_seen_subcommand_from compact' -l to-device -d 'OUT is a block device, which is overwritten'
complete -c vmdk-dm -n '__fish_seen_subcommand_from compact overlay' -l force -d 'Replace OUT when it exists'
complete -c vmdk-dm -n '__fish_seen_subcommand_from compact overlay' -l hash -x -a 'md5 sha1 sha256' -d 'Hash the disk in the same pass'
complete -c vmdk-dm -n '__fish_seen_subcommand_from compact overlay' -l no-sync -d 'Do not wait until OUT is on the disk'
complete -c vmdk-dm -n '__fish_seen_subcommand_from map compact hash overlay' -l overlay -r -F -d 'Show the disk with what was written to this overlay'
complete -c vmdk-dm -n '__fish_seen_subcommand_from map compact hash overlay' -l accept-touched -d 'Accept that a file of the image has another time'
complete -c vmdk-dm -n '__fish_seen_subcommand_from overlay' -l format -x -a 'raw vmdk-delta' -d 'What merge-to writes'
complete -c vmdk-dm -n '__fish_seen_subcommand_from hash' -l algorithm -x -a 'md5 sha1 sha256' -d 'Which hashes'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount detach compact hash verify check overlay filesystems' -l progress -x -a 'auto text none json' -d 'Progress on standard error'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out table cache filesystems' -l cache-dir -x -a '(__fish_complete_directories)' -d 'Where the cache is'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach mount shell run copy-out filesystems' -l cache-limit -x -d 'How much the cache may take'
complete -c vmdk-dm -n '__fish_seen_subcommand_from cache' -l clear -d 'Remove what is not in use'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount shell run copy-out filesystems activate' -l key-file -r -F -d 'Key of the encrypted volumes'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount filesystems activate' -l key-fd -x -d 'The same, from a descriptor'
complete -c vmdk-dm -n '__fish_seen_subcommand_from mount filesystems activate' -l key -x -d 'The key of one volume: VOLUME=FILE'
complete -c vmdk-dm -n '__fish_seen_subcommand_from shell run copy-out' -l mem -x -d 'Memory of the embedded kernel'
complete -c vmdk-dm -n '__fish_seen_subcommand_from shell run copy-out' -l timeout -x -d 'End it after this many seconds'
complete -c vmdk-dm -n '__fish_seen_subcommand_from shell run copy-out' -l console -d 'Show the messages of the embedded kernel'
complete -c vmdk-dm -n '__fish_seen_subcommand_from shell run' -l dir -x -a '(__fish_complete_directories)' -d 'Show a directory, writable'
complete -c vmdk-dm -n '__fish_seen_subcommand_from shell run' -l dir-ro -x -a '(__fish_complete_directories)' -d 'Show a directory, read-only'
complete -c vmdk-dm -n '__fish_seen_subcommand_from copy-out' -l force -d 'Replace files that are there already'
complete -c vmdk-dm -n '__fish_seen_subcommand_from copy-out' -l max-size -x -d 'How much the copy may take'
complete -c vmdk-dm -n '__fish_seen_subcommand_from copy-out' -l max-files -x -d 'How many files and directories the copy may have'
complete -c vmdk-dm -n '__fish_seen_subcommand_from activate' -l vg-name -x -d 'Activate the volume group under this name'

complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l table -d 'Attach what the table says'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach tab generate-cmdline' -l table-file -r -F -d 'The table'
complete -c vmdk-dm -n '__fish_seen_subcommand_from tab generate-cmdline' -s o -l options -x -d 'Options of the entry'
complete -c vmdk-dm -n '__fish_seen_subcommand_from tab' -l by-uuid -d 'Name the image by the UUID of its file system'

complete -c vmdk-dm -n '__fish_seen_subcommand_from compact overlay verify run copy-out' -F
complete -c vmdk-dm -n '__fish_seen_subcommand_from tab' -k -a 'check add'
complete -c vmdk-dm -n '__fish_seen_subcommand_from generate-cmdline' -k -a '(__vmdk_dm_entries)'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach; and __fish_contains_opt table' -k -a '(__vmdk_dm_entries)'
complete -c vmdk-dm -n '__fish_seen_subcommand_from overlay' -k -a 'info discard merge-to'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table detach mount umount shell run copy-out compact hash check filesystems activate deactivate tab generate-cmdline' -k -a '(__vmdk_dm_images)'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach umount filesystems activate deactivate' -k -a '(__vmdk_dm_disks)'
