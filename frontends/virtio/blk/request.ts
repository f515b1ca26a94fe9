// hot path: see ARCHITECTURE.md "Data plane"

import { IoFlag } from '../../../core/api/device.ts';
import {
  BLK_HEADER_SIZE,
  BLK_RANGE_SIZE,
  SECTOR_SIZE,
  VIRTIO_BLK_ID_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
} from '../abi/virtio-blk.ts';
import type { GuestMemory } from '../memory/guest-memory.ts';
import { Access } from '../memory/mapping.ts';
import { Scatter } from '../memory/scatter.ts';
import { Scratch } from '../memory/scratch.ts';
import type { Chain } from '../virtq/chain.ts';
import { readChain, writeChain } from '../virtq/chain-bytes.ts';
import type { BlkLimits } from './limits.ts';
import { type BlkRange, NO_RANGES, type Slot } from './slot.ts';

/** `parse` says: carry the request out. Any other result is the status to complete it with, VIRTIO_BLK_S_*. */
export const EXECUTE = -1;
/** `parse` says: the request has no place for a status; give it back with length 0. */
export const UNANSWERABLE = -2;

export interface RequestFeatures {
  readonly discard: boolean;
  readonly writeZeroes: boolean;
}

/**
 * Turns descriptor chains into requests (VIRTIO 1.3, 5.2.6), whatever their framing: the first 16 readable bytes are
 * the header, the last writable byte is the status, what lies between is the payload. Range, alignment to blocks and
 * read-only are the volume's to check; what the format itself demands is checked here, on copies.
 */
export class RequestParser {
  readonly #memory: GuestMemory;
  readonly #limits: BlkLimits;
  readonly #features: RequestFeatures;
  readonly #maxPayload: number;
  readonly #scatter: Scatter;
  readonly #header = new Scratch(BLK_HEADER_SIZE);
  readonly #ranges: Scratch;
  /** GET_ID's answer, padded with NUL. */
  readonly #id = new Uint8Array(VIRTIO_BLK_ID_BYTES);

  constructor(memory: GuestMemory, limits: BlkLimits, features: RequestFeatures, serial: string) {
    this.#memory = memory;
    this.#limits = limits;
    this.#features = features;
    this.#maxPayload = limits.sizeMax * limits.segMax;
    this.#scatter = new Scatter(memory);
    this.#ranges = new Scratch(
      BLK_RANGE_SIZE * Math.max(limits.maxDiscardSegments, limits.maxWriteZeroesSegments),
    );
    for (let i = 0; i < Math.min(serial.length, VIRTIO_BLK_ID_BYTES); i++)
      this.#id[i] = serial.charCodeAt(i) & 0x7f;
  }

  /** Fills in `slot` and returns EXECUTE, UNANSWERABLE, or the status of a request that is already over. */
  parse(chain: Chain, slot: Slot): number {
    slot.written = 0;
    slot.length = 0;
    slot.ranges = NO_RANGES;
    slot.writablePayload = chain.writableBytes - 1;
    slot.statusMapping = undefined;
    if (chain.lastWritable < 0) return UNANSWERABLE;
    slot.statusIova = chain.lastWritable;
    const mapping = this.#memory.lookup(chain.lastWritable, Access.WRITE);
    if (mapping === undefined || !mapping.present(chain.lastWritable, chain.lastWritable + 1))
      return UNANSWERABLE;
    slot.statusMapping = mapping;
    if (chain.defect !== undefined) return VIRTIO_BLK_S_IOERR;
    const header = this.#header;
    if (chain.readableBytes < BLK_HEADER_SIZE) {
      chain.defect = 'fewer readable bytes than a header has';
      return VIRTIO_BLK_S_IOERR;
    }
    if (!readChain(chain, this.#memory, 0, BLK_HEADER_SIZE, header)) {
      chain.defect = 'the header is not in readable memory';
      return VIRTIO_BLK_S_IOERR;
    }
    slot.type = header.words[0]!;
    const sector = header.u64(2);
    switch (slot.type) {
      case VIRTIO_BLK_T_IN:
        return this.#readWrite(chain, slot, sector, Access.WRITE);
      case VIRTIO_BLK_T_OUT:
        return this.#readWrite(chain, slot, sector, Access.READ);
      case VIRTIO_BLK_T_FLUSH:
        return EXECUTE;
      case VIRTIO_BLK_T_GET_ID:
        return this.#identify(chain, slot);
      case VIRTIO_BLK_T_DISCARD:
        return this.#features.discard ? this.#discard(chain, slot) : VIRTIO_BLK_S_UNSUPP;
      case VIRTIO_BLK_T_WRITE_ZEROES:
        return this.#features.writeZeroes ? this.#writeZeroes(chain, slot) : VIRTIO_BLK_S_UNSUPP;
      default:
        return VIRTIO_BLK_S_UNSUPP;
    }
  }

  #readWrite(chain: Chain, slot: Slot, sector: number, access: number): number {
    const read = access === Access.WRITE;
    const length = read ? chain.writableBytes - 1 : chain.readableBytes - BLK_HEADER_SIZE;
    if (length % SECTOR_SIZE !== 0 || length > this.#maxPayload || sector < 0) return VIRTIO_BLK_S_IOERR;
    slot.offset = sector * SECTOR_SIZE;
    slot.length = length;
    const scatter = this.#scatter;
    scatter.begin(slot.iov);
    let skip = read ? 0 : BLK_HEADER_SIZE;
    let left = length;
    for (let i = read ? chain.readable : 0; left > 0; i++) {
      const len = chain.len[i]!;
      if (skip >= len) {
        skip -= len;
        continue;
      }
      const take = Math.min(len - skip, left);
      const addr = chain.addr[i]!;
      if (addr < 0 || !scatter.add(addr + skip, take, access)) {
        chain.defect = read
          ? 'the payload is not in writable memory'
          : 'the payload is not in readable memory';
        return VIRTIO_BLK_S_IOERR;
      }
      left -= take;
      skip = 0;
    }
    scatter.finish();
    return EXECUTE;
  }

  /** A shorter buffer gets what fits. */
  #identify(chain: Chain, slot: Slot): number {
    const length = Math.min(VIRTIO_BLK_ID_BYTES, slot.writablePayload);
    if (!writeChain(chain, this.#memory, this.#id, length)) {
      chain.defect = 'the payload is not in writable memory';
      return VIRTIO_BLK_S_IOERR;
    }
    slot.written = length;
    return 0;
  }

  #discard(chain: Chain, slot: Slot): number {
    const { maxDiscardSegments, maxDiscardSectors } = this.#limits;
    return this.#parseRanges(chain, slot, maxDiscardSegments, maxDiscardSectors, 0);
  }

  #writeZeroes(chain: Chain, slot: Slot): number {
    const { maxWriteZeroesSegments, maxWriteZeroesSectors } = this.#limits;
    return this.#parseRanges(
      chain,
      slot,
      maxWriteZeroesSegments,
      maxWriteZeroesSectors,
      VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
    );
  }

  /** All segments are checked before the first is carried out. */
  #parseRanges(chain: Chain, slot: Slot, maxSegments: number, maxSectors: number, allowed: number): number {
    const length = chain.readableBytes - BLK_HEADER_SIZE;
    if (length === 0 || length % BLK_RANGE_SIZE !== 0 || length > maxSegments * BLK_RANGE_SIZE)
      return VIRTIO_BLK_S_IOERR;
    const copy = this.#ranges;
    if (!readChain(chain, this.#memory, BLK_HEADER_SIZE, length, copy)) {
      chain.defect = 'the segments are not in readable memory';
      return VIRTIO_BLK_S_IOERR;
    }
    const ranges: BlkRange[] = [];
    let status = EXECUTE;
    for (let word = 0; word < length / 4; word += BLK_RANGE_SIZE / 4) {
      const sector = copy.u64(word);
      const count = copy.words[word + 2]!;
      const flags = copy.words[word + 3]!;
      if ((flags & ~allowed) !== 0) return VIRTIO_BLK_S_UNSUPP;
      if (sector < 0 || count > maxSectors) status = VIRTIO_BLK_S_IOERR;
      ranges.push({
        offset: sector * SECTOR_SIZE,
        length: count * SECTOR_SIZE,
        flags: flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP ? IoFlag.MAY_UNMAP : 0,
      });
    }
    slot.ranges = ranges;
    slot.rangesStarted = 0;
    return status;
  }
}
