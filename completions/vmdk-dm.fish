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

complete -c vmdk-dm -f
complete -c vmdk-dm -s h -l help -d 'Print help and exit'
complete -c vmdk-dm -n __fish_use_subcommand -l version -d 'Print the version and exit'

complete -c vmdk-dm -n __fish_use_subcommand -a attach -d 'Make disk and partitions of an image appear under /dev/mapper'
complete -c vmdk-dm -n __fish_use_subcommand -a detach -d 'Remove attached disks'
complete -c vmdk-dm -n __fish_use_subcommand -a list -d 'Show what is attached'
complete -c vmdk-dm -n __fish_use_subcommand -a info -d 'Show what an image\'s descriptor says'
complete -c vmdk-dm -n __fish_use_subcommand -a map -d 'Show where every byte of the disk is stored'
complete -c vmdk-dm -n __fish_use_subcommand -a table -d 'Show the loops, devices and tables that attach would make'
complete -c vmdk-dm -n __fish_use_subcommand -a check -d 'Test an image and its parents'

complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table check' -l allow-path -x -a '(__fish_complete_directories)' -d 'Extents may lie below this directory too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table check' -l search-dir -x -a '(__fish_complete_directories)' -d 'Parents of a snapshot are looked for in this directory too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table check' -l allow-devices -d 'Extents may be block devices'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table' -l allow-short -d 'Make the missing tail of a short extent unreadable'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table check' -l layer -x -d 'An older state of a snapshot chain: 1 is the parent'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table' -l ignore-cid -d 'Accept a parent that was written since the snapshot was made'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table' -l use-redundant -d 'Read sparse extents through their redundant grain directories'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table' -l allow-damaged -d 'Make damaged parts unreadable instead of refusing the image'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach table' -l name -x -d 'Name of the device'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach table' -l in-place -d 'Writable: writes go straight into the image\'s files'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach table' -l sector-size -x -a '512 4096' -d 'Logical sector size in bytes'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l no-partitions -d 'Make the disk only'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -s p -l delimiter -x -d 'Put this between disk name and partition number'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach' -l direct-io -x -a 'auto on off' -d 'Direct I/O of the loop devices'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach' -l all -d 'Every disk that vmdk-dm attached'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach' -l deferred -d 'What is in use goes when its last user closes it'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach detach' -l no-udev -d 'Do not wait for udev'
complete -c vmdk-dm -n '__fish_seen_subcommand_from attach detach list info map table check' -l json -d 'Print JSON'
complete -c vmdk-dm -n '__fish_seen_subcommand_from info' -l chain -d 'Show the parents of a snapshot too'
complete -c vmdk-dm -n '__fish_seen_subcommand_from table' -l concise -d 'Print what dmsetup create --concise takes'

complete -c vmdk-dm -n '__fish_seen_subcommand_from attach info map table check detach' -k -a '(__vmdk_dm_images)'
complete -c vmdk-dm -n '__fish_seen_subcommand_from detach' -k -a '(__vmdk_dm_disks)'
