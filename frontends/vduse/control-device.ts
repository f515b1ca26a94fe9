import { GatewayError } from '../../core/api/errors.ts';
import { Errno, orThrow, SystemError } from '../../core/system/errno.ts';
import { O_CLOEXEC, O_RDWR, type Syscalls } from '../../core/system/syscalls.ts';
import { VIRTIO_ID_BLOCK } from '../virtio/abi/virtio-blk.ts';
import {
  DevConfig,
  VDUSE_API_VERSION,
  VDUSE_CREATE_DEV,
  VDUSE_DESTROY_DEV,
  VDUSE_NAME_MAX,
  VDUSE_SET_API_VERSION,
} from './abi.ts';

/** What the kernel has to know to make a block device. */
export interface DeviceConfig {
  /** Becomes `/dev/vduse/NAME`. */
  readonly name: string;
  /** Offered feature bits. */
  readonly features: bigint;
  readonly queues: number;
  /** `struct virtio_blk_config`. */
  readonly configSpace: Uint8Array;
}

/** Alignment of rings; the only value every kernel accepts and every driver likes is the page size. */
const VQ_ALIGN = 4096;

/** `/dev/vduse/control`. Devices made through it live on when it is closed. */
export class ControlDevice implements Disposable {
  readonly #syscalls: Syscalls;
  readonly #fd: number;

  /** Throws `vduse.not-available` or `vduse.permission`. */
  constructor(syscalls: Syscalls, path: string) {
    const fd = syscalls.open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) throw openError(path, -fd);
    this.#syscalls = syscalls;
    this.#fd = fd;
    // Newer kernels would otherwise follow whatever version was asked for on this fd, with other struct layouts.
    this.#ioctl(VDUSE_SET_API_VERSION, u64(BigInt(VDUSE_API_VERSION)), 'VDUSE_SET_API_VERSION');
  }

  /** Makes a device. `'exists'`: there is one of that name already, whoever made it. Throws `SystemError`. */
  create({ name, features, queues, configSpace }: DeviceConfig): 'created' | 'exists' {
    const bytes = new Uint8Array(DevConfig.SIZE + configSpace.length);
    const view = new DataView(bytes.buffer);
    bytes.set(nameField(name), DevConfig.NAME);
    view.setUint32(DevConfig.DEVICE_ID, VIRTIO_ID_BLOCK, true);
    view.setBigUint64(DevConfig.FEATURES, features, true);
    view.setUint32(DevConfig.VQ_NUM, queues, true);
    view.setUint32(DevConfig.VQ_ALIGN, VQ_ALIGN, true);
    view.setUint32(DevConfig.CONFIG_SIZE, configSpace.length, true);
    bytes.set(configSpace, DevConfig.CONFIG);
    const result = this.#syscalls.ioctl(this.#fd, VDUSE_CREATE_DEV, bytes);
    if (result === -Errno.EEXIST) return 'exists';
    orThrow('VDUSE_CREATE_DEV', result);
    return 'created';
  }

  /**
   * `'busy'`: the device is attached, or some process has it open. `'missing'`: there is none of that name. Throws
   * `SystemError`.
   */
  destroy(name: string): 'destroyed' | 'busy' | 'missing' {
    const result = this.#syscalls.ioctl(this.#fd, VDUSE_DESTROY_DEV, nameField(name));
    if (result === -Errno.EBUSY) return 'busy';
    // A name of valid form can be invalid in one way only.
    if (result === -Errno.EINVAL) return 'missing';
    orThrow('VDUSE_DESTROY_DEV', result);
    return 'destroyed';
  }

  [Symbol.dispose](): void {
    this.#syscalls.close(this.#fd);
  }

  #ioctl(request: number, argument: Uint8Array, name: string): void {
    const result = this.#syscalls.ioctl(this.#fd, request, argument);
    if (result >= 0) return;
    this.#syscalls.close(this.#fd);
    throw new SystemError(name, -result);
  }
}

function nameField(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length >= VDUSE_NAME_MAX || !/^[a-z0-9-]+$/.test(name))
    throw new RangeError(`not a name of a VDUSE device: ${name}`);
  const field = new Uint8Array(VDUSE_NAME_MAX);
  field.set(bytes);
  return field;
}

function u64(value: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([value]).buffer);
}

function openError(path: string, errno: number): GatewayError {
  const cause = new SystemError(`open ${path}`, errno);
  if (errno === Errno.EACCES || errno === Errno.EPERM) {
    return new GatewayError('vduse.permission', `${path} may not be opened by this user.`, {
      why: 'VDUSE devices are made by root, or by whom the administrator gave access to that file.',
      fix: 'Run the gateway as root.',
      cause,
    });
  }
  return new GatewayError('vduse.not-available', `${path} cannot be opened.`, {
    why: cause.message,
    fix: 'Load the module with "modprobe vduse"; the kernel must be built with CONFIG_VDPA_USER.',
    cause,
  });
}
