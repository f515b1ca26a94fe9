/**
 * Kernels whose VDUSE differs: in the versions of its API, in optional features, and in the number of one ioctl.
 * `7.x-unfinished`, on its way to 7.3, had features but no VDUSE_SET_FEATURES; `future` has more than anybody knows.
 */
export const GENERATIONS = ['6.12', '7.0-first', '7.0', '7.x-unfinished', '7.3', 'future'] as const;
export type KernelGeneration = (typeof GENERATIONS)[number];

const GET_API_VERSION = 0x80088100;
const SET_API_VERSION = 0x40088101;
const GET_FEATURES = 0x80088104;
const SET_FEATURES = 0x40088105;
const EINVAL = 22;
const FEATURES: Partial<Record<KernelGeneration, bigint>> = { '7.x-unfinished': 3n, '7.3': 3n, future: 7n };

/** VDUSE_IOTLB_GET_FD2 of a kernel; undefined before there was any. */
export function getFd2Of(generation: KernelGeneration): number | undefined {
  if (generation === '6.12') return undefined;
  return generation === '7.0-first' ? 0xc058811b : 0xc050811b;
}

/** What an open /dev/vduse/control remembers: with which API the devices made through it are made. */
export class FakeControl {
  readonly generation: KernelGeneration;
  features = 0n;
  #version: bigint | undefined;

  constructor(generation: KernelGeneration) {
    this.generation = generation;
  }

  /** A process that never asked is taken for an old one. */
  get version(): bigint {
    return this.#version ?? 0n;
  }

  /** The ioctls about versions and features; undefined: it is another one. */
  ioctl(request: number, argument: Uint8Array): number | undefined {
    const view = new DataView(argument.buffer, argument.byteOffset, argument.length);
    const offered = FEATURES[this.generation];
    switch (request) {
      case GET_API_VERSION:
        // To ask is to choose the newest.
        this.#version ??= this.#newest;
        view.setBigUint64(0, this.#version, true);
        return 0;
      case SET_API_VERSION:
        if (view.getBigUint64(0, true) > this.#newest) return -EINVAL;
        this.#version = view.getBigUint64(0, true);
        return 0;
      case GET_FEATURES:
        if (offered === undefined) return -EINVAL;
        view.setBigUint64(0, offered, true);
        return 0;
      case SET_FEATURES:
        if (offered === undefined || this.generation === '7.x-unfinished') return -EINVAL;
        if ((view.getBigUint64(0, true) & ~offered) !== 0n) return -EINVAL;
        this.features = view.getBigUint64(0, true);
        return 0;
      default:
        return undefined;
    }
  }

  get #newest(): bigint {
    if (this.generation === '6.12') return 0n;
    return this.generation === 'future' ? 2n : 1n;
  }
}
