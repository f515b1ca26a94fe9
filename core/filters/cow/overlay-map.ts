import { readFileSync, writeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { GatewayError } from '../../api/errors.ts';

/** What the map counts: bytes of the disk per bit. */
export const GRANULE = 4096;
/** In front of the bits: magic, size of the disk, and when this is the live map the boot of the machine it is of. */
const HEADER = 4096;
const MAGIC = 'BGCOW001';
const PAGE = 4096;

/**
 * Which parts of the disk are in the overlay, one bit each. There are two files of it. The live one is written with
 * every change and never synchronized: it outlives our process, and is believed while the machine has not restarted. The
 * durable one is written by a flush, after the data it speaks of is durable.
 */
export class OverlayMap {
  readonly #bits: Uint8Array;
  readonly #live: FileHandle;
  readonly #durable: FileHandle;
  /** Pages of bits that the durable file has not got. */
  readonly #dirty = new Set<number>();

  private constructor(bits: Uint8Array, live: FileHandle, durable: FileHandle) {
    this.#bits = bits;
    this.#live = live;
    this.#durable = durable;
  }

  /** Takes up what the files hold. Throws `filter.cow-mismatch` when they are of another disk. */
  static async open(size: number, live: FileHandle, durable: FileHandle, path: string): Promise<OverlayMap> {
    const bytes = Math.ceil(size / GRANULE / 8);
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const fromLive = await readMap(live, size, boot, path);
    const fromDurable = await readMap(durable, size, '', path);
    const bits = new Uint8Array(bytes);
    const found = fromLive ?? fromDurable;
    if (found !== undefined) bits.set(found.subarray(0, bytes));
    const map = new OverlayMap(bits, live, durable);
    if (fromLive === undefined) {
      await live.truncate(0);
      await live.write(bits, 0, bits.length, HEADER);
      await live.write(header(size, boot), 0, HEADER, 0);
    }
    if (fromDurable === undefined) await durable.write(header(size, ''), 0, HEADER, 0);
    // The live map may know more than was made durable.
    if (fromLive !== undefined) for (let at = 0; at < bytes; at += PAGE) map.#dirty.add(at / PAGE);
    return map;
  }

  has(granule: number): boolean {
    return (this.#bits[granule >>> 3]! & (1 << (granule & 7))) !== 0;
  }

  /** The data is in the overlay. */
  add(first: number, count: number): void {
    for (let granule = first; granule < first + count; granule++) {
      this.#bits[granule >>> 3]! |= 1 << (granule & 7);
      this.#dirty.add(Math.floor((granule >>> 3) / PAGE));
    }
    const [from, to] = [first >>> 3, (first + count - 1) >>> 3];
    writeSync(this.#live.fd, this.#bits, from, to - from + 1, HEADER + from);
  }

  /** Makes the map durable as it is now, once `syncData` has done the same for the data that it speaks of. */
  async makeDurable(syncData: () => Promise<void>): Promise<void> {
    const pages = [...this.#dirty];
    // What is added meanwhile speaks of data that this flush may not cover: these copies do not have it.
    const copies = pages.map((page) => this.#bits.slice(page * PAGE, (page + 1) * PAGE));
    this.#dirty.clear();
    try {
      await syncData();
      if (pages.length === 0) return;
      for (const [index, page] of pages.entries()) {
        const bytes = copies[index]!;
        await this.#durable.write(bytes, 0, bytes.length, HEADER + page * PAGE);
      }
      await this.#durable.datasync();
    } catch (error) {
      for (const page of pages) this.#dirty.add(page);
      throw error;
    }
  }
}

function header(size: number, boot: string): Uint8Array {
  const bytes = Buffer.alloc(HEADER);
  bytes.write(MAGIC, 0);
  bytes.writeBigUInt64LE(BigInt(size), 8);
  bytes.write(boot, 16);
  return bytes;
}

/** The bits; undefined when there are none, or they are of an earlier boot. */
async function readMap(
  file: FileHandle,
  size: number,
  boot: string,
  path: string,
): Promise<Uint8Array | undefined> {
  const bytes = await file.readFile();
  if (bytes.length < HEADER) return undefined;
  if (bytes.toString('latin1', 0, 8) !== MAGIC) throw mismatch(path, 'One of its files is something else.');
  const other = Number(bytes.readBigUInt64LE(8));
  if (other > size) throw mismatch(path, `It belongs to a disk of ${other} bytes, and this one has ${size}.`);
  return bytes.toString('latin1', 16, 16 + boot.length) === boot ? bytes.subarray(HEADER) : undefined;
}

function mismatch(path: string, why: string): GatewayError {
  return new GatewayError('filter.cow-mismatch', `The overlay ${path} does not belong to this disk.`, {
    why,
    fix: 'Name another file in "file", or remove the overlay with its ".map" and ".live" if what it holds is of no use.',
  });
}
