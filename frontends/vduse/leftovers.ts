import { existsSync, lstatSync, readlinkSync, rmSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import type { Holder, Leftover } from '../../core/api/frontend.ts';
import type { Logger } from '../../core/api/logger.ts';
import { ControlDevice } from './control-device.ts';
import { deadVolume } from './dead-volume.ts';
import { VduseDevice } from './device.ts';
import { entries } from './device-node.ts';
import { destroyDevice, detachDevice, type Host } from './frontend.ts';
import { busPath, controlPath, devicePath, type HostPaths, inFlightPath } from './host-paths.ts';
import { InFlightFile } from './inflight-file.ts';
import { OUTLETS } from './outlet.ts';
import { QueueSet } from './queue-set.ts';
import { Session } from './session.ts';
import { type DeviceState, StateFile } from './state-file.ts';

const PREFIX = 'blockgate-';
/** As many as the configuration allows. */
const MAX_QUEUES = 64;
const MAX_QUEUE_SIZE = 1024;
const DRAIN_MS = 5_000;

/** VDUSE devices of disks that no process serves. */
export function findLeftovers(host: Host): Leftover[] {
  const { paths } = host;
  const devices = entries(join(paths.sys, 'class/vduse')).filter((name) => name.startsWith(PREFIX));
  const served = openDevices(paths);
  return devices
    .filter((device) => !served.has(devicePath(paths, device)))
    .map((device) => ({
      disk: device.slice(PREFIX.length),
      device,
      holders: () => holders(paths, device),
      destroy: ({ stateDir, logger }) => destroyLeftover(host, device, new StateFile(stateDir), logger),
    }));
}

/** Paths below /dev/vduse that some process has open. */
function openDevices({ proc, dev }: HostPaths): Set<string> {
  const open = new Set<string>();
  for (const pid of entries(proc).filter((name) => /^\d+$/.test(name))) {
    for (const fd of entries(join(proc, pid, 'fd'))) {
      const target = linkTarget(join(proc, pid, 'fd', fd));
      if (target?.startsWith(join(dev, 'vduse/'))) open.add(target);
    }
  }
  return open;
}

async function holders(paths: HostPaths, device: string): Promise<readonly Holder[]> {
  for (const outlet of Object.values(OUTLETS)) {
    const node = outlet.find(paths, device);
    if (node !== undefined) return outlet.holders(paths, device, node);
  }
  return [];
}

/**
 * Detaching is a conversation between the kernel and whoever serves the device, so this serves it meanwhile: every
 * request fails, those that a dead process had taken first. Throws `vduse.leftover-waits` when nobody can tell which
 * those are: without an answer to each of them, detaching would block the kernel for good.
 */
async function destroyLeftover(
  host: Host,
  name: string,
  stateFile: StateFile,
  logger: Logger,
): Promise<void> {
  const { syscalls, paths } = host;
  using control = new ControlDevice(syscalls, controlPath(paths));
  if (existsSync(busPath(paths, name))) {
    using device = VduseDevice.open(syscalls, devicePath(paths, name), name);
    const features = featuresOf(device);
    if (features === undefined) {
      // Without an answer the kernel lets go of a device that it has given up before.
      await detachDevice(host.bus, name);
    } else {
      using inFlight = inFlightOf(host, device, stateFile.read());
      await using session = deadSession(host, device, features, inFlight, logger);
      session.start();
      await adopt(session, name);
      await detachDevice(host.bus, name);
    }
  }
  destroyDevice(control, stateFile, name);
  rmSync(inFlightPath(paths, name), { force: true });
  removeLink(join(paths.dev, 'blockgate', name.slice(PREFIX.length)));
}

/** Undefined: the kernel has given the device up. */
function featuresOf(device: VduseDevice): bigint | undefined {
  try {
    return device.features();
  } catch {
    return undefined;
  }
}

/** As the process that made the device left it; lost when there is no record of how it was made. */
function inFlightOf(
  { syscalls, paths }: Host,
  device: VduseDevice,
  made: DeviceState | undefined,
): InFlightFile {
  const { queues, queueSize } = made ?? { queues: countQueues(device), queueSize: MAX_QUEUE_SIZE };
  return new InFlightFile({
    syscalls,
    path: inFlightPath(paths, device.name),
    queues,
    queueSize,
    keep: true,
  });
}

async function adopt(session: Session, name: string): Promise<void> {
  try {
    await session.adopt();
  } catch (error) {
    if (GatewayError.is(error) && error.code === 'vduse.requests-outstanding')
      throw requestsWait(name, error);
    throw error;
  }
}

function deadSession(
  host: Host,
  device: VduseDevice,
  features: bigint,
  inFlight: InFlightFile,
  logger: Logger,
): Session {
  const { syscalls, reactor } = host;
  const { volume, limits } = deadVolume(device.name);
  const lost = Promise.withResolvers<unknown>();
  const context = { device, syscalls, reactor, logger, volume, limits, inFlight, serial: '', spinUs: 0 };
  return new Session({
    device,
    reactor,
    logger,
    openQueues: (driverFeatures, infos) =>
      new QueueSet({ ...context, onBroken: lost.resolve }, driverFeatures, infos),
    inFlight,
    lost: lost.promise,
    admits: () => true,
    // What its driver chose was offered once.
    offeredFeatures: features,
    queues: countQueues(device),
    drainTimeoutMs: DRAIN_MS,
  });
}

/** The kernel does not tell how many there are, but knows which it does not have. */
function countQueues(device: VduseDevice): number {
  for (let index = 0; index < MAX_QUEUES; index++) {
    try {
      device.queueInfo(index, 'split');
    } catch {
      return index;
    }
  }
  return MAX_QUEUES;
}

function removeLink(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) unlinkSync(path);
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function requestsWait(name: string, cause: unknown): GatewayError {
  const disk = name.slice(PREFIX.length);
  return new GatewayError('vduse.leftover-waits', `The VDUSE device "${name}" cannot be detached now.`, {
    why: 'Requests that its process took wait for an answer, and detaching would wait for them, in the kernel, for good.',
    fix: `Start the disk, which answers them: "blockgate run ${disk}". Stopping it then removes the device.`,
    cause,
  });
}
