import { existsSync } from 'node:fs';
import type { PluginContext } from '../../core/api/backend.ts';
import type { Volume } from '../../core/api/device.ts';
import { GatewayError } from '../../core/api/errors.ts';
import type { FrontendHandle } from '../../core/api/frontend.ts';
import { blkConfigSpace } from '../virtio/blk/config-space.ts';
import { offeredFeatures } from '../virtio/blk/features.ts';
import { type BlkLimits, blkLimits } from '../virtio/blk/limits.ts';
import { AttachedDisk } from './attached-disk.ts';
import { waitForBlockNode } from './block-node.ts';
import type { VduseConfig } from './config.ts';
import { VduseDevice } from './device.ts';
import { type DeviceAdmin, deviceName } from './device-admin.ts';
import { claimDevice } from './device-claim.ts';
import { type Host, linuxHost } from './frontend-host.ts';
import { busPath, devicePath } from './host-paths.ts';
import { Session } from './session.ts';
import { type DeviceState, StateFile } from './state-file.ts';

/** The partition scan reads through the store, which may be slow to answer. */
const ATTACH_TIMEOUT_MS = 120_000;
/** Detaching writes back what the page cache holds, and waits for every request in flight. */
const DETACH_TIMEOUT_MS = 120_000;
/**
 * Data segments of one request, whatever the queue's size. With segments of 64 KiB that makes 16 MiB, a quarter of
 * the smallest bounce memory: a request that does not fit between others would wait for ever.
 */
const MAX_SEGMENTS = 254;

/** Makes `volume` a disk of this machine. Half-way failures leave nothing behind. */
export async function attachDisk(
  volume: Volume,
  config: VduseConfig,
  ctx: PluginContext,
  host: Host = linuxHost,
): Promise<FrontendHandle> {
  await using owned = new AsyncDisposableStack();
  const { syscalls, reactor, paths } = host;
  const { logger } = ctx;
  const admin = owned.use(host.administer(ctx.disk));
  await admin.loadModules();
  const limits = limitsOf(volume, config);
  const wanted = deviceState(volume, config, ctx.disk, limits);
  const { name } = wanted;
  const stateFile = new StateFile(ctx.stateDir);
  const claim = await claimDevice(admin, stateFile, wanted, paths);

  // An attached device outlives this process on purpose: it is destroyed only once it is known to be detached.
  const attached = (): boolean => existsSync(busPath(paths, name));
  owned.defer(async () => {
    if (!attached()) await destroy(admin, stateFile, name);
  });
  const device = owned.use(new VduseDevice(syscalls, devicePath(paths, name), name));
  if (claim === 'created') await prepare(device, config, admin);

  let onReset = () => {};
  const session = owned.use(
    new Session({
      device,
      syscalls,
      reactor,
      logger,
      volume,
      limits,
      serial: wanted.serial,
      offeredFeatures: wanted.features,
      queues: config.queues,
      drainTimeoutMs: (config.msgTimeout * 1000) / 2,
      onReset: () => onReset(),
    }),
  );
  session.start();
  const adopted = claim === 'adopted' && session.adopt();
  const detach = async (): Promise<void> => {
    if (!attached()) return;
    // Whatever the page cache still holds is written now, so requests have to be served once more.
    session.resume();
    await within(DETACH_TIMEOUT_MS, undefined, 'detach', name, (signal) => admin.detach(signal));
  };
  if (!adopted) await detach();
  owned.defer(detach);
  if (adopted) {
    logger.info('serving a device again that an earlier process left attached', { device: name });
  } else {
    await within(ATTACH_TIMEOUT_MS, ctx.signal, 'attach', name, (signal) => attach(admin, session, signal));
  }
  await waitForBlockNode(paths, name, ctx.signal);
  owned.defer(() => admin.unlink());
  const path = await admin.link();
  const disk = new AttachedDisk({ path, paths, device: name, admin, session, owned: owned.move() });
  onReset = () => disk.watchForDetach();
  return disk;
}

function limitsOf(volume: Volume, config: VduseConfig): BlkLimits {
  const limits = blkLimits(volume.caps, volume.limits, config.queueSize);
  return { ...limits, segMax: Math.min(limits.segMax, MAX_SEGMENTS) };
}

function deviceState(volume: Volume, config: VduseConfig, disk: string, blk: BlkLimits): DeviceState {
  const { size, caps, limits } = volume;
  const { queues, queueSize } = config;
  return {
    name: deviceName(disk),
    features: offeredFeatures(caps),
    queues,
    queueSize,
    configSpace: blkConfigSpace({ size, caps, limits, blk, queues }),
    serial: config.serial ?? disk.slice(0, 20),
  };
}

/** What has to be set before the device is attached for the first time. */
async function prepare(device: VduseDevice, config: VduseConfig, admin: DeviceAdmin): Promise<void> {
  await admin.configure(config);
  for (let index = 0; index < config.queues; index++) device.setupQueue(index, config.queueSize);
}

/** Settles when the driver has the disk, or says that it will not. */
async function attach(admin: DeviceAdmin, session: Session, signal: AbortSignal): Promise<void> {
  const running = session.running;
  const lost = session.broken.then((error) => {
    throw error ?? new Error('the session ended');
  });
  // The bus reports success as well when the driver has refused the device.
  const refused = running.then(() => new Promise<never>(() => {}));
  await Promise.race([admin.attach(signal), lost, refused]);
}

async function destroy(admin: DeviceAdmin, stateFile: StateFile, name: string): Promise<void> {
  if ((await admin.destroy()) === 'busy') {
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
