/**
 * Shell scripts that put a block device through what people do with disks. Each leaves the device as free as it found
 * it, and fails loudly. They expect bash, root and a device of at least 400 MiB whose content does not matter.
 */

export interface FioCase {
  readonly depth: 1 | 32;
  readonly direct: boolean;
}

/** Random writes and reads of 512 B to 1 MiB, every byte verified by crc32c. `seed` may be an expression of the shell. */
export function fioVerify(device: string, { depth, direct }: FioCase, seed: number | string): string {
  const options = [
    'name=verify',
    `filename=${device}`,
    'rw=randrw',
    'rwmixread=30',
    'bssplit=512/20:4k/40:7k/10:64k/20:256k/7:1m/3',
    'blockalign=512',
    `ioengine=${direct ? 'libaio' : 'psync'}`,
    `iodepth=${direct ? depth : 1}`,
    // Without O_DIRECT an engine is synchronous: depth then comes from jobs, each in its own part of the disk.
    `numjobs=${direct ? 1 : Math.min(depth, 4)}`,
    `direct=${direct ? 1 : 0}`,
    // One at a time is slow under emulation, and finds nothing by being long.
    `size=${depth === 1 ? 8 : 16}m`,
    'offset_increment=32m',
    'verify=crc32c',
    'verify_fatal=1',
    'do_verify=1',
    'serialize_overlap=0',
    `randseed=${seed}`,
    'end_fsync=1',
    'group_reporting=1',
    'output-format=terse',
  ];
  return `echo "fio seed ${seed}"; fio ${options.map((option) => `--${option}`).join(' ')}`;
}

/**
 * Passes of `fioVerify` one after the other until `path` exists, and one more. Not passes that fio repeats by itself:
 * those overwrite blocks that it then verifies with an older seed.
 */
export function fioVerifyUntil(path: string, device: string, fioCase: FioCase, seed: number): string {
  return `
    rm -f ${path}
    for ((pass = 0, over = 0; over == 0; pass++)); do
      if [ -e ${path} ]; then over=1; fi
      ${fioVerify(device, fioCase, `$((${seed} + pass))`)}
    done`;
}

export type FileSystem = 'ext4' | 'xfs' | 'btrfs';

const MKFS: Record<FileSystem, string> = {
  ext4: 'mkfs.ext4 -qF',
  xfs: 'mkfs.xfs -qf',
  btrfs: 'mkfs.btrfs -qf',
};

const CHECK: Record<FileSystem, (device: string) => string> = {
  ext4: (device) => `e2fsck -fn ${device}`,
  xfs: (device) => `xfs_repair -n ${device}`,
  btrfs: (device) => `btrfs check ${device}`,
};

/** mkfs, mount, copy a tree, compare; remount, compare again, check the file system; delete and trim. */
export function fileSystem(device: string, kind: FileSystem, tree: string): string {
  return `
    mkdir -p /mnt/disk
    ${MKFS[kind]} ${device}
    mount ${device} /mnt/disk
    trap 'umount /mnt/disk 2>/dev/null || true' EXIT
    cp -r ${tree} /mnt/disk/tree
    (cd ${tree} && find . -type f -print0 | sort -z | xargs -0 sha256sum) > /tmp/tree.sums
    (cd /mnt/disk/tree && sha256sum --quiet -c /tmp/tree.sums)
    umount /mnt/disk
    mount ${device} /mnt/disk
    (cd /mnt/disk/tree && sha256sum --quiet -c /tmp/tree.sums)
    ${kind === 'btrfs' ? 'btrfs scrub start -B /mnt/disk | tee /tmp/scrub; grep -q "no errors found" /tmp/scrub' : ''}
    umount /mnt/disk
    ${CHECK[kind](device)} > /tmp/check 2>&1 || { cat /tmp/check; exit 1; }
  `;
}

/** Fills a file on a new ext4, deletes it, and trims. Run `before` and `after` by the caller to see space come back. */
export const trim = {
  fill: (device: string): string => `
    mkfs.ext4 -qF ${device}; mkdir -p /mnt/disk; mount ${device} /mnt/disk
    dd if=/dev/urandom of=/mnt/disk/big bs=1M count=64 conv=fsync status=none`,
  release: `
    rm /mnt/disk/big; sync -f /mnt/disk
    fstrim -v /mnt/disk
    umount /mnt/disk`,
};

/** blkdiscard succeeds; blkdiscard -z leaves nothing but zeros, in the range and not beside it. */
export function discardAndZero(device: string): string {
  return `
    dd if=/dev/urandom of=/tmp/random bs=1M count=9 status=none
    dd if=/tmp/random of=${device} bs=1M oflag=direct status=none
    blkdiscard -z -o 1048576 -l 4194304 ${device}
    cmp -n 1048576 /tmp/random ${device}
    cmp -n 4194304 -i 0:1048576 /dev/zero ${device}
    cmp -n 4194304 -i 5242880 /tmp/random ${device}
    # Not a multiple of any chunk: the edges are zeroed too, and only they.
    blkdiscard -z -o 6292480 -l 1537536 ${device}
    cmp -n 1537536 -i 0:6292480 /dev/zero ${device}
    cmp -n 1024 -i 6291456 /tmp/random ${device}
    cmp -n 1048576 -i 7830016 /tmp/random ${device}
    blkdiscard ${device}
  `;
}

/** Reading and writing across the end of the disk fails cleanly, and the last sector is still there. */
export function acrossTheEnd(device: string): string {
  return `
    sectors=$(blockdev --getsz ${device})
    dd if=/dev/urandom of=/tmp/last bs=512 count=1 status=none
    dd if=/tmp/last of=${device} bs=512 seek=$((sectors - 1)) oflag=direct status=none
    if dd if=/dev/zero of=${device} bs=512 count=8 seek=$((sectors - 1)) oflag=direct 2> /tmp/dd.err; then
      echo 'a write beyond the end was accepted' >&2; exit 1
    fi
    grep -q 'No space left' /tmp/dd.err
    test $(dd if=${device} bs=512 skip=$((sectors - 1)) count=8 status=none | wc -c) = 512
    test $(dd if=${device} bs=512 skip=$sectors count=1 status=none 2> /dev/null | wc -c) = 0
  `;
}
