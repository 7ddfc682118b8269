#!/bin/sh
# First process of the virtual machine. Stage one starts on the host's file system, which is shared
# read-only, and mounts an overlay over it whose upper layer is in memory. Stage two mounts the
# other file systems and runs the job. The job's output goes to serial ports, its exit code to the
# control port. Only the repository is shared writable, at the same path as on the host.
# Kernel command line: bailiff.repo=, bailiff.job= (folder with job.sh), bailiff.kernel= (unpacked
# kernel package).
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

argument() { # prints the value of bailiff.<name> on the kernel command line
	read -r line </proc/cmdline
	for word in $line; do
		case "$word" in "bailiff.$1="*) echo "${word#*=}" ;; esac
	done
}

die() {
	echo "init: $*" >/dev/console
	sleep 1
	echo o >/proc/sysrq-trigger
	sleep 60
}

port() { # prints the device of the serial port <name>
	for dir in /sys/class/virtio-ports/*; do
		read -r name <"$dir/name"
		if [ "$name" = "$1" ]; then echo "/dev/${dir##*/}"; fi
	done
}

copied() { # prints the byte count from the output of dd in <file>
	while read -r count unit _; do
		case "$unit" in byte*) echo "$count" ;; esac
	done <"$1"
}

stage_one() {
	mount -t proc proc /proc || die "no /proc"
	repo=$(argument repo)
	job=$(argument job)
	kernel=$(argument kernel)
	modprobe -d "$kernel/usr" overlay || die "no overlay module in $kernel"
	job_text=$(cat "$job/job.sh") || die "no job in $job"
	mount -t tmpfs -o size=1g,mode=755 tmpfs /mnt || die "no tmpfs"
	mkdir /mnt/upper /mnt/work /mnt/root
	mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || die "no overlay on the root"
	cd /mnt/root || die "no new root"
	mkdir -p proc sys dev tmp run var/tmp mnt
	for dir in tmp var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$dir" || die "no tmpfs on /$dir"; done
	mount -t tmpfs -o mode=755 tmpfs run || die "no /run"
	printf '%s\n' "$job_text" >run/job.sh
	mkdir -p ".$repo" usr/lib/modules
	mount -t virtiofs repo ".$repo" || die "no repository share"
	release=$(uname -r)
	mkdir -p "usr/lib/modules/$release"
	mount --bind "$kernel/usr/lib/modules/$release" "usr/lib/modules/$release" || die "no modules of $release"
	umount /proc
	pivot_root . mnt || die "no pivot_root"
	exec chroot . /bin/sh "$repo/test/vm/init.sh" two
}

stage_two() {
	mount -t proc proc /proc
	umount -l /mnt
	mount -t sysfs sys /sys
	mount -t devtmpfs dev /dev 2>/dev/null
	mkdir -p /dev/pts /dev/shm /dev/mqueue
	mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	mount -t mqueue mqueue /dev/mqueue
	for link in fd: stdin:/0 stdout:/1 stderr:/2; do ln -sfn "/proc/self/fd${link#*:}" "/dev/${link%%:*}"; done
	mount -t securityfs securityfs /sys/kernel/security
	mount -t tracefs tracefs /sys/kernel/tracing
	mount -t debugfs debugfs /sys/kernel/debug
	mount -t bpf bpf /sys/fs/bpf
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
	done
	mkdir -p /run/netns /run/lock
	ip link set lo up
	hostname bailiff-vm 2>/dev/null || echo bailiff-vm >/proc/sys/kernel/hostname
	echo 0 >/proc/sys/kernel/printk_ratelimit

	# A port can be opened once. The job writes to pipes, so that /dev/stdout and /dev/stderr work in
	# it.
	mkfifo /run/out /run/err
	LC_ALL=C dd if=/run/out of="$(port stdout)" bs=64k 2>/run/out.copied &
	out=$!
	LC_ALL=C dd if=/run/err of="$(port stderr)" bs=64k 2>/run/err.copied &
	err=$!
	exec 3>"$(port control)"
	echo "ready $(cut -d' ' -f1 /proc/uptime)" >&3
	/bin/sh /run/job.sh >/run/out 2>/run/err </dev/null 3>&-
	code=$?
	# Remaining processes of the job may keep the pipes open. Kills them after two seconds.
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -0 "$out" 2>/dev/null || kill -0 "$err" 2>/dev/null || break
		sleep 0.1
	done
	if kill -0 "$out" 2>/dev/null || kill -0 "$err" 2>/dev/null; then
		for dir in /proc/[0-9]*; do
			case "${dir#/proc/}" in 1 | "$out" | "$err") ;; *) kill -KILL "${dir#/proc/}" 2>/dev/null ;; esac
		done
	fi
	wait "$out" "$err"
	sync
	# A port accepts output before the host reads it. So the last message contains the number of bytes,
	# and the host ends the machine after it has read them all.
	echo "exit $code $(copied /run/out.copied) $(copied /run/err.copied)" >&3
	sleep 600
	echo o >/proc/sysrq-trigger
	sleep 60
}

if [ "${1:-}" = two ]; then stage_two; else stage_one; fi
