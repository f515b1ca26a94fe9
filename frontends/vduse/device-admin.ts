import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Holder, ProcessUser } from '../../core/api/frontend.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { findBlockNode, noDisk } from './block-node.ts';
import { ControlDevice, type DeviceConfig } from './control-device.ts';
import { DeviceLink } from './device-link.ts';
import { findHolders } from './holders.ts';
import { classPath, controlPath, devicePath, type HostPaths } from './host-paths.ts';
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
  loadModules(): Promise<void>;
  /** As `ControlDevice.create`, and this process may open the device afterwards. */
  create(shape: DeviceShape): Promise<'created' | 'exists'>;
  /** As `ControlDevice.destroy`. */
  destroy(): Promise<'destroyed' | 'busy' | 'missing'>;
  configure(attributes: DeviceAttributes): Promise<void>;
  /** As `VdpaBus.add`. */
  attach(signal: AbortSignal): Promise<void>;
  /** As `VdpaBus.remove`. */
  detach(signal: AbortSignal): Promise<void>;
  /** Makes `/dev/blockgate/DISK`, once the device is attached, and returns it. Throws `vduse.link-failed`. */
  link(): Promise<string>;
  unlink(): Promise<void>;
  /** Who uses the disk: to see what other users' processes have open takes root, too. */
  holders(): Promise<readonly Holder[]>;
}

/** The name of a disk's VDUSE device. */
export const deviceName = (disk: string): string => `blockgate-${disk}`;

/** The parts of the machine that are administered. */
export interface AdminParts {
  readonly syscalls: Syscalls;
  readonly bus: VdpaBus;
  readonly paths: HostPaths;
  /** Throws `vduse.module-missing`. */
  loadModules(): Promise<void>;
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

  loadModules(): Promise<void> {
    return this.#parts.loadModules();
  }

  async create(shape: DeviceShape): Promise<'created' | 'exists'> {
    const outcome = this.#controlDevice().create({ ...shape, name: this.#name });
    // The kernel has made the node by now; a rule of udev's that comes later leaves the owner alone.
    if (this.#owner) chownSync(devicePath(this.#parts.paths, this.#name), this.#owner.uid, this.#owner.gid);
    return outcome;
  }

  async destroy(): Promise<'destroyed' | 'busy' | 'missing'> {
    return this.#controlDevice().destroy(this.#name);
  }

  async configure({ msgTimeout, bounceSize }: DeviceAttributes): Promise<void> {
    const folder = classPath(this.#parts.paths, this.#name);
    writeFileSync(join(folder, 'msg_timeout'), String(msgTimeout));
    if (bounceSize !== undefined) writeFileSync(join(folder, 'bounce_size'), String(bounceSize));
  }

  attach(signal: AbortSignal): Promise<void> {
    return this.#parts.bus.add(this.#name, signal);
  }

  detach(signal: AbortSignal): Promise<void> {
    return this.#parts.bus.remove(this.#name, signal);
  }

  async link(): Promise<string> {
    const { paths } = this.#parts;
    const node = findBlockNode(paths, this.#name);
    if (node === undefined) throw noDisk(this.#name, node);
    this.#link = new DeviceLink(paths, this.#disk, node.path);
    return this.#link.path;
  }

  async unlink(): Promise<void> {
    this.#link?.[Symbol.dispose]();
  }

  async holders(): Promise<readonly Holder[]> {
    const { paths } = this.#parts;
    const node = findBlockNode(paths, this.#name);
    return node === undefined ? [] : findHolders(paths, node);
  }

  [Symbol.dispose](): void {
    this.#control?.[Symbol.dispose]();
  }

  /** Kept open: that nothing is left to fail when the device has to go. */
  #controlDevice(): ControlDevice {
    this.#control ??= new ControlDevice(this.#parts.syscalls, controlPath(this.#parts.paths));
    return this.#control;
  }
}
