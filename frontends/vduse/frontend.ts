import type { PluginContext } from '../../core/api/backend.ts';
import type { Volume } from '../../core/api/device.ts';
import type { FrontendHandle } from '../../core/api/frontend.ts';
import { AttachedDisk, type DiskExit } from './attached-disk.ts';
import { Capacity } from './capacity.ts';
import type { VduseConfig } from './config.ts';
import { DeviceAttachment } from './device-attachment.ts';
import { claimDevice, destroyDevice } from './device-claim.ts';
import { planDevice } from './device-plan.ts';
import { type Host, linuxHost } from './frontend-host.ts';
import { isAttached } from './host-paths.ts';
import { OUTLETS } from './outlet.ts';
import { serveDevice } from './served-device.ts';
import { StateFile } from './state-file.ts';

/** Makes `volume` a disk of this machine, or one for a hypervisor on it. Half-way failures leave nothing behind. */
export async function attachDisk(
  volume: Volume,
  config: VduseConfig,
  ctx: PluginContext,
  host: Host = linuxHost,
): Promise<FrontendHandle> {
  await using owned = new AsyncDisposableStack();
  const { logger, signal } = ctx;
  const { syscalls, paths } = host;
  const { attach, queues } = config;
  const admin = owned.use(host.administer(ctx.disk));
  const plan = planDevice(volume, config, ctx.disk);
  const { name } = plan.state;
  await admin.loadModules(attach);
  const stateFile = new StateFile(ctx.stateDir);
  const claim = await claimDevice({ admin, stateFile, syscalls, paths, logger }, plan.state);
  // An attached device outlives this process on purpose: it is destroyed only once it is known to be detached.
  owned.defer(async () => {
    if (!isAttached(paths, name)) await destroyDevice(admin, stateFile, name);
  });

  // A disk for a hypervisor that fell to this machine's driver first must not show, be scanned and perhaps be used.
  let admitted = attach === 'host' || claim === 'adopted';
  let disk: AttachedDisk | undefined;
  const { device, session, grow, settle, hasLostWrites } = await serveDevice(owned, {
    host,
    admin,
    claim,
    plan,
    volume,
    config,
    logger,
    admits: () => admitted,
    onReset: () => disk?.watchForDetach(),
  });
  const capacity = owned.use(new Capacity({ device, session, stateFile, state: plan.state }));
  const attachment = new DeviceAttachment({ admin, session, settle, paths, name, attach });
  const adopted = claim === 'adopted' && (await attachment.adopt());
  if (!adopted) await attachment.detach();
  // A disk that is in use already is not taken away because this process cannot go on with it.
  const exit: DiskExit = { leaveAttached: adopted };
  owned.defer(async () => {
    if (!exit.leaveAttached) await attachment.detach();
  });
  if (adopted) {
    logger.info('serving a device again that an earlier process left attached', { device: name });
    if (volume.caps.volatile) logger.warn('what the disk held was lost with that process', { device: name });
    // The store may have grown meanwhile, or that process may have died before it said so.
    capacity.announce(volume.size);
  } else {
    admitted = attach === 'host';
    await attachment.attach(signal);
    admitted = true;
  }

  const node = await attachment.node(signal);
  owned.defer(async () => {
    if (!exit.leaveAttached) await admin.unlink();
  });
  const path = await admin.link();
  const usage = OUTLETS[attach].usage(path);
  const parts = { path, usage, node: node.path, device: name, paths, queues, attachment, grow, session };
  disk = new AttachedDisk({ ...parts, settle, hasLostWrites, logger, capacity, exit, owned: owned.move() });
  if (!session.driving) disk.watchForDetach();
  exit.leaveAttached = false;
  return disk;
}
