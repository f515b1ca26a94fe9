#!/bin/busybox sh
# PID 1 of the test VM, from the initramfs: puts the host's root under a throw-away overlay and starts the agent.
# Everything here costs boot time under emulation: no process that is not needed, no external tool but busybox.
export PATH=/bin
/bin/busybox --install -s /bin

fail() {
  echo "blockgate-vm: $1" >/dev/console
  poweroff -f
}

mount -t proc proc /proc
mount -t devtmpfs dev /dev
for word in $(cat /proc/cmdline); do
  case $word in
    vm.modules=*) modules=${word#*=} ;;
  esac
done

for module in $(cat /modules/order); do
  insmod "/modules/$module" || fail "cannot load $module"
done

# Lower layer: the host's root, read-only. Upper layer: memory, so writes anywhere work and vanish with the VM.
mkdir -p /lower /upper /root
mount -t virtiofs -o ro root /lower || fail 'cannot mount the shared root'
mount -t tmpfs -o size=75% upper /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /root || fail 'cannot mount the overlay'

mount --move /proc /root/proc
mount --move /dev /root/dev
mount -t sysfs sys /root/sys
mount -t tmpfs run /root/run
mkdir -p /root/dev/pts /root/dev/shm /root/run/vm/host /root/run/vm/results "/root/lib/modules"
ln -sf /proc/self/fd /root/dev/fd
ln -sf /proc/self/fd/0 /root/dev/stdin
ln -sf /proc/self/fd/1 /root/dev/stdout
ln -sf /proc/self/fd/2 /root/dev/stderr
mount -t devpts -o mode=620,ptmxmode=666 pts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t virtiofs host /root/run/vm/host || fail 'cannot mount the session share'
mount -t virtiofs results /root/run/vm/results || fail 'cannot mount the results share'
# A kernel that was only unpacked into the cache has its modules there.
if [ "$modules" != /lib/modules ]; then mount --bind "/root$modules" /root/lib/modules; fi

hostname blockgate-vm
ip link set lo up
# QEMU's user network: the host's loopback is 10.0.2.2, a DNS forwarder is 10.0.2.3.
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2

cp /bin/busybox /guest-agent.sh /root/run/vm/
exec switch_root /root /run/vm/busybox sh -c '/run/vm/busybox sh /run/vm/guest-agent.sh & wait; /run/vm/busybox poweroff -f'
