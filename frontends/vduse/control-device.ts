import { GatewayError } from '../../core/api/errors.ts';
import { Errno, orThrow, SystemError } from '../../core/system/errno.ts';
import { O_CLOEXEC, O_RDWR, type Syscalls } from '../../core/system/syscalls.ts';
import { VIRTIO_ID_BLOCK } from '../virtio/abi/virtio-blk.ts';
import {
  DevConfig,
  VDUSE_API_VERSION_1,
  VDUSE_CREATE_DEV,
  VDUSE_DESTROY_DEV,
  VDUSE_F_QUEUE_READY,
  VDUSE_F_SUSPEND,
  VDUSE_GET_API_VERSION,
  VDUSE_GET_FEATURES,
  VDUSE_NAME_MAX,
  VDUSE_SET_API_VERSION,
  VDUSE_SET_FEATURES,
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

/** What of VDUSE a kernel has, or a device is made with. */
interface VduseApi {
  readonly version: number;
  /** VDUSE_F_…, by bit; nothing to do with the features that a driver negotiates. */
  readonly features: bigint;
}

/** Linux 5.15 to 6.x. */
const OLDEST: VduseApi = { version: 0, features: 0n };
const KNOWN_FEATURES = (1n << BigInt(VDUSE_F_QUEUE_READY)) | (1n << BigInt(VDUSE_F_SUSPEND));
const FEATURE_NAMES: ReadonlyMap<number, string> = new Map([
  [VDUSE_F_QUEUE_READY, 'QUEUE_READY'],
  [VDUSE_F_SUSPEND, 'SUSPEND'],
]);

/**
 * `/dev/vduse/control`. Devices made through it live on when it is closed. They are made with the newest API that the
 * kernel and this have in common; what the kernel has beyond version 0 is used, and never needed.
 */
export class ControlDevice implements Disposable {
  readonly #syscalls: Syscalls;
  readonly #fd: number;
  readonly #offered: VduseApi;
  #used: VduseApi = OLDEST;
  #refused: VduseApi | undefined;

  /** Throws `vduse.not-available` or `vduse.permission`. */
  constructor(syscalls: Syscalls, path: string) {
    const fd = syscalls.open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) throw openError(path, -fd);
    this.#syscalls = syscalls;
    this.#fd = fd;
    try {
      this.#offered = this.#ask();
      this.#use(inCommon(this.#offered));
    } catch (error) {
      this.#syscalls.close(fd);
      throw error;
    }
  }

  /** For people: what the kernel has. */
  get offered(): string {
    return describe(this.#offered);
  }

  /** For logs: what devices are made with. */
  get used(): string {
    const refused = this.#refused === undefined ? '' : `; the kernel refused ${describe(this.#refused)}`;
    return `${describe(this.#used)}${refused}`;
  }

  /** Makes a device. `'exists'`: there is one of that name already, whoever made it. Throws `SystemError`. */
  create(config: DeviceConfig): 'created' | 'exists' {
    let result = this.#create(config);
    // Whatever a kernel does not like about its news: all of them take what the first ones took.
    if (result === -Errno.EINVAL && this.#used !== OLDEST) {
      this.#refused = this.#used;
      this.#use(OLDEST);
      result = this.#create(config);
    }
    if (result === -Errno.EEXIST) return 'exists';
    orThrow('VDUSE_CREATE_DEV', result);
    return 'created';
  }

  #create({ name, features, queues, configSpace }: DeviceConfig): number {
    const bytes = new Uint8Array(DevConfig.SIZE + configSpace.length);
    const view = new DataView(bytes.buffer);
    bytes.set(nameField(name), DevConfig.NAME);
    view.setUint32(DevConfig.DEVICE_ID, VIRTIO_ID_BLOCK, true);
    view.setBigUint64(DevConfig.FEATURES, features, true);
    view.setUint32(DevConfig.VQ_NUM, queues, true);
    view.setUint32(DevConfig.VQ_ALIGN, VQ_ALIGN, true);
    if (this.#used.version >= VDUSE_API_VERSION_1) {
      view.setUint32(DevConfig.NGROUPS, 1, true);
      view.setUint32(DevConfig.NAS, 1, true);
    }
    view.setUint32(DevConfig.CONFIG_SIZE, configSpace.length, true);
    bytes.set(configSpace, DevConfig.CONFIG);
    return this.#syscalls.ioctl(this.#fd, VDUSE_CREATE_DEV, bytes);
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

  #ask(): VduseApi {
    const out = u64(0n);
    orThrow('VDUSE_GET_API_VERSION', this.#ioctl(VDUSE_GET_API_VERSION, out));
    const version = Number(out[0]);
    if (version === 0) return OLDEST;
    const result = this.#ioctl(VDUSE_GET_FEATURES, out);
    if (result === -Errno.EINVAL) return { version, features: 0n };
    orThrow('VDUSE_GET_FEATURES', result);
    return { version, features: out[0]! };
  }

  /** Sets the version also when it is 0: to have asked for it was to have chosen the newest. */
  #use(api: VduseApi): void {
    orThrow('VDUSE_SET_API_VERSION', this.#ioctl(VDUSE_SET_API_VERSION, u64(BigInt(api.version))));
    this.#used = api;
    if (this.#offered.features === 0n) return;
    const result = this.#ioctl(VDUSE_SET_FEATURES, u64(api.features));
    // Before 7.3 was finished, there were kernels that had features and another way to choose them.
    if (result === -Errno.EINVAL) this.#used = { ...api, features: 0n };
    else orThrow('VDUSE_SET_FEATURES', result);
  }

  #ioctl(request: number, argument: BigUint64Array): number {
    return this.#syscalls.ioctl(this.#fd, request, new Uint8Array(argument.buffer));
  }
}

function inCommon(offered: VduseApi): VduseApi {
  if (offered.version === OLDEST.version) return OLDEST;
  return {
    version: Math.min(offered.version, VDUSE_API_VERSION_1),
    features: offered.features & KNOWN_FEATURES,
  };
}

function describe({ version, features }: VduseApi): string {
  const bits = [...features.toString(2)].reverse().flatMap((bit, at) => (bit === '1' ? [at] : []));
  if (bits.length === 0) return `API version ${version}`;
  return `API version ${version} with ${bits.map((bit) => FEATURE_NAMES.get(bit) ?? `bit ${bit}`).join(', ')}`;
}

function nameField(name: string): Uint8Array {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length >= VDUSE_NAME_MAX || !/^[a-z0-9-]+$/.test(name))
    throw new RangeError(`not a name of a VDUSE device: ${name}`);
  const field = new Uint8Array(VDUSE_NAME_MAX);
  field.set(bytes);
  return field;
}

function u64(value: bigint): BigUint64Array<ArrayBuffer> {
  return new BigUint64Array([value]);
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
