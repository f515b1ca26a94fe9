import type { Volume } from '../../core/api/device.ts';
import type { Logger } from '../../core/api/logger.ts';
import { UnflushedWrites } from '../virtio/blk/unflushed-writes.ts';
import type { VduseConfig } from './config.ts';
import { VduseDevice } from './device.ts';
import type { DeviceAdmin } from './device-admin.ts';
import type { Claim } from './device-claim.ts';
import type { DevicePlan } from './device-plan.ts';
import type { Host } from './frontend-host.ts';
import { devicePath, inFlightPath } from './host-paths.ts';
import { InFlightFile } from './inflight-file.ts';
import { LostWrites } from './lost-writes.ts';
import { OwnBounce } from './own-bounce.ts';
import { queueHome } from './queue-home.ts';
import { Session } from './session.ts';

/** A device that this process has open, and whose driver it answers. */
export interface ServedDevice {
  readonly device: VduseDevice;
  readonly session: Session;
  /** Every thread takes note of how large the volume has become. */
  grow(): Promise<void>;
  /** Serves no more, and leaves nothing in this process that the next one needs. Rejects when the store does. */
  settle(): Promise<void>;
  /** Requests fail, because answered writes were lost with an earlier process. */
  hasLostWrites(): boolean;
}

export interface ServeOptions {
  readonly host: Host;
  readonly admin: DeviceAdmin;
  readonly claim: Claim;
  readonly plan: DevicePlan;
  readonly volume: Volume;
  readonly config: VduseConfig;
  readonly logger: Logger;
  /** As in `SessionOptions`. */
  readonly admits: () => boolean;
  readonly onReset: () => void;
}

/** Serves a claimed device until `owned` is disposed of. Its messages are answered from now on. */
export async function serveDevice(
  owned: AsyncDisposableStack,
  { host, admin, claim, plan, volume, config, logger, admits, onReset }: ServeOptions,
): Promise<ServedDevice> {
  const { syscalls, reactor, paths } = host;
  const { limits, state } = plan;
  const { queues, queueSize } = config;
  const device = owned.use(VduseDevice.open(syscalls, devicePath(paths, state.name), state.name));
  if (claim === 'created') await prepare(device, config, admin);

  const bounce = config.umem ? owned.use(new OwnBounce(device, syscalls, paths)) : undefined;

  await admin.provideInFlight({ queues, queueSize, keep: claim === 'adopted' });
  const path = inFlightPath(paths, state.name);
  const inFlight = owned.use(new InFlightFile({ syscalls, path, queues, queueSize }));
  const unflushed =
    volume.caps.writeCache === 'process' ? new UnflushedWrites(inFlight.unflushed) : undefined;
  const lostWrites =
    claim === 'adopted' && unflushed?.any === true ? new LostWrites(volume, unflushed) : undefined;
  if (lostWrites !== undefined) {
    logger.error(
      'writes that an earlier process had answered were lost with it before they were flushed: every request fails until the disk is stopped and started again; then check the file system (fsck)',
      { device: state.name },
    );
  }
  const lost = Promise.withResolvers<unknown>();
  const { open, grow } = await queueHome(owned, {
    device,
    syscalls,
    reactor,
    logger,
    volume: lostWrites ?? volume,
    unflushed,
    limits,
    serial: state.serial,
    inFlight,
    spin: config.spin,
    onBroken: lost.resolve,
    queues,
    queueSize,
    bounce,
  });
  const session = owned.use(
    new Session({
      device,
      reactor,
      logger,
      openQueues: open,
      lost: lost.promise,
      offeredFeatures: state.features,
      queues,
      inFlight,
      drainTimeoutMs: (config.msgTimeout * 1000) / 2,
      admits,
      onAbandoned: () => bounce?.takeBack(),
      onReset,
    }),
  );
  session.start();
  const settle = async (): Promise<void> => {
    await session.pause();
    if (unflushed === undefined) return;
    const { mark } = unflushed;
    await (lostWrites ?? volume).flush(0);
    unflushed.flushed(mark);
  };
  return { device, session, grow, settle, hasLostWrites: () => lostWrites?.failing === true };
}

/** What has to be set before the device is attached for the first time. */
async function prepare(device: VduseDevice, config: VduseConfig, admin: DeviceAdmin): Promise<void> {
  await admin.configure(config);
  for (let index = 0; index < config.queues; index++) device.setupQueue(index, config.queueSize);
}
