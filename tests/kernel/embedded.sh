#!/usr/bin/env bash
# vmdk-dm shell, run and copy-out: what they do, what cannot be reached from inside, and that nothing is left. They start an
# embedded kernel of their own, so this test runs outside, as root or not; as root most of it runs as nobody, too.
#
#   bash tests/kernel/embedded.sh build/release/vmdk-dm
set -eu
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
here=$(dirname -- "$(readlink -f -- "$0")")
vmdk_dm=$(readlink -f -- "${1:?usage: ${0##*/} PATH-OF-VMDK-DM}")
"$here/../../scripts/install-dependencies" embedded || {
    echo 'run-in-kernel: the embedded kernel needs the packages named above'
    exit 77
}

# One that is found first in PATH may be a version manager's, in a home.
python=/usr/bin/python3
work=$(mktemp -d /tmp/vmdkdm-test.XXXXXX)
listener=''
finish() {
    [ -z "$listener" ] || kill "$listener" 2>/dev/null || true
    rm -rf -- "$work"
}
trap finish EXIT
checks=0
check() {
    checks=$((checks + 1))
    printf -- '- %s\n' "$1"
}
fail() {
    printf 'FAIL: %s\n' "$1"
    for stream in out err; do
        [ ! -s "$work/$stream" ] || { printf 'the last std%s said:\n' "$stream"; head -n 40 -- "$work/$stream"; }
    done
    exit 1
}
says() { [[ $(<"$work/err") == *"$1"* ]] || fail "the message does not say: $1"; }

# Unprivileged, if that can be had; for root a copy of the program that nobody may read.
as_user=()
cp -- "$vmdk_dm" "$work/vmdk-dm"
vmdk_dm=$work/vmdk-dm
[ "$EUID" -ne 0 ] || as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups)
chmod 755 "$work"
cp -- "$here/embedded_terminal.py" "$here/embedded_probe.py" "$work"
mkdir "$work/images" "$work/home" "$work/copies"
echo canary >"$work/home/secret"
echo other >"$work/home/other"
[ "$EUID" -ne 0 ] || chown -R 65534:65534 "$work/home" "$work/copies"

# try ARGUMENT...: exit status in $status.
try() {
    status=0
    "${as_user[@]}" "$vmdk_dm" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
}
ends_with() {
    try "${@:2}"
    [ "$status" -eq "$1" ] || fail "exit status $status, expected $1, of: vmdk-dm ${*:2}"
}

# A disk with two partitions: ext4 with all kinds of files, and a FAT.
mkdir -p "$work/tree/directory" "$work/tree/odd"
echo 'hello from the image' >"$work/tree/readme.txt"
head -c 3000000 /dev/urandom >"$work/tree/directory/random"
truncate -s 8M "$work/tree/directory/sparse"
printf end | dd of="$work/tree/directory/sparse" bs=1 seek=5000000 conv=notrunc status=none
cp /bin/true "$work/tree/setuid"
chmod 6755 "$work/tree/setuid"
echo nobody >"$work/tree/unreadable"
chmod 000 "$work/tree/unreadable"
ln -s /etc/passwd "$work/tree/absolute"
ln -s ../../../../../../../../etc "$work/tree/up"
ln -s directory/random "$work/tree/relative"
mkfifo "$work/tree/odd/fifo"
touch "$work/tree/odd/$(printf 'red\033[31mname\nline')" -d '2001-02-03 04:05:06 UTC'
printf '\001' >"$work/tree/odd/-rf"
truncate -s 64M "$work/disk"
printf 'label: gpt\nstart=2048, size=65536, type=linux\nstart=67584, size=40960, type=linux\n' | sfdisk --quiet "$work/disk"
mke2fs -q -t ext4 -L "$(printf 'red\033[31m\302\233')" -d "$work/tree" -E offset=1048576 "$work/disk" 32M
printf 'cd /odd\nmknod device b 1 2\n' >"$work/commands"
debugfs -w -f "$work/commands" "$work/disk?offset=1048576" >/dev/null 2>&1
truncate -s 20M "$work/fat"
mkfs.fat "$work/fat" >/dev/null
dd if="$work/fat" of="$work/disk" bs=512 seek=67584 conv=notrunc,sparse status=none
mv "$work/disk" "$work/images/web-flat.vmdk"
truncate -s 4M "$work/images/empty-flat.vmdk"
for image in 'web 131072' 'empty 8192'; do
    name=${image% *}
    cat >"$work/images/$name.vmdk" <<END
# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="monolithicFlat"
RW ${image#* } FLAT "$name-flat.vmdk" 0
END
done
image=$work/images/web.vmdk
facts() { (cd "$work/images" && find . -type f -printf '%p %m %s %T@\n' -exec sha256sum {} + | sort); }
facts >"$work/facts"

# Processes of ours that are left, the embedded kernel's included: it holds the image open, and nobody else does.
left() { find /proc/[0-9]*/fd -lname "$work/images/*" 2>/dev/null; }
nothing_left() {
    local waited
    for ((waited = 0; waited < 600; waited++)); do
        [ -n "$(left)" ] || return 0
        sleep 0.1
    done
    fail "processes are left after $1: $(left)"
}

ends_with 0 run "$image" -- cat 1/readme.txt
[ "$(<"$work/out")" = 'hello from the image' ] || fail 'not what is in the file'
[ ! -s "$work/err" ] || fail 'something on standard error'
check "an unprivileged user reads a file of the image"

ends_with 23 run "$image" -- sh -c 'echo out; echo err >&2; id -u; blockdev --getro /dev/mapper/web; exit 23'
[ "$(<"$work/out") $(<"$work/err")" = $'out\n0\n1 err' ] || fail 'the streams are mixed'
check "standard output, standard error and exit status are the command's"

"${as_user[@]}" "$vmdk_dm" run "$image" -- sh -c 'cat; cat >&2 1/directory/random' <"$work/tree/directory/random" \
    >"$work/out" 2>"$work/err" || fail 'cat failed'
for stream in out err; do
    cmp "$work/$stream" "$work/tree/directory/random" || fail 'bytes have changed'
done
check "three megabytes of any bytes go in, and out by both streams"

status=0
printf 'cd 1\nls -d readme.txt\nexit 5\n' | "${as_user[@]}" "$vmdk_dm" shell "$image" >"$work/out" 2>"$work/err" || status=$?
[ "$status $(<"$work/out")" = '5 readme.txt' ] || fail "a script on standard input: status $status"
check "a shell without a terminal reads a script"

on_terminal='import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))'
# shellcheck disable=SC2016 # expanded inside
words='printf "%s" "$0"; printf "%s" "$0" >&2'
text=$'a\tb\n\033]0;title\a\302\233 \303\244\n'
"${as_user[@]}" "$python" -c "$on_terminal" "$vmdk_dm" run "$image" -- sh -c "$words" "$text" >"$work/out" 2>"$work/err" </dev/null ||
    fail 'run on a terminal'
[ "$(tr -d '\r' <"$work/out" | sort -u)" = $'\\x1b]0;title\\x07\\xc2\\x9b \303\244\na\tb' ] || fail 'not escaped on a terminal'
ends_with 0 run "$image" -- sh -c "$words" "$text"
[ "$(<"$work/out")$(<"$work/err")" = "${text%?}${text%?}" ] || fail 'not the exact bytes in a file'
check "what a command writes is escaped on a terminal, and exact elsewhere"

timeout 900 "${as_user[@]}" "$python" "$work/embedded_terminal.py" "$vmdk_dm" "$image" || fail 'a session at a terminal'
checks=$((checks + 10))

# A system without filters of system calls, or so it looks: seccomp() is not there.
cat >"$work/without-filters" <<END
#!/usr/bin/python3
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
number = {"x86_64": 317, "aarch64": 277}[os.uname().machine]
program = struct.pack("HBBI", 0x20, 0, 0, 0) + struct.pack("HBBI", 0x15, 0, 1, number)
program += struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 38) + struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)
buffer = ctypes.create_string_buffer(program)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer)))
libc.prctl(38, 1, 0, 0, 0)
libc.prctl(22, 2, filter, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
END
chmod 755 "$work/without-filters"
"${as_user[@]}" "$work/without-filters" "$vmdk_dm" run "$image" -- cat 1/readme.txt >"$work/out" 2>"$work/err" </dev/null || fail 'it needs filters'
[ "$(<"$work/out")" = 'hello from the image' ] || fail 'not what is in the file'
says 'note: the embedded kernel runs without a system call filter, which this system does not grant (Function not implemented)'
check "without filters of system calls it works, and says so"

# Out of reach, for a command inside. A server that would hear it; a file of the user's; the image itself.
"$python" -c 'import socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(600)' >"$work/port" &
listener=$!
while [ ! -s "$work/port" ]; do sleep 0.05; done
mkdir "$work/shown"
cp "$work/embedded_probe.py" "$work/shown/probe.py"
probe_arguments=("$work/home/secret" "$work/images/web-flat.vmdk" "$(<"$work/port")")
ends_with 0 run --dir-ro "$work/shown" "$image" -- "$python" "$work/shown/probe.py" "${probe_arguments[@]}" --inside
[ "$(<"$work/out")" = probed ] || fail 'something can be reached from inside'
check "from inside: no file of the user's, no network, no writing to the image"

# What nobody inside may have, though the caller has it: a file that is open, as 30, and a key in the session keyring.
cat >"$work/with-secrets" <<END
#!/usr/bin/python3
import ctypes, os, sys
libc = ctypes.CDLL(None)
keyctl, add_key = {"x86_64": (250, 248), "aarch64": (219, 217)}[os.uname().machine]
libc.syscall(keyctl, 1, None)
libc.syscall(add_key, b"user", b"vmdkdm-test", b"secret", 6, -3)
os.dup2(os.open("$work/home/secret", os.O_RDWR), 30)
os.execvp(sys.argv[1], sys.argv[1:])
END
chmod 755 "$work/with-secrets"

# The same from where the kernel's own process runs: the sandbox, as it really is, with another program in the kernel's place. With
# \$UNFILTERED, without the filter of system calls: what the other walls are good for.
mkdir "$work/bin"
cat >"$work/bin/bwrap" <<END
#!/usr/bin/python3
import os, sys
words = sys.argv[1:]
if "--" not in words:
    os.execv("$(command -v bwrap)", ["bwrap", *words])
end = words.index("--")
if "UNFILTERED" in os.environ:
    filter = words.index("--seccomp")
    os.close(int(words[filter + 1]))
    del words[filter : filter + 2]
    end -= 2
os.dup2(2, 1)
os.execv("$(command -v bwrap)", ["bwrap", *words[:end], "--", "/usr/bin/python3", "$work/shown/probe.py",
         *"${probe_arguments[*]}".split(), "--sandbox"])
END
chmod 755 "$work/bin/bwrap"
probe_sandbox() {
    status=0
    PATH=$work/bin:$PATH "${as_user[@]}" "$work/with-secrets" env "$@" "$vmdk_dm" run --console --dir-ro "$work/shown" "$image" -- true >"$work/out" 2>"$work/err" </dev/null ||
        status=$?
    [ "$status" -eq 1 ] || fail "the probe in the sandbox: status $status"
    sed '/^vmdk-dm: /,$d' "$work/err" >"$work/reached"
}
probe_sandbox
[ "$(<"$work/reached")" = probed ] || fail 'something can be reached from the sandbox'
check "from the sandbox around the kernel: none of it either, no process of this machine, no descriptor, key or namespace, no io_uring"
probe_sandbox UNFILTERED=1
grep -q -x probed "$work/reached" || fail 'the probe fails without the filter'
# Bubblewrap knows the option since 0.8, and /proc/sys must be writable.
walls='descriptor|key'
case $(bwrap --version) in *' 0.'[0-7].*) ;; *) [ ! -w /proc/sys/user/max_user_namespaces ] || walls+='|user namespace' ;; esac
! grep -E "^($walls)" "$work/reached" || fail 'without the filter of system calls, no wall is left'
check "without the filter, descriptors, keys and user namespaces are out of reach all the same"
# The probe can fail: outside it reaches all of it.
"${as_user[@]}" "$work/with-secrets" "$python" "$work/embedded_probe.py" "$work/home/secret" "$work/home/other" "$(<"$work/port")" --outside >"$work/out" || fail 'the probe fails'
reachable=("file $work/home/secret" "network ('127.0.0.1'" 'image writable' 'image removable' 'descriptor 30' 'key vmdkdm-test' 'socket netlink' 'user namespace')
for reached in "${reachable[@]}"; do
    grep -qF "$reached" "$work/out" || fail "the probe does not see: $reached"
done
check "the probe sees all of that where it is there"

mkdir "$work/writable"
[ "$EUID" -ne 0 ] || chown 65534:65534 "$work/writable"
ends_with 0 run --dir "$work/writable" "$image" -- cp 1/directory/random "$work/writable/copy"
cmp "$work/writable/copy" "$work/tree/directory/random" || fail 'not what was copied'
ends_with 1 run --dir-ro "$work/writable" "$image" -- touch "$work/writable/more"
try run --dir "$work/writable" "$image" -- sh -c "cd '$work/writable' && cp /bin/true true && mkdir d && { chmod 4755 true; chmod 2755 d; install -m 6755 true other; }"
[ -z "$(find "$work/writable" -perm /6000)" ] || fail 'a file of ours runs as us, whoever starts it'
[ -x "$work/writable/true" ] || fail 'an ordinary permission is refused'
check "a directory shown with --dir can be written to, with --dir-ro it cannot; nothing in it gets set-user-ID bits"

# copy-out.
copies=$work/copies
ends_with 0 copy-out "$image:1:/" "$copies"
for file in random sparse; do
    cmp "$copies/web/directory/$file" "$work/tree/directory/$file" || fail 'bytes have changed'
done
[ "$(stat -c %b "$copies/web/directory/sparse")" -lt 1000 ] || fail 'holes have been filled'
[ "$(stat -c %a "$copies/web/setuid")" = 755 ] || fail 'special permissions are kept'
[ "$(stat -c %a "$copies/web/unreadable")" = 400 ] || fail 'a file that the caller could not read'
[ -z "$(find "$copies/web" ! -type f ! -type d ! -type l)" ] || fail 'special files'
[ "$(find "$copies/web" ! -user "$(stat -c %u "$copies")")" = '' ] || fail 'files of others'
for link in absolute up relative; do
    [ "$(readlink "$copies/web/$link")" = "$(readlink "$work/tree/$link")" ] || fail "the symbolic link $link"
done
[ "$(stat -c %Y "$copies/web/odd/"red*)" = "$(stat -c %Y "$work/tree/odd/"red*)" ] || fail 'a time is lost'
says "web/odd/fifo': left out, as it is a FIFO"
says "web/odd/device': left out, as it is a block device"
check "a whole file system comes out: bytes, holes, times and links, but nothing special, and all of it the caller's"

ends_with 5 copy-out "$image:1:/readme.txt" "$copies/web"
says "'$copies/web/readme.txt' is there already (see --force)"
echo mine >"$copies/web/readme.txt"
rm "$copies/web/relative"
ln -s "$work/home/secret" "$copies/web/relative"
ends_with 0 copy-out --force "$image:1:/" "$copies"
cmp "$copies/web/readme.txt" "$work/tree/readme.txt" || fail 'not replaced'
[ "$(<"$work/home/secret")" = canary ] || fail 'written through a symbolic link'
[ -z "$(find "$copies" -name '.vmdk-dm-*')" ] || fail 'temporary files are left'
check "what is there is kept without --force, and replaced with it; nothing is written through a link"
ends_with 5 copy-out "$image:1:/odd" "$copies/web"
ends_with 0 copy-out "$image:1:/odd/" "$copies/odd"
echo mine >"$copies/odd/-rf"
mkfifo "$copies/odd/device"
ends_with 0 copy-out --force "$image:1:/odd" "$copies"
mkdir "$copies/names"
mkdir "$copies/names/odd"
: >"$(printf '%s/names/odd/red\033[31mname\nline' "$copies")"
[ "$EUID" -ne 0 ] || chown -R 65534:65534 "$copies/names"
chmod 555 "$copies/names/odd"
ends_with 1 copy-out --force "$image:1:/odd" "$copies/names"
chmod 755 "$copies/names/odd"
says "names/odd/red\\x1b[31mname\\x0aline': "
check "names with control characters are shown escaped"

# More than the caller has room for.
mkdir "$copies/little" "$copies/few"
[ "$EUID" -ne 0 ] || chown 65534:65534 "$copies/little" "$copies/few"
ends_with 4 copy-out --max-size 1M "$image:1:/" "$copies/little"
says "little/web': the copy would take more than 1.0 MiB (see --max-size); what has been copied stays"
[ "$(du -s --block-size=1K "$copies/little" | cut -f 1)" -le 1100 ] || fail 'more than was allowed'
ends_with 4 copy-out --max-files 3 "$image:1:/" "$copies/few"
says "few/web': the copy would have more than 3 files and directories (see --max-files); what has been copied stays"
[ "$(find "$copies/few/web" | wc -l)" -le 3 ] || fail 'more than was allowed'
ends_with 0 copy-out --max-size 64K --max-files 1 "$image:1:/readme.txt" "$copies/bounded"
ends_with 2 copy-out --max-files 0 "$image:1:/readme.txt" "$copies/none"
nothing_left 'a copy that is too large'
check "a copy that would be too large, or have too many files, ends there, and says so"

ends_with 0 copy-out "$image:2:/" "$copies/fat"
cp "$image" "$work/images/a:b.vmdk"
facts >"$work/facts"
ends_with 0 copy-out "$work/images/a:b.vmdk:1:/directory/../readme.txt" "$copies/colon"
check "FAT is read too, and a colon may stand in the image's name"

# Errors.
ends_with 6 copy-out "$image:7:/x" "$copies/none"
says "the volume '7' is not there; this is:"
says "ext4 'red\\x1b[31m\\xc2\\x9b'"
[[ $(<"$work/err") != *$'\033'* ]] || fail 'the label drives a terminal'
ends_with 6 copy-out "$image:1:/missing" "$copies/none"
says "'/missing' of the image: No such file or directory"
ends_with 2 copy-out "$image" "$copies/none"
ends_with 6 copy-out "$work/none.vmdk:1:/x" "$copies/none"
ends_with 3 run "$work/images/web-flat.vmdk" -- true
ends_with 127 run "$image" -- no-such-command
ends_with 2 run --mem 1M "$image" -- true
[ ! -e "$copies/none" ] || fail 'a failed copy leaves something'
ends_with 0 run "$work/images/empty.vmdk" -- sh -c 'ls /mnt/empty; ls /dev/mapper/empty'
[ "$(<"$work/out")" = /dev/mapper/empty ] || fail 'a disk without file systems'
check "what cannot be is refused, with its status; a disk without file systems is none of it"

mkdir "$work/nothing"
status=0
PATH=$work/nothing "$vmdk_dm" run "$image" -- true >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 6 ] || fail "without bubblewrap: status $status"
says 'package bubblewrap'
status=0
bwrap --unshare-user --disable-userns --dev-bind / / "$vmdk_dm" run "$image" -- true >"$work/out" 2>"$work/err" || status=$?
[ "$status" -eq 1 ] || fail "without user namespaces: status $status"
says 'the sandbox cannot be made: bwrap: '
says 'user namespaces'
check "what is missing is said, and what to do"

ends_with 124 run --timeout 3 "$image" -- sleep 600
nothing_left 'the time was up'
check "--timeout ends it all with status 124"

# Killed in every way, while something runs inside.
for signal in INT TERM HUP KILL; do
    mkfifo "$work/started.$signal"
    "${as_user[@]}" env --default-signal=INT "$vmdk_dm" run "$image" -- sh -c 'echo started; sleep 600' >"$work/started.$signal" 2>/dev/null </dev/null &
    process=$!
    read -r line <"$work/started.$signal"
    [ "$line" = started ] || fail "it says '$line'"
    kill "-$signal" "$process"
    status=0
    wait "$process" 2>/dev/null || status=$?
    [ "$status" -eq $((128 + $(kill -l "$signal"))) ] || fail "SIG$signal: status $status"
    nothing_left "SIG$signal"
done
check "a signal ends it all, SIGKILL too, and nothing is left"

if [ "$EUID" -eq 0 ]; then
    as_user=()
    cp "$work/images/"web*.vmdk "$work/home"
    chown -R 0:0 "$work/home"
    chmod 700 "$work/home"
    chmod 600 "$work/home/"*
    mkdir -p /run/vmdkdm-test.$$
    trap 'rm -rf -- "/run/vmdkdm-test.$$"; finish' EXIT
    cp "$work/images/"web*.vmdk /run/vmdkdm-test.$$
    ends_with 0 run "$work/home/web.vmdk" -- cat 1/readme.txt /proc/sys/kernel/hostname
    [ "$(<"$work/out")" = $'hello from the image\nembedded' ] || fail 'as root'
    ends_with 0 copy-out "/run/vmdkdm-test.$$/web.vmdk:1:/readme.txt" "$copies/root"
    check "root may do it too, and the image may lie below /run"
fi

facts | cmp -s - "$work/facts" || fail 'the images have changed'
check "the images have not changed"
printf '%s: %d checks\n' "${0##*/}" "$checks"
