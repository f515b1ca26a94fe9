import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { PluginContext } from '../../core/api/backend.ts';
import type { Volume } from '../../core/api/device.ts';
import { GatewayError } from '../../core/api/errors.ts';
import type { FrontendHandle, Holder } from '../../core/api/frontend.ts';
import { linux } from '../../core/system/libc.ts';
import { loopReactor, type Reactor } from '../../core/system/reactor.ts';
import type { Syscalls } from '../../core/system/syscalls.ts';
import { blkConfigSpace } from '../virtio/blk/config-space.ts';
import { offeredFeatures } from '../virtio/blk/features.ts';
import { type BlkLimits, blkLimits } from '../virtio/blk/limits.ts';
import { AttachedDisk, type DiskExit } from './attached-disk.ts';
import { checkBounce } from './bounce.ts';
import { Capacity } from './capacity.ts';
import type { VduseConfig } from './config.ts';
import { ControlDevice } from './control-device.ts';
import { VduseDevice } from './device.ts';
import { claimDevice } from './device-claim.ts';
import { DeviceLink } from './device-link.ts';
import { waitForNode } from './device-node.ts';
import {
  busPath,
  classPath,
  controlPath,
  devicePath,
  type HostPaths,
  hostPaths,
  inFlightPath,
} from './host-paths.ts';
import { InFlightFile } from './inflight-file.ts';
import { loadModules } from './modules.ts';
import { OUTLETS } from './outlet.ts';
import { queueHome } from './queue-home.ts';
import { Session } from './session.ts';
import { type DeviceState, StateFile } from './state-file.ts';
import { kernelVdpaBus, type VdpaBus } from './vdpa-bus.ts';
import { brokenInVm, openInVm } from './vm-errors.ts';

/** The machine: everything outside of this process that a VDUSE disk needs. */
export interface Host {
  readonly syscalls: Syscalls;
  readonly reactor: Reactor;
  readonly bus: VdpaBus;
  readonly paths: HostPaths;
  /** Of the kernel, for this driver of the vDPA bus. Throws `vduse.module-missing`. */
  loadModules(driver: string): Promise<void>;
}

export const linuxHost: Host = {
  syscalls: linux,
  reactor: loopReactor,
  bus: kernelVdpaBus,
  paths: hostPaths,
  loadModules: (driver) => loadModules(driver),
};

/** The partition scan reads through the store, which may be slow to answer. */
const ATTACH_TIMEOUT_MS = 120_000;
/** Detaching writes back what the page cache holds, and waits for every request in flight. */
const DETACH_TIMEOUT_MS = 120_000;
/**
 * Data segments of one request, whatever the queue's size: with segments of 64 KiB that makes 16 MiB, a quarter of the
 * bounce memory that the kernel gives by itself, so that several find room at a time.
 */
const MAX_SEGMENTS = 254;

/** In another PID namespace, or where /proc hides the processes of others: that it drives the disk is known. */
const HIDDEN_HYPERVISOR: Holder = { kind: 'process', description: 'a process that cannot be seen from here' };

/** Makes `volume` a disk of this machine, or one for a hypervisor on it. Half-way failures leave nothing behind. */
export async function attachDisk(
  volume: Volume,
  config: VduseConfig,
  ctx: PluginContext,
  host: Host = linuxHost,
): Promise<FrontendHandle> {
  await using owned = new AsyncDisposableStack();
  const { syscalls, reactor, bus, paths } = host;
  const { logger } = ctx;
  const outlet = OUTLETS[config.attach];
  const limits = limitsOf(volume, config);
  await host.loadModules(outlet.driver);
  const wanted = deviceState(volume, config, ctx.disk, limits);
  const { name } = wanted;
  const control = owned.use(new ControlDevice(syscalls, controlPath(paths)));
  const stateFile = new StateFile(ctx.stateDir);
  let claim = claimDevice(control, stateFile, wanted, paths);
  if (claim === 'adopted' && config.attach === 'vm' && isBroken(syscalls, paths, name)) {
    await removeBroken(host, name);
    claim = claimDevice(control, stateFile, wanted, paths);
  }
  if (claim === 'created') logger.debug('VDUSE device made', { device: name, with: control.used });

  // An attached device outlives this process on purpose: it is destroyed only once it is known to be detached.
  const attached = (): boolean => existsSync(busPath(paths, name));
  const find = () => outlet.find(paths, name);
  owned.defer(() => {
    if (!attached()) destroyDevice(control, stateFile, name);
  });
  const device = owned.use(VduseDevice.open(syscalls, devicePath(paths, name), name));
  if (claim === 'created') prepare(device, config, paths);

  const inFlight = new InFlightFile({
    syscalls,
    path: inFlightPath(paths, name),
    queues: config.queues,
    queueSize: config.queueSize,
    keep: claim === 'adopted',
  });
  owned.defer(() => {
    inFlight[Symbol.dispose]();
    if (!attached()) inFlight.remove();
  });
  const exit: DiskExit = { leaveAttached: false };
  const lost = Promise.withResolvers<unknown>();
  const queueing = await queueHome(owned, {
    device,
    syscalls,
    reactor,
    logger,
    volume,
    limits,
    serial: wanted.serial,
    inFlight,
    spin: config.spin,
    onBroken: lost.resolve,
    queues: config.queues,
    queueSize: config.queueSize,
  });
  // A disk for a hypervisor that fell to this machine's driver first must not show, be scanned and perhaps be used.
  let admitted = config.attach === 'host' || claim === 'adopted';
  let onReset = () => {};
  const session = owned.use(
    new Session({
      device,
      reactor,
      logger,
      openQueues: queueing.open,
      lost: lost.promise,
      offeredFeatures: wanted.features,
      queues: config.queues,
      inFlight,
      drainTimeoutMs: (config.msgTimeout * 1000) / 2,
      admits: () => admitted,
      onReset: () => onReset(),
    }),
  );
  session.start();
  const capacity = owned.use(new Capacity({ device, session, stateFile, state: wanted }));
  // A hypervisor's device needs no driver that runs: whoever opens it comes and goes.
  const adopted =
    claim === 'adopted' && ((await session.adopt()) || (config.attach === 'vm' && find() !== undefined));
  const holders = async (): Promise<readonly Holder[]> => {
    const node = find();
    const found = node === undefined ? [] : await outlet.holders(paths, name, node);
    const isHidden = config.attach === 'vm' && found.length === 0 && session.driving;
    return isHidden ? [HIDDEN_HYPERVISOR] : found;
  };
  const detach = async (): Promise<void> => {
    if (exit.leaveAttached || !attached()) return;
    if (config.attach === 'vm') await refuseWhileOpen(session, name, await holders());
    // Whatever the page cache still holds is written now, so requests have to be served once more.
    session.resume();
    await detachDevice(bus, name);
  };
  if (!adopted) await detach();
  // A disk that is in use already is not taken away because this process cannot go on with it.
  exit.leaveAttached = adopted;
  owned.defer(detach);
  if (adopted) {
    logger.info('serving a device again that an earlier process left attached', { device: name });
    if (volume.caps.volatile) logger.warn('what the disk held was lost with that process', { device: name });
    // The store may have grown meanwhile, or that process may have died before it said so.
    capacity.announce(volume.size);
  } else {
    admitted = config.attach === 'host';
    const { driver } = outlet;
    await within(ATTACH_TIMEOUT_MS, ctx.signal, 'attach', name, (signal) =>
      attach(session, (ended) => bus.add(name, driver, ended), signal),
    );
    admitted = true;
  }
  const node = await waitForNode(find, name, ctx.signal);
  const link = new DeviceLink(paths, ctx.disk, node.path);
  owned.defer(() => {
    if (!exit.leaveAttached) link[Symbol.dispose]();
  });
  const disk = new AttachedDisk({
    path: link.path,
    node: node.path,
    usage: outlet.usage(link.path),
    holders,
    paths,
    device: name,
    queues: config.queues,
    grow: queueing.grow,
    session,
    capacity,
    owned: owned.move(),
    exit,
  });
  onReset = () => disk.watchForDetach();
  if (!session.driving) disk.watchForDetach();
  exit.leaveAttached = false;
  return disk;
}

function limitsOf(volume: Volume, config: VduseConfig): BlkLimits {
  const limits = blkLimits(volume.caps, volume.limits, config.queueSize);
  const bounded = { ...limits, segMax: Math.min(limits.segMax, MAX_SEGMENTS) };
  checkBounce(bounded, config.bounceSize);
  return bounded;
}

function deviceState(volume: Volume, config: VduseConfig, disk: string, blk: BlkLimits): DeviceState {
  const { size, caps, limits } = volume;
  const { queues, queueSize, ring, eventIdx, indirect } = config;
  return {
    name: `blockgate-${disk}`,
    attach: config.attach,
    features: offeredFeatures(caps, { layout: ring, eventIdx, indirect }),
    queues,
    queueSize,
    configSpace: blkConfigSpace({ size, caps, limits, blk, queues }),
    serial: config.serial ?? disk.slice(0, 20),
  };
}

/** What has to be set before the device is attached for the first time. */
function prepare(device: VduseDevice, config: VduseConfig, paths: HostPaths): void {
  const folder = classPath(paths, device.name);
  writeFileSync(join(folder, 'msg_timeout'), String(config.msgTimeout));
  if (config.bounceSize !== undefined) writeFileSync(join(folder, 'bounce_size'), String(config.bounceSize));
  for (let index = 0; index < config.queues; index++) device.setupQueue(index, config.queueSize);
}

/** Settles when the driver has the disk, or says that it will not. */
async function attach(
  session: Session,
  add: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const running = session.running;
  const lost = session.broken.then((error) => {
    throw error ?? new Error('the session ended');
  });
  // The bus reports success as well when the driver has refused the device.
  const refused = running.then(() => new Promise<never>(() => {}));
  await Promise.race([add(signal), lost, refused]);
}

function isBroken(syscalls: Syscalls, paths: HostPaths, name: string): boolean {
  using device = VduseDevice.open(syscalls, devicePath(paths, name), name);
  return device.broken;
}

/** Of a virtual machine that ended while nobody served its disk: the kernel waited in vain to tell of it. */
async function removeBroken({ bus, paths }: Host, name: string): Promise<void> {
  const node = OUTLETS.vm.find(paths, name);
  const [holder] = node === undefined ? [] : await OUTLETS.vm.holders(paths, name, node);
  if (holder !== undefined) throw brokenInVm(name, holder);
  await within(DETACH_TIMEOUT_MS, undefined, 'detach', name, (signal) => bus.remove(name, signal));
}

/** The device stays, with every request that was taken answered, for the next start to serve. */
async function refuseWhileOpen(session: Session, name: string, holders: readonly Holder[]): Promise<void> {
  const [holder] = holders;
  if (holder === undefined) return;
  await session.pause();
  throw openInVm(name, holder);
}

/** Whoever serves the device has to go on doing so meanwhile. Throws `vduse.detach-timeout` or `vduse.detach-failed`. */
export function detachDevice(bus: VdpaBus, name: string): Promise<void> {
  return within(DETACH_TIMEOUT_MS, undefined, 'detach', name, (signal) => bus.remove(name, signal));
}

/** Throws `vduse.destroy-failed`. */
export function destroyDevice(control: ControlDevice, stateFile: StateFile, name: string): void {
  if (control.destroy(name) === 'busy') {
    throw new GatewayError('vduse.destroy-failed', `The VDUSE device "${name}" cannot be destroyed.`, {
      why: 'The kernel says that it is still attached, or open in another process.',
      fix: `Look who has it: "fuser /dev/vduse/${name}". Starting the disk again makes it anew.`,
    });
  }
  stateFile.remove();
}

/** Runs a call to the bus for at most `ms`. Throws `vduse.attach-timeout` or `vduse.detach-timeout`. */
async function within(
  ms: number,
  signal: AbortSignal | undefined,
  what: 'attach' | 'detach',
  name: string,
  call: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const timeout = AbortSignal.timeout(ms);
  try {
    await call(signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
  } catch (cause) {
    if (!timeout.aborted || GatewayError.is(cause)) throw cause;
    const { code, why } = TIMEOUTS[what];
    throw new GatewayError(code, `The VDUSE device "${name}" did not ${what} within ${ms / 1000} s.`, {
      why,
      fix: 'Find out why the store does not answer; the log has what it said last.',
      cause,
    });
  }
}

const TIMEOUTS = {
  attach: {
    code: 'vduse.attach-timeout',
    why: 'The driver reads the disk’s first blocks before it is done, and has not got them.',
  },
  detach: {
    code: 'vduse.detach-timeout',
    why: 'The kernel waits for requests that the store has not answered.',
  },
} as const;
