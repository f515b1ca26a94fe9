import { orThrow } from '../../../core/system/errno.ts';
import { linux } from '../../../core/system/libc.ts';
import { O_CLOEXEC, O_RDWR } from '../../../core/system/syscalls.ts';
import {
  IotlbMessage,
  VdpaConfig,
  VHOST_GET_BACKEND_FEATURES,
  VHOST_GET_FEATURES,
  VHOST_GET_VRING_BASE,
  VHOST_IOTLB_BATCH_BEGIN,
  VHOST_IOTLB_BATCH_END,
  VHOST_IOTLB_INVALIDATE,
  VHOST_IOTLB_MSG_V2,
  VHOST_IOTLB_UPDATE,
  VHOST_SET_BACKEND_FEATURES,
  VHOST_SET_FEATURES,
  VHOST_SET_OWNER,
  VHOST_SET_VRING_ADDR,
  VHOST_SET_VRING_BASE,
  VHOST_SET_VRING_CALL,
  VHOST_SET_VRING_KICK,
  VHOST_SET_VRING_NUM,
  VHOST_VDPA_GET_CONFIG,
  VHOST_VDPA_GET_DEVICE_ID,
  VHOST_VDPA_GET_STATUS,
  VHOST_VDPA_GET_VRING_NUM,
  VHOST_VDPA_SET_STATUS,
  VHOST_VDPA_SET_VRING_ENABLE,
  VringAddr,
} from './abi.ts';

/** A range of guest addresses, and where it is in this process. */
export interface GuestRange {
  readonly iova: number;
  readonly length: number;
  /** Address of the first byte in this process, in a shared mapping of a file. */
  readonly address: number;
  /** 1 read, 2 write, 3 both. Default 3. */
  readonly perm?: number;
}

/**
 * `/dev/vhost-vdpa-N` as a hypervisor uses it. Most calls wait for the process that serves the device: it must be
 * another one than this. Methods throw `SystemError`.
 */
export class VhostVdpaDevice implements Disposable {
  readonly #fd: number;
  #open = true;

  constructor(path: string) {
    this.#fd = orThrow(`open ${path}`, linux.open(path, O_RDWR | O_CLOEXEC));
    this.#ioctl('VHOST_SET_OWNER', VHOST_SET_OWNER, undefined);
  }

  get deviceId(): number {
    return this.#get('VHOST_VDPA_GET_DEVICE_ID', VHOST_VDPA_GET_DEVICE_ID, 4).getUint32(0, true);
  }

  get features(): bigint {
    return this.#get('VHOST_GET_FEATURES', VHOST_GET_FEATURES, 8).getBigUint64(0, true);
  }

  set features(bits: bigint) {
    this.#setU64('VHOST_SET_FEATURES', VHOST_SET_FEATURES, bits);
  }

  get backendFeatures(): bigint {
    return this.#get('VHOST_GET_BACKEND_FEATURES', VHOST_GET_BACKEND_FEATURES, 8).getBigUint64(0, true);
  }

  set backendFeatures(bits: bigint) {
    this.#setU64('VHOST_SET_BACKEND_FEATURES', VHOST_SET_BACKEND_FEATURES, bits);
  }

  get status(): number {
    return this.#get('VHOST_VDPA_GET_STATUS', VHOST_VDPA_GET_STATUS, 1).getUint8(0);
  }

  /** 0 resets the device. */
  set status(value: number) {
    this.#ioctl('VHOST_VDPA_SET_STATUS', VHOST_VDPA_SET_STATUS, Uint8Array.of(value));
  }

  /** The most entries a virtqueue may have. */
  get maxQueueSize(): number {
    return this.#get('VHOST_VDPA_GET_VRING_NUM', VHOST_VDPA_GET_VRING_NUM, 2).getUint16(0, true);
  }

  /** Bytes of the configuration space. */
  config(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(VdpaConfig.SIZE + length);
    const view = new DataView(bytes.buffer);
    view.setUint32(VdpaConfig.OFFSET, offset, true);
    view.setUint32(VdpaConfig.LENGTH, length, true);
    this.#ioctl('VHOST_VDPA_GET_CONFIG', VHOST_VDPA_GET_CONFIG, bytes);
    return bytes.subarray(VdpaConfig.SIZE);
  }

  setQueueSize(queue: number, num: number): void {
    this.#setVring('VHOST_SET_VRING_NUM', VHOST_SET_VRING_NUM, queue, num);
  }

  /** Guest addresses, as vDPA wants them, although the struct's fields are named for addresses of the process. */
  setQueueAddresses(queue: number, addresses: { desc: number; avail: number; used: number }): void {
    const bytes = new Uint8Array(VringAddr.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(VringAddr.INDEX, queue, true);
    view.setBigUint64(VringAddr.DESC, BigInt(addresses.desc), true);
    view.setBigUint64(VringAddr.USED, BigInt(addresses.used), true);
    view.setBigUint64(VringAddr.AVAIL, BigInt(addresses.avail), true);
    this.#ioctl('VHOST_SET_VRING_ADDR', VHOST_SET_VRING_ADDR, bytes);
  }

  setQueueBase(queue: number, index: number): void {
    this.#setVring('VHOST_SET_VRING_BASE', VHOST_SET_VRING_BASE, queue, index);
  }

  /** Asks the device where it stopped taking requests. */
  queueBase(queue: number): number {
    const state = vringState(queue, 0);
    this.#ioctl('VHOST_GET_VRING_BASE', VHOST_GET_VRING_BASE, state);
    return new DataView(state.buffer).getUint32(4, true);
  }

  setKick(queue: number, eventfd: number): void {
    this.#setVring('VHOST_SET_VRING_KICK', VHOST_SET_VRING_KICK, queue, eventfd);
  }

  setCall(queue: number, eventfd: number): void {
    this.#setVring('VHOST_SET_VRING_CALL', VHOST_SET_VRING_CALL, queue, eventfd);
  }

  enableQueue(queue: number): void {
    this.#setVring('VHOST_VDPA_SET_VRING_ENABLE', VHOST_VDPA_SET_VRING_ENABLE, queue, 1);
  }

  map(range: GuestRange): void {
    this.#iotlb(VHOST_IOTLB_UPDATE, range);
  }

  unmap(iova: number, length: number): void {
    this.#iotlb(VHOST_IOTLB_INVALIDATE, { iova, length, address: 0 });
  }

  /** The device sees what `changes` maps and unmaps at once, at the end. */
  batch(changes: () => void): void {
    this.#iotlb(VHOST_IOTLB_BATCH_BEGIN);
    changes();
    this.#iotlb(VHOST_IOTLB_BATCH_END);
  }

  [Symbol.dispose](): void {
    if (this.#open) linux.close(this.#fd);
    this.#open = false;
  }

  #iotlb(
    type: number,
    { iova, length, address, perm = 3 }: GuestRange = { iova: 0, length: 0, address: 0 },
  ): void {
    const bytes = new Uint8Array(IotlbMessage.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(IotlbMessage.VERSION, VHOST_IOTLB_MSG_V2, true);
    view.setBigUint64(IotlbMessage.IOVA, BigInt(iova), true);
    view.setBigUint64(IotlbMessage.LENGTH, BigInt(length), true);
    view.setBigUint64(IotlbMessage.ADDRESS, BigInt(address), true);
    view.setUint8(IotlbMessage.PERM, perm);
    view.setUint8(IotlbMessage.TYPE, type);
    orThrow('write of an IOTLB message', linux.write(this.#fd, bytes));
  }

  #setVring(name: string, request: number, queue: number, value: number): void {
    this.#ioctl(name, request, vringState(queue, value));
  }

  #setU64(name: string, request: number, value: bigint): void {
    this.#ioctl(name, request, new Uint8Array(BigUint64Array.of(value).buffer));
  }

  #get(name: string, request: number, length: number): DataView {
    const bytes = new Uint8Array(length);
    this.#ioctl(name, request, bytes);
    return new DataView(bytes.buffer);
  }

  #ioctl(name: string, request: number, argument: Uint8Array | undefined): void {
    orThrow(name, linux.ioctl(this.#fd, request, argument));
  }
}

/** `struct vhost_vring_state`, and `vhost_vring_file` too: index, then a number or a file descriptor. */
function vringState(queue: number, value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(queue, value).buffer);
}
