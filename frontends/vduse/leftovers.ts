import { existsSync, lstatSync, readlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import type { Leftover } from '../../core/api/frontend.ts';
import type { Logger } from '../../core/api/logger.ts';
import { MAX_QUEUE_SIZE, MAX_QUEUES } from './config.ts';
import { deadVolume } from './dead-volume.ts';
import { VduseDevice } from './device.ts';
import type { DeviceAdmin } from './device-admin.ts';
import { detachDevice } from './device-attachment.ts';
import { destroyDevice } from './device-claim.ts';
import { entries } from './device-node.ts';
import type { Host } from './frontend-host.ts';
import { busPath, devicePath, type HostPaths, inFlightPath } from './host-paths.ts';
import { InFlightFile } from './inflight-file.ts';
import { findUsers } from './outlet.ts';
import { QueueSet } from './queue-set.ts';
import { Session } from './session.ts';
import { type DeviceState, StateFile } from './state-file.ts';

const PREFIX = 'blockgate-';
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
      holders: () => findUsers(paths, device),
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
  const disk = name.slice(PREFIX.length);
  using admin = host.administer(disk);
  if (existsSync(busPath(paths, name))) {
    using device = VduseDevice.open(syscalls, devicePath(paths, name), name);
    const features = featuresOf(device);
    if (features === undefined) {
      // Without an answer the kernel lets go of a device that it has given up before.
      await detachDevice(admin, name);
    } else {
      using inFlight = await inFlightOf(host, admin, device, stateFile.read());
      await using session = deadSession(host, device, features, inFlight, logger);
      session.start();
      await adopt(session, name);
      await detachDevice(admin, name);
    }
  }
  await destroyDevice(admin, stateFile, name);
  removeLink(join(paths.dev, 'blockgate', disk));
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
async function inFlightOf(
  { syscalls, paths }: Host,
  admin: DeviceAdmin,
  device: VduseDevice,
  made: DeviceState | undefined,
): Promise<InFlightFile> {
  const { queues, queueSize } = made ?? { queues: countQueues(device), queueSize: MAX_QUEUE_SIZE };
  await admin.provideInFlight({ queues, queueSize, keep: true });
  const path = inFlightPath(paths, device.name);
  return new InFlightFile({ syscalls, path, queues, queueSize });
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
