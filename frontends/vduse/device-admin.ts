import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Holder, ProcessUser } from '../../core/api/frontend.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { ControlDevice, type DeviceConfig } from './control-device.ts';
import { DeviceLink } from './device-link.ts';
import { noDisk } from './device-node.ts';
import { classPath, controlPath, devicePath, type HostPaths, inFlightPath } from './host-paths.ts';
import { type InFlightQueues, provideInFlightFile, removeInFlightFile } from './inflight-file.ts';
import { type Attachment, findNode, findUsers, OUTLETS } from './outlet.ts';
import type { VdpaBus } from './vdpa-bus.ts';

/** What the kernel lets an administrator decide about a device before it is attached. */
export interface DeviceAttributes {
  /** Seconds. */
  readonly msgTimeout: number;
  /** Bytes; the kernel's default when absent. */
  readonly bounceSize?: number | undefined;
}

/** What a new device is to be; its name follows from the disk's. */
export type DeviceShape = Omit<DeviceConfig, 'name'>;

/**
 * Everything that takes root for the VDUSE device of one disk: done by this process itself, or, where this is not
 * root, by one that is.
 */
export interface DeviceAdmin extends Disposable {
  /** Throws `vduse.module-missing`. */
  loadModules(attach: Attachment): Promise<void>;
  /**
   * As `ControlDevice.create`, and this process may open the device afterwards. Returns with what of VDUSE the device
   * is made, for logs; undefined: there is one of that name already.
   */
  create(shape: DeviceShape): Promise<string | undefined>;
  /** As `ControlDevice.destroy`; the file of what was in flight goes with the device. */
  destroy(): Promise<'destroyed' | 'busy' | 'missing'>;
  configure(attributes: DeviceAttributes): Promise<void>;
  /** As `provideInFlightFile`: this process may open the file afterwards. */
  provideInFlight(queues: InFlightQueues & { readonly keep: boolean }): Promise<void>;
  /** As `VdpaBus.add`. */
  attach(attach: Attachment, signal: AbortSignal): Promise<void>;
  /** As `VdpaBus.remove`. */
  detach(signal: AbortSignal): Promise<void>;
  /** Makes `/dev/blockgate/DISK`, once the device is attached, and returns it. Throws `vduse.link-failed`. */
  link(): Promise<string>;
  unlink(): Promise<void>;
  /** Who uses the disk, as far as can be seen: what other users' processes have open, root alone can see. */
  holders(): Promise<readonly Holder[]>;
}

/** The name of a disk's VDUSE device. */
export const deviceName = (disk: string): string => `blockgate-${disk}`;

/** The parts of the machine that are administered. */
export interface AdminParts {
  readonly syscalls: Syscalls;
  readonly bus: VdpaBus;
  readonly paths: HostPaths;
  /** Of the kernel, for this driver of the vDPA bus. Throws `vduse.module-missing`. */
  loadModules(driver: string): Promise<void>;
}

/** Does it in this process. */
export class LocalAdmin implements DeviceAdmin {
  readonly #parts: AdminParts;
  readonly #disk: string;
  readonly #name: string;
  readonly #owner: ProcessUser | undefined;
  #control: ControlDevice | undefined;
  #link: DeviceLink | undefined;

  /** `owner`: who is to serve the device; undefined where that is this process. */
  constructor(parts: AdminParts, disk: string, owner?: ProcessUser) {
    this.#parts = parts;
    this.#disk = disk;
    this.#name = deviceName(disk);
    this.#owner = owner;
  }

  loadModules(attach: Attachment): Promise<void> {
    return this.#parts.loadModules(OUTLETS[attach].driver);
  }

  async create(shape: DeviceShape): Promise<string | undefined> {
    const control = this.#controlDevice();
    const outcome = control.create({ ...shape, name: this.#name });
    // The kernel has made the node by now; a rule of udev's that comes later leaves the owner alone.
    if (this.#owner) chownSync(devicePath(this.#parts.paths, this.#name), this.#owner.uid, this.#owner.gid);
    return outcome === 'created' ? control.used : undefined;
  }

  async destroy(): Promise<'destroyed' | 'busy' | 'missing'> {
    const outcome = this.#controlDevice().destroy(this.#name);
    if (outcome !== 'busy') removeInFlightFile(this.#inFlightPath);
    return outcome;
  }

  async configure({ msgTimeout, bounceSize }: DeviceAttributes): Promise<void> {
    const folder = classPath(this.#parts.paths, this.#name);
    writeFileSync(join(folder, 'msg_timeout'), String(msgTimeout));
    if (bounceSize !== undefined) writeFileSync(join(folder, 'bounce_size'), String(bounceSize));
  }

  async provideInFlight(queues: InFlightQueues & { readonly keep: boolean }): Promise<void> {
    provideInFlightFile(this.#inFlightPath, queues, this.#owner);
  }

  attach(attach: Attachment, signal: AbortSignal): Promise<void> {
    return this.#parts.bus.add(this.#name, OUTLETS[attach].driver, signal);
  }

  detach(signal: AbortSignal): Promise<void> {
    return this.#parts.bus.remove(this.#name, signal);
  }

  async link(): Promise<string> {
    const { paths } = this.#parts;
    const node = findNode(paths, this.#name);
    if (node === undefined) throw noDisk(this.#name, node);
    this.#link = new DeviceLink(paths, this.#disk, node.path);
    return this.#link.path;
  }

  async unlink(): Promise<void> {
    this.#link?.[Symbol.dispose]();
  }

  async holders(): Promise<readonly Holder[]> {
    return findUsers(this.#parts.paths, this.#name);
  }

  [Symbol.dispose](): void {
    this.#control?.[Symbol.dispose]();
  }

  get #inFlightPath(): string {
    return inFlightPath(this.#parts.paths, this.#name);
  }

  /** Kept open: that nothing is left to fail when the device has to go. */
  #controlDevice(): ControlDevice {
    this.#control ??= new ControlDevice(this.#parts.syscalls, controlPath(this.#parts.paths));
    return this.#control;
  }
}
