#!/usr/bin/env bash
# other_kernel.sh KERNEL COMMAND...: run a command as root under another kernel, in an emulated machine that sees this
# one's files; what it writes is gone when it ends.  KERNEL is Debian's package, unpacked.  As root, and no KVM is needed.
# For what this kernel lacks, netem above all: docs/harness.md ("Another kernel") says how.
set -euo pipefail

kernel=$(realpath "$1")
shift
here=$PWD
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

modules=$(echo "$kernel"/lib/modules/*)
mkdir -p "$work"/root/{bin,lib/modules,proc,sys,dev,host,top,new}
cp "$(command -v busybox)" "$work/root/bin/busybox"
cp -r "$modules" "$work/root/lib/modules/"
depmod -b "$work/root" "$(basename "$modules")"
{
  printf 'cd %q; export PATH=%q PYTHONDONTWRITEBYTECODE=1\n' "$here" "$PATH"
  printf '%q ' "$@"
  printf '\necho "the command ended with $?"; /run/busybox poweroff -f\n'
} >"$work/root/command"

cat >"$work/root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in virtio_pci virtiofs overlay veth tun sch_tbf sch_netem; do modprobe \$module; done
mount -t virtiofs host /host
mount -t tmpfs top /top; mkdir /top/upper /top/work
mount -t overlay -o lowerdir=/host,upperdir=/top/upper,workdir=/top/work root /new
mount -t proc proc /new/proc; mount -t sysfs sys /new/sys; mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/shm /new/dev/pts
for place in /run /tmp /dev/shm; do mount -t tmpfs new /new\$place; done
mount -t devpts pts /new/dev/pts
ip link set lo up
hostname other
cp /command /bin/busybox /new/run
umount /proc /sys /dev
exec switch_root /new /run/busybox sh /run/command
INIT
chmod +x "$work/root/init"
(cd "$work/root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs"

/usr/lib/qemu/virtiofsd --socket-path="$work/files" -o source=/ -o sandbox=chroot -o cache=always 2>"$work/virtiofsd.log" &
until [ -S "$work/files" ]; do sleep 0.1; done
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3G -nodefaults -no-reboot -display none -serial stdio \
  -object memory-backend-memfd,id=memory,size=3G,share=on -numa node,memdev=memory \
  -chardev socket,id=files,path="$work/files" -device vhost-user-fs-pci,chardev=files,tag=host \
  -kernel "$kernel"/boot/vmlinuz-* -initrd "$work/initramfs" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on" | tee "$work/said"
grep -q "^the command ended with 0" "$work/said"
