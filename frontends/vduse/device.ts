import { GatewayError } from '../../core/api/errors.ts';
import { Errno, orThrow, SystemError } from '../../core/system/errno.ts';
import { addressOf } from '../../core/system/memory-map.ts';
import {
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  type SharedMapping,
  type Syscalls,
} from '../../core/system/syscalls.ts';
import { u64 } from '../virtio/memory/scratch.ts';
import type { RingLayout } from '../virtio/virtq/ring-state.ts';
import type { RingGeometry } from '../virtio/virtq/virtqueue.ts';
import {
  ConfigData,
  DevRequest,
  IotlbEntry,
  IotlbInfo,
  IotlbUmem,
  VDUSE_DEV_GET_FEATURES,
  VDUSE_DEV_INJECT_CONFIG_IRQ,
  VDUSE_DEV_SET_CONFIG,
  VDUSE_IOTLB_DEREG_UMEM,
  VDUSE_IOTLB_GET_FD,
  VDUSE_IOTLB_GET_FD2,
  VDUSE_IOTLB_GET_FD2_OF_7_0,
  VDUSE_IOTLB_GET_INFO,
  VDUSE_IOTLB_REG_UMEM,
  VDUSE_IOVA_CAP_UMEM,
  VDUSE_VQ_GET_INFO,
  VDUSE_VQ_INJECT_IRQ,
  VDUSE_VQ_SETUP,
  VDUSE_VQ_SETUP_KICKFD,
  VqConfig,
  VqEventfd,
  VqInfo,
} from './abi.ts';
import { readVqState } from './vq-state.ts';

/** What the kernel knows about a virtqueue. Its state is where the driver started, not how far it is. */
export interface QueueInfo extends RingGeometry {
  readonly ready: boolean;
}

/** A region of guest memory, and a new fd by which it can be mapped. */
export interface IotlbRegion {
  readonly fd: number;
  /** First byte of the region in the file behind `fd`. */
  readonly offset: number;
  readonly start: number;
  /** Inclusive. */
  readonly last: number;
  /** `Access` bits. */
  readonly access: number;
}

/**
 * `/dev/vduse/NAME`: the ioctls of one device, and its messages as bytes. One process at a time has it open.
 * Methods throw `SystemError` unless they say otherwise.
 */
export class VduseDevice implements Disposable {
  readonly fd: number;
  readonly name: string;
  readonly #syscalls: Syscalls;
  readonly #request = new Uint8Array(DevRequest.SIZE);
  readonly #irq = new Uint32Array(1);
  readonly #irqBytes = new Uint8Array(this.#irq.buffer);
  #getFd2 = VDUSE_IOTLB_GET_FD2;

  /** `fd`: the device, open in this process; the one object that disposes of itself closes it. */
  constructor(syscalls: Syscalls, fd: number, name: string) {
    this.fd = fd;
    this.name = name;
    this.#syscalls = syscalls;
  }

  /** Throws `vduse.device-busy` while another process serves the device. */
  static open(syscalls: Syscalls, path: string, name: string): VduseDevice {
    const fd = syscalls.open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd === -Errno.EBUSY) {
      throw new GatewayError('vduse.device-busy', `Another process serves the VDUSE device "${name}".`, {
        why: `${path} can be open once, and it is.`,
        fix: `Stop the other gateway; "fuser ${path}" tells which process it is.`,
      });
    }
    return new VduseDevice(syscalls, orThrow(`open ${path}`, fd), name);
  }

  /** The next message as bytes, valid until the next call; undefined when there is none. */
  readMessage(): Uint8Array | undefined {
    const length = this.#syscalls.read(this.fd, this.#request);
    if (length === -Errno.EAGAIN) return undefined;
    return this.#request.subarray(0, orThrow('read of a VDUSE message', length));
  }

  /** False: nobody waits for this answer any more. */
  writeReply(bytes: Uint8Array): boolean {
    const result = this.#syscalls.write(this.fd, bytes);
    if (result === -Errno.ENOENT) return false;
    orThrow('write of a VDUSE reply', result);
    return true;
  }

  /** The kernel has given the device up: nothing works any more, for good. */
  get broken(): boolean {
    return this.#try(VDUSE_DEV_GET_FEATURES, new Uint8Array(8)) === -Errno.EPERM;
  }

  /** The bits the driver chose; 0 before it did. */
  features(): bigint {
    const out = new BigUint64Array(1);
    this.#ioctl('VDUSE_DEV_GET_FEATURES', VDUSE_DEV_GET_FEATURES, new Uint8Array(out.buffer));
    return out[0]!;
  }

  /** Changes bytes of the configuration space, from `offset` on. The driver looks when it is told to. */
  setConfig(offset: number, data: Uint8Array): void {
    const bytes = new Uint8Array(ConfigData.SIZE + data.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(ConfigData.OFFSET, offset, true);
    view.setUint32(ConfigData.LENGTH, data.length, true);
    bytes.set(data, ConfigData.BUFFER);
    this.#ioctl('VDUSE_DEV_SET_CONFIG', VDUSE_DEV_SET_CONFIG, bytes);
  }

  /** Tells the driver that the configuration space changed. False as for `injectIrq`. */
  injectConfigIrq(): boolean {
    return this.#inject('VDUSE_DEV_INJECT_CONFIG_IRQ', VDUSE_DEV_INJECT_CONFIG_IRQ, undefined);
  }

  /** Without this for every queue the device cannot be attached. `maxSize`: entries. All are in group 0. */
  setupQueue(index: number, maxSize: number): void {
    const bytes = new Uint8Array(VqConfig.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(VqConfig.INDEX, index, true);
    view.setUint16(VqConfig.MAX_SIZE, maxSize, true);
    this.#ioctl('VDUSE_VQ_SETUP', VDUSE_VQ_SETUP, bytes);
  }

  /** `layout`: what the driver chose. Only the driver's choice of features tells which one the kernel means. */
  queueInfo(index: number, layout: RingLayout): QueueInfo {
    const bytes = new Uint8Array(VqInfo.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(VqInfo.INDEX, index, true);
    this.#ioctl('VDUSE_VQ_GET_INFO', VDUSE_VQ_GET_INFO, bytes);
    return {
      num: view.getUint32(VqInfo.NUM, true),
      descAddr: address(view, VqInfo.DESC_ADDR),
      driverAddr: address(view, VqInfo.DRIVER_ADDR),
      deviceAddr: address(view, VqInfo.DEVICE_ADDR),
      state: readVqState(view, VqInfo.STATE, layout),
      ready: view.getUint8(VqInfo.READY) !== 0,
    };
  }

  /** Kicks of queue `index` go to the eventfd from now on, until the next reset. None that came before do. */
  setupKick(index: number, eventfd: number): void {
    // The kernel takes any other negative fd for success and does nothing.
    if (eventfd < -1) throw new RangeError(`not an eventfd: ${eventfd}`);
    const bytes = new Uint8Array(VqEventfd.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(VqEventfd.INDEX, index, true);
    view.setInt32(VqEventfd.FD, eventfd, true);
    this.#ioctl('VDUSE_VQ_SETUP_KICKFD', VDUSE_VQ_SETUP_KICKFD, bytes);
  }

  /**
   * Interrupts the driver on behalf of queue `index`. False: not now, because the kernel has not taken note of
   * DRIVER_OK yet, or the driver has reset the device. Throws `vduse.device-broken` too.
   */
  injectIrq(index: number): boolean {
    this.#irq[0] = index;
    return this.#inject('VDUSE_VQ_INJECT_IRQ', VDUSE_VQ_INJECT_IRQ, this.#irqBytes);
  }

  /**
   * The region of address space `asid` that holds `iova`; undefined when there is none. The caller closes the region's
   * fd.
   */
  iotlbRegion(iova: number, asid: number): IotlbRegion | undefined {
    const bytes = new Uint8Array(IotlbEntry.SIZE_V2_OF_7_0);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(IotlbEntry.START, BigInt(iova), true);
    view.setBigUint64(IotlbEntry.LAST, BigInt(iova), true);
    view.setUint32(IotlbEntry.ASID, asid, true);
    const fd = asid === 0 ? this.#try(VDUSE_IOTLB_GET_FD, bytes) : this.#tryGetFd2(bytes);
    if (fd === -Errno.EINVAL) return undefined;
    orThrow('VDUSE_IOTLB_GET_FD', fd);
    return {
      fd,
      offset: address(view, IotlbEntry.OFFSET),
      start: address(view, IotlbEntry.START),
      last: address(view, IotlbEntry.LAST),
      access: view.getUint8(IotlbEntry.PERM),
    };
  }

  /**
   * False: the kernel takes no memory of ours for its bounce memory. As long as no driver has mapped anything, only
   * kernels that do not know the question say so.
   */
  get takesBounce(): boolean {
    const bytes = new Uint8Array(IotlbInfo.SIZE);
    const result = this.#try(VDUSE_IOTLB_GET_INFO, bytes);
    if (result < 0) return result !== -Errno.ENOTTY;
    const capability = new DataView(bytes.buffer).getBigUint64(IotlbInfo.CAPABILITY, true);
    return ((capability >> BigInt(VDUSE_IOVA_CAP_UMEM)) & 1n) === 1n;
  }

  /**
   * Puts `memory` in the place of the kernel's bounce memory, whose size it has, until `takeBounceBack`; what the driver
   * uses at the moment is copied. Also when that was done before. False: no driver has mapped anything yet.
   */
  giveBounce(memory: SharedMapping): boolean {
    const bytes = this.#umem(memory.buffer.byteLength);
    const uaddr = addressOf(new Uint8Array(memory.buffer));
    new DataView(bytes.buffer).setBigUint64(IotlbUmem.ADDRESS, BigInt(uaddr), true);
    const result = this.#try(VDUSE_IOTLB_REG_UMEM, bytes);
    if (result === -Errno.EINVAL) return false;
    if (result !== -Errno.EEXIST) orThrow('VDUSE_IOTLB_REG_UMEM', result);
    return true;
  }

  /** The kernel uses its own bounce memory again, of `length` bytes, and lets go of ours, if it has that. */
  takeBounceBack(length: number): void {
    const result = this.#try(VDUSE_IOTLB_DEREG_UMEM, this.#umem(length));
    // A device that the kernel has given up lets go when it is closed.
    if (result !== -Errno.ENOENT && result !== -Errno.EPERM) orThrow('VDUSE_IOTLB_DEREG_UMEM', result);
  }

  mmap(fd: number, offset: number, length: number, prot: number): SharedMapping {
    return this.#syscalls.mmap(fd, offset, length, prot);
  }

  closeFd(fd: number): void {
    this.#syscalls.close(fd);
  }

  [Symbol.dispose](): void {
    this.#syscalls.close(this.fd);
  }

  /** Bounce memory starts at address 0. */
  #umem(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(IotlbUmem.SIZE);
    new DataView(bytes.buffer).setBigUint64(IotlbUmem.LENGTH, BigInt(length), true);
    return bytes;
  }

  #try(request: number, argument: Uint8Array | undefined): number {
    return this.#syscalls.ioctl(this.fd, request, argument);
  }

  /** Asking the kernel is the only way to learn which of the two it has. */
  #tryGetFd2(entry: Uint8Array): number {
    const fd = this.#try(this.#getFd2, entry);
    if (fd !== -Errno.ENOTTY || this.#getFd2 === VDUSE_IOTLB_GET_FD2_OF_7_0) return fd;
    this.#getFd2 = VDUSE_IOTLB_GET_FD2_OF_7_0;
    return this.#try(this.#getFd2, entry);
  }

  #inject(name: string, request: number, argument: Uint8Array | undefined): boolean {
    const result = this.#try(request, argument);
    if (result >= 0) return true;
    if (result === -Errno.EINVAL) return false;
    if (result === -Errno.EPERM) throw brokenDevice(this.name);
    throw new SystemError(name, -result);
  }

  #ioctl(name: string, request: number, argument: Uint8Array): void {
    orThrow(name, this.#try(request, argument));
  }
}

/** The kernel waited too long for an answer; every ioctl fails from then on. */
export function brokenDevice(name: string): GatewayError {
  return new GatewayError('vduse.device-broken', `The kernel has given up the VDUSE device "${name}".`, {
    why: 'A message of the kernel was not answered within the time it allows (msg_timeout).',
    fix: 'Stop the disk and start it again. If it happens often, find out what keeps the process from running.',
  });
}

/** A u64 as a number; -1, which is nowhere, from 2^53 on. */
function address(view: DataView, offset: number): number {
  return u64(view.getUint32(offset, true), view.getUint32(offset + 4, true));
}
