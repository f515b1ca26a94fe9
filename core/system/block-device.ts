import { readFile } from 'node:fs/promises';
import { SystemError } from './errno.ts';
import { addressOf } from './memory-map.ts';
import { errno, libc } from './native.ts';

/** What the kernel says of a block device. Sizes in bytes. */
export interface BlockGeometry {
  readonly size: number;
  readonly logicalBlockSize: number;
  readonly physicalBlockSize: number;
  readonly readOnly: boolean;
  /** Unit in which discard frees space; undefined where the device has no discard. */
  readonly discardGranularity: number | undefined;
}

const ioctl = libc.func('int ioctl(int fd, uint64_t request, int64_t argument)');

/** linux/fs.h */
const BLKGETSIZE64 = 0x80081272;
const BLKSSZGET = 0x1268;
const BLKPBSZGET = 0x127b;
const BLKROGET = 0x125e;

/** `rdev`: the device's number, from stat(2). Throws `SystemError`. */
export async function blockGeometry(fd: number, rdev: number): Promise<BlockGeometry> {
  const limits = await discardLimits(rdev);
  return {
    size: query(fd, 'BLKGETSIZE64', BLKGETSIZE64),
    logicalBlockSize: query(fd, 'BLKSSZGET', BLKSSZGET),
    physicalBlockSize: query(fd, 'BLKPBSZGET', BLKPBSZGET),
    readOnly: query(fd, 'BLKROGET', BLKROGET) !== 0,
    discardGranularity: limits,
  };
}

/** All of these write an int, or a u64, to where the argument points. */
function query(fd: number, name: string, request: number): number {
  const answer = new Uint32Array(2);
  // SAFETY: the kernel writes at most 8 bytes at `answer`, within the call.
  if ((ioctl(fd, request, addressOf(new Uint8Array(answer.buffer))) as number) !== 0) {
    throw new SystemError(`ioctl(${name})`, errno());
  }
  return answer[0]! + answer[1]! * 2 ** 32;
}

async function discardLimits(rdev: number): Promise<number | undefined> {
  // dev_t as user space encodes it: 12 bits of major from bit 8, minor around them.
  const major = Math.floor(rdev / 256) & 0xfff;
  const minor = (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xffffff00);
  const device = `/sys/dev/block/${major}:${minor}`;
  const read = async (name: string): Promise<number> => {
    // A partition has no queue of its own; its disk's is next to it.
    const text = await readFile(`${device}/queue/${name}`, 'utf8')
      .catch(() => readFile(`${device}/../queue/${name}`, 'utf8'))
      .catch(() => '0');
    return Number(text);
  };
  return (await read('discard_max_bytes')) > 0 ? await read('discard_granularity') : undefined;
}
