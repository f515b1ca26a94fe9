import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { orThrow, SystemError } from '../../core/system/errno.ts';
import { memfd } from '../../core/system/memory-lock.ts';
import { MemoryMap } from '../../core/system/memory-map.ts';
import type { Reactor, Readiness, Watch } from '../../core/system/reactor.ts';
import type { SharedMapping, Syscalls } from '../../core/system/syscalls.ts';
import { type DeviceAdmin, LocalAdmin } from '../../frontends/vduse/device-admin.ts';
import type { Host } from '../../frontends/vduse/frontend-host.ts';
import type { HostPaths } from '../../frontends/vduse/host-paths.ts';
import { checkDeviceConfig, type FakeQueue, FakeVduseDevice } from './fake-vduse-device.ts';
import { FakeVirtioDriver } from './fake-virtio-driver.ts';
import type { GuestRegion } from './guest-ram.ts';
import { FakeControl, type KernelGeneration } from './kernel-generation.ts';

const { EAGAIN, EBADF, EBUSY, EINVAL, ENODEV, ENOENT } = constants.errno;

const CREATE_DEV = 0x41508102;
const DESTROY_DEV = 0x41008103;
const ACCESS_PLATFORM = 1n << 33n;
const DEFAULT_BOUNCE = 64 * 2 ** 20;
/** Far from real ones: a fake fd that reaches the real kernel is an error there. */
const FIRST_FD = 1_000_000;

type Open =
  | { readonly kind: 'control'; readonly control: FakeControl }
  | { readonly kind: 'device'; readonly device: FakeVduseDevice }
  | { readonly kind: 'eventfd'; count: number }
  | { readonly kind: 'region'; readonly region: GuestRegion }
  | { readonly kind: 'file' | 'memory'; readonly fd: number };

/** What the scripted driver does differently from Linux'. */
export interface DriverScript {
  /** The features it takes of those offered. Default: all. */
  readonly chooses?: (offered: bigint) => bigint;
  /** Reads the first sector before the attachment is done, as the partition scan does. Default true. */
  readonly scans?: boolean;
  /** Makes a disk. Default true. */
  readonly makesDisk?: boolean;
}

/**
 * A kernel with VDUSE, virtio_vdpa and virtio_blk, as much of them as the frontend sees: a `Host` for `attachDisk`.
 * Files of sysfs and /dev are in a real folder; guest memory is real memory, mapped twice.
 */
export class FakeKernel implements Host, Disposable {
  readonly paths: HostPaths;
  readonly devices = new Map<string, FakeVduseDevice>();
  readonly drivers = new Map<string, FakeVirtioDriver>();
  driverScript: DriverScript = {};
  /** Changes what the driver says about its queue, just before DRIVER_OK. */
  tamperWithQueue: (queue: FakeQueue) => void = () => {};
  /** Called before each system call but `close`; a number is returned to the caller instead. */
  intercept: (call: string) => number | undefined = () => undefined;
  /** Mappings of guest memory made and not unmapped yet. */
  mappings = 0;
  /** The same of files. */
  fileMappings = 0;
  /** Mappings that were detached before they were unmapped. */
  detachments = 0;
  /** Bytes that the process may pin, whoever it is. */
  memoryLock = Number.POSITIVE_INFINITY;
  readonly #folder: string;
  readonly #generation: KernelGeneration;
  readonly #fds = new Map<number, Open>();
  readonly #watches = new Map<number, (readiness: Readiness) => void>();
  /** Files in memory that the process has mapped, by address. */
  readonly #memory = new Map<number, { readonly fd: number; readonly length: number }>();
  #nextFd = FIRST_FD;
  #disks = 0;
  #netlink: Promise<void> = Promise.resolve();

  constructor(folder: string, generation: KernelGeneration = '6.12') {
    this.#folder = folder;
    this.#generation = generation;
    this.paths = {
      dev: join(folder, 'dev'),
      proc: join(folder, 'proc'),
      sys: join(folder, 'sys'),
      run: join(folder, 'run'),
    };
    for (const path of [...Object.values(this.paths), join(this.paths.sys, 'block')])
      mkdirSync(path, { recursive: true });
  }

  /** What this process still holds of the kernel; empty when nothing leaked. */
  get leaks(): string[] {
    const fds = [...this.#fds.values()].map(({ kind }) => `fd of ${kind}`);
    const maps = this.mappings > 0 ? [`${this.mappings} mappings`] : [];
    const files = this.fileMappings > 0 ? [`${this.fileMappings} mappings of files`] : [];
    const watches = this.#watches.size > 0 ? [`${this.#watches.size} watches`] : [];
    return [...fds, ...maps, ...files, ...watches];
  }

  /** Ends everything this process holds, without a word to anybody, as SIGKILL does. */
  killGateway(): void {
    this.#watches.clear();
    for (const fd of this.#fds.keys()) this.#close(fd);
    this.mappings = 0;
    this.fileMappings = 0;
  }

  /** Drivers of the vDPA bus, the first of which takes every new device. */
  readonly loaded: string[] = [];

  async loadModules(driver: string): Promise<void> {
    if (!this.loaded.includes(driver)) this.loaded.push(driver);
  }

  administer(disk: string): DeviceAdmin {
    return new LocalAdmin(this, disk);
  }

  readonly syscalls: Syscalls = {
    open: (path) => this.intercept(`open ${basename(path)}`) ?? this.#open(path),
    close: (fd) => this.#close(fd),
    read: (fd, buffer) => this.intercept('read') ?? this.#read(fd, buffer),
    write: (fd, buffer) => this.intercept('write') ?? this.#write(fd, buffer),
    ioctl: (fd, request, argument) =>
      this.intercept(`ioctl 0x${request.toString(16)}`) ?? this.#ioctl(fd, request, argument),
    eventfd: () => this.intercept('eventfd') ?? this.#allocate({ kind: 'eventfd', count: 0 }),
    memfd: (length) => {
      const errno = this.intercept('memfd');
      return errno ?? this.#allocate({ kind: 'memory', fd: orThrow('memfd', memfd(length)) });
    },
    raiseMemoryLock: () => this.memoryLock,
    mmap: (fd, offset, length, prot) => {
      const errno = this.intercept('mmap');
      if (errno !== undefined) throw new SystemError('mmap', -errno);
      return this.#mmap(fd, offset, length, prot);
    },
  };

  readonly reactor: Reactor = {
    watch: (fd, onReady): Watch => {
      if (!this.#fds.has(fd) || this.#watches.has(fd)) throw new Error('libuv would abort the process here');
      this.#watches.set(fd, onReady);
      this.#wake(fd);
      return { fd, [Symbol.dispose]: () => void this.#watches.delete(fd) };
    },
  };

  readonly bus = {
    add: (name: string, driver: string): Promise<void> => this.#exclusively(() => this.#attach(name, driver)),
    remove: (name: string): Promise<void> => this.#exclusively(() => this.#detach(name)),
  };

  kick(fd: number): void {
    const open = this.#fds.get(fd);
    if (open?.kind !== 'eventfd') return;
    open.count++;
    this.#wake(fd);
  }

  /** The driver lets go of the device and starts it again, as with `unbind` and `bind` in sysfs. */
  async restartDriver(name: string): Promise<void> {
    const device = this.devices.get(name)!;
    await this.drivers.get(name)?.drained();
    await device.setStatus(0);
    await device.setVqReady(0, false);
    this.drivers.get(name)?.[Symbol.dispose]();
    this.drivers.delete(name);
    this.driverScript = { ...this.driverScript, makesDisk: false };
    await this.#probe(device);
  }

  [Symbol.dispose](): void {
    for (const driver of this.drivers.values()) driver[Symbol.dispose]();
    this.drivers.clear();
  }

  /** The kernel has one lock for all of generic netlink, and holds it until the driver is done. */
  #exclusively(work: () => Promise<void>): Promise<void> {
    const done = this.#netlink.then(work);
    this.#netlink = done.catch(() => {});
    return done;
  }

  async #attach(name: string, wanted: string): Promise<void> {
    const device = this.devices.get(name);
    if (device === undefined || device.queues.some(({ maxSize }) => maxSize === 0))
      throw new Error('EINVAL: no such device, or a queue that was not set up');
    device.attached = true;
    mkdirSync(this.#busFolder(name), { recursive: true });
    const first = this.loaded[0] ?? wanted;
    if (first === 'virtio_vdpa') await this.#probe(device);
    if (wanted === 'virtio_vdpa' && first !== wanted) await this.#probe(device);
    if (wanted === 'vhost_vdpa') this.#makeVhostNode(device);
  }

  /** As QEMU does when it starts, and its guest with it. */
  async startHypervisor(name: string): Promise<FakeVirtioDriver> {
    this.driverScript = { scans: false, makesDisk: false, chooses: (offered) => offered & ~ACCESS_PLATFORM };
    await this.#probe(this.devices.get(name)!);
    return this.drivers.get(name)!;
  }

  async stopHypervisor(name: string): Promise<void> {
    await this.devices.get(name)!.setStatus(0);
    this.drivers.get(name)?.[Symbol.dispose]();
    this.drivers.delete(name);
  }

  async #detach(name: string): Promise<void> {
    const device = this.devices.get(name);
    if (device === undefined || !device.attached) return;
    await this.drivers.get(name)?.drained();
    await device.setStatus(0);
    await device.setVqReady(0, false);
    await device.setStatus(1);
    this.drivers.get(name)?.[Symbol.dispose]();
    this.drivers.delete(name);
    device.attached = false;
    rmSync(this.#busFolder(name), { recursive: true });
  }

  /** What virtio_vdpa and virtio_blk do with a new device. Its success says nothing about theirs. */
  async #probe(device: FakeVduseDevice): Promise<void> {
    const { chooses = (offered) => offered, scans = true, makesDisk = true } = this.driverScript;
    for (const status of [0, 1, 3]) if (!(await device.setStatus(status))) return;
    device.features = chooses(device.offered);
    if (!(await device.setStatus(0x0b))) return void (await device.setStatus(0x83));
    const driver = new FakeVirtioDriver(device, this.#folder, (fd) => this.kick(fd));
    this.drivers.set(device.name, driver);
    await device.setVqReady(0, true);
    this.tamperWithQueue(device.queues[0]!);
    const accepted = await device.setStatus(0x0f);
    if (accepted && scans) await driver.read(0, 512);
    if (accepted && makesDisk) this.#makeDisk(device);
  }

  #makeVhostNode(device: FakeVduseDevice): void {
    mkdirSync(join(this.#busFolder(device.name), 'vhost-vdpa-0'));
    // That of a plain file, as which it appears in /dev here.
    writeFileSync(join(this.#busFolder(device.name), 'vhost-vdpa-0/dev'), '0:0\n');
    writeFileSync(join(this.paths.dev, 'vhost-vdpa-0'), '');
  }

  #makeDisk(device: FakeVduseDevice): void {
    const minor = this.#disks++;
    const disk = `vd${String.fromCharCode(97 + minor)}`;
    mkdirSync(join(this.#busFolder(device.name), `virtio${minor}/block`, disk), { recursive: true });
    mkdirSync(join(this.paths.sys, 'block', disk));
    writeFileSync(join(this.paths.sys, 'block', disk, 'dev'), `254:${minor}\n`);
    writeFileSync(join(this.paths.dev, disk), '');
  }

  #busFolder(name: string): string {
    return join(this.paths.sys, 'bus/vdpa/devices', name);
  }

  #open(path: string): number {
    const name = basename(path);
    if (path === join(this.paths.dev, 'vduse/control')) {
      return this.#allocate({ kind: 'control', control: new FakeControl(this.#generation) });
    }
    if (path.startsWith(this.paths.run)) return this.#allocate({ kind: 'file', fd: openSync(path, 'r+') });
    const device = this.devices.get(name);
    if (device === undefined) return -ENOENT;
    if (device.opened) return -EBUSY;
    device.opened = true;
    return this.#allocate({ kind: 'device', device });
  }

  #close(fd: number): number {
    const open = this.#fds.get(fd);
    if (open === undefined) return -EBADF;
    if (this.#watches.has(fd)) throw new Error('libuv would abort the process here');
    this.#fds.delete(fd);
    if (open.kind === 'device') open.device.closed();
    if (open.kind === 'file' || open.kind === 'memory') closeSync(open.fd);
    return 0;
  }

  #read(fd: number, buffer: Uint8Array): number {
    const open = this.#fds.get(fd);
    if (open?.kind === 'device') return open.device.read(buffer);
    if (open?.kind !== 'eventfd') return -EBADF;
    if (open.count === 0) return -EAGAIN;
    open.count = 0;
    return 8;
  }

  #write(fd: number, bytes: Uint8Array): number {
    const open = this.#fds.get(fd);
    return open?.kind === 'device' ? open.device.write(bytes) : -EBADF;
  }

  #ioctl(fd: number, request: number, argument: Uint8Array | undefined): number {
    const open = this.#fds.get(fd);
    if (open?.kind === 'device') return open.device.ioctl(request, argument);
    if (open?.kind !== 'control') return -EBADF;
    switch (request) {
      case CREATE_DEV:
        return this.#create(argument!, open.control);
      case DESTROY_DEV:
        return this.#destroy(new TextDecoder().decode(argument!.subarray(0, argument!.indexOf(0))));
      default:
        return open.control.ioctl(request, argument!) ?? -EINVAL;
    }
  }

  #create(config: Uint8Array, control: FakeControl): number {
    const result = checkDeviceConfig(config, control.version, (name) => this.devices.has(name));
    if (result < 0) return result;
    const name = new TextDecoder().decode(config.subarray(0, config.indexOf(0)));
    const attribute = join(this.paths.sys, 'class/vduse', name, 'bounce_size');
    const device = new FakeVduseDevice(config, control, {
      regionFd: (region) => this.#allocate({ kind: 'region', region }),
      bounceSize: () => Number(readFileSync(attribute, 'utf8')),
      userMemory: (address) => this.#memory.get(address),
      memoryLock: () => this.memoryLock,
      isEventfd: (fd) => this.#fds.get(fd)?.kind === 'eventfd',
      wake: (woken) => {
        for (const [fd, open] of this.#fds)
          if (open.kind === 'device' && open.device === woken) this.#wake(fd);
      },
    });
    this.devices.set(device.name, device);
    mkdirSync(dirname(attribute), { recursive: true });
    writeFileSync(attribute, String(DEFAULT_BOUNCE));
    return 0;
  }

  #destroy(name: string): number {
    const device = this.devices.get(name);
    if (device === undefined) return -EINVAL;
    if (device.attached || device.opened) return -EBUSY;
    this.devices.delete(name);
    rmSync(join(this.paths.sys, 'class/vduse', name), { recursive: true });
    return 0;
  }

  #mmap(fd: number, offset: number, length: number, prot: number): SharedMapping {
    const open = this.#fds.get(fd);
    if (open === undefined || !('region' in open || 'fd' in open)) throw new SystemError('mmap', ENODEV);
    const map = new MemoryMap('fd' in open ? open.fd : open.region.ram.fd, offset, length, prot);
    const counter = open.kind === 'file' ? 'fileMappings' : 'mappings';
    this[counter]++;
    if (open.kind === 'memory') this.#memory.set(map.address, { fd: open.fd, length });
    return {
      buffer: map.buffer,
      probe: (from, bytes) => map.probe(from, bytes),
      detach: () => {
        this.detachments++;
        map.detach();
      },
      unmap: () => {
        if (map.mapped) this[counter]--;
        this.#memory.delete(map.address);
        map.unmap();
      },
    };
  }

  #allocate(open: Open): number {
    const fd = this.#nextFd++;
    this.#fds.set(fd, open);
    return fd;
  }

  /** Level-triggered: as long as there is something to read, whoever watches is called, from the event loop. */
  #wake(fd: number): void {
    setImmediate(() => {
      const open = this.#fds.get(fd);
      const onReady = this.#watches.get(fd);
      if (open === undefined || onReady === undefined) return;
      if (open.kind === 'device' && open.device.broken) onReady('error');
      else if (open.kind === 'device' ? open.device.readable : open.kind === 'eventfd' && open.count > 0) {
        onReady('readable');
        this.#wake(fd);
      }
    });
  }
}
