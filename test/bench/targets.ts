import type { Guest, GuestGateway } from '../support/guest.ts';

/** One of the two programs under comparison, serving the same file as a disk of the guest. */
export interface Target {
  readonly name: string;
  /** The block device in the guest. */
  readonly device: string;
  /** Process that serves it. */
  readonly pid: number;
}

const FILE = '/bench/disk.img';
const QEMU_DEVICE = 'qsd0';

/** What both serve: a file, or an export of nbdkit. */
export type Store = 'file' | 'nbd';

const NBD_SOCKET = '/run/bench-nbd.sock';

export async function prepareStore(guest: Guest, store: Store, sizeMiB: number): Promise<void> {
  if (store === 'file') await prepareFile(guest, sizeMiB);
  else
    await guest.sh(`
      nbdkit --unix ${NBD_SOCKET} memory ${sizeMiB}M
      modprobe vduse && modprobe virtio_vdpa`);
}

/** Makes the file on an ext4 of its own (the guest's scratch disk /dev/vda), full and in the page cache. */
async function prepareFile(guest: Guest, sizeMiB: number): Promise<void> {
  await guest.sh(`
    mkfs.ext4 -qF /dev/vda && mkdir -p /bench && mount /dev/vda /bench
    dd if=/dev/zero of=${FILE} bs=1M count=${sizeMiB} status=none && sync && cat ${FILE} > /dev/null
    modprobe vduse && modprobe virtio_vdpa`);
}

export async function startBlockgate(
  guest: Guest,
  store: Store,
): Promise<{ gateway: GuestGateway; target: Target }> {
  const backend =
    store === 'file'
      ? { type: 'file', path: FILE }
      : { type: 'nbd', uri: `nbd+unix:///?socket=${NBD_SOCKET}` };
  const gateway = await guest.startGateway({ disks: { bench: { backend } } });
  const device = (await guest.sh('readlink --canonicalize /dev/blockgate/bench')).trim();
  return { gateway, target: { name: 'blockgate', device, pid: await servingPid(guest, 'blockgate-bench') } };
}

/**
 * Without QEMU's lock, since blockgate has the file locked: both are attached for the whole run, so that each pair of
 * measurements is seconds apart. Only one of them is used at a time.
 */
export async function startQemu(guest: Guest, store: Store): Promise<Target> {
  const options = `id=e0,node-name=f0,name=${QEMU_DEVICE},num-queues=1,queue-size=256,writable=on`;
  const blockdev =
    store === 'file'
      ? `driver=file,node-name=f0,filename=${FILE},locking=off`
      : `driver=nbd,node-name=f0,server.type=unix,server.path=${NBD_SOCKET}`;
  await guest.sh(`
    setsid qemu-storage-daemon --blockdev ${blockdev} \
      --export type=vduse-blk,${options} > /run/qsd.log 2>&1 < /dev/null &
    for attempt in $(seq 200); do [ -e /dev/vduse/${QEMU_DEVICE} ] && break; sleep 0.05; done
    vdpa dev add name ${QEMU_DEVICE} mgmtdev vduse || { cat /run/qsd.log >&2; exit 1; }`);
  const name = (await guest.sh(`ls /sys/bus/vdpa/devices/${QEMU_DEVICE}/virtio*/block`)).trim();
  return { name: 'qemu-storage-daemon', device: `/dev/${name}`, pid: await servingPid(guest, QEMU_DEVICE) };
}

export async function stopQemu(guest: Guest, { pid }: Target): Promise<void> {
  await guest.sh(`vdpa dev del ${QEMU_DEVICE}; kill ${pid}`);
}

/** The process that has the VDUSE device open. */
async function servingPid(guest: Guest, device: string): Promise<number> {
  const found = await guest.sh(
    `find /proc/[0-9]*/fd -lname /dev/vduse/${device} 2> /dev/null | cut --delimiter=/ --fields=3 | head -n 1`,
  );
  const pid = Number(found);
  if (!(pid > 0)) throw new Error(`nobody serves ${device}`);
  return pid;
}

/** CPU time in microseconds that a process has used so far, all its threads together. */
export function cpuTimeCommand(pid: number): string {
  // Fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms; the second field, the name, may contain spaces.
  return `sed 's/.*) //' /proc/${pid}/stat | awk '{ print ($12 + $13) * 10000 }'`;
}
