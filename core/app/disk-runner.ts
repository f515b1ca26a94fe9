import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { OpenContext, PluginContext } from '../api/backend.ts';
import type { BlockDevice, ResolvedDevice, ThreadVolume } from '../api/device.ts';
import { BlockError, GatewayError } from '../api/errors.ts';
import type { FilterLayer } from '../api/filter.ts';
import type { FrontendHandle } from '../api/frontend.ts';
import type { Logger } from '../api/logger.ts';
import { adaptDevice, protect } from '../block/layers.ts';
import { resolve } from '../block/resolve.ts';
import { strictDevice } from '../block/strict.ts';
import { threadVolume } from '../block/thread-volume.ts';
import { DiskVolume } from '../block/volume.ts';
import type { PreparedDisk } from '../plugins/registry.ts';
import { Disk, type DiskExit } from './disk.ts';
import type { StackLayer } from './disk-stack.ts';
import { sentence } from './failures.ts';

export interface RunDiskOptions {
  readonly logger: Logger;
  /** Folder of plugins.json. */
  readonly baseDir: string;
  /** Folder that holds one folder of state per disk; created when missing. */
  readonly stateDir: string;
  readonly takeOver: boolean;
  /** How long `stop` may take before plugins are told to give up. Milliseconds. */
  readonly graceMs: number;
  /** Gives up starting. */
  readonly signal?: AbortSignal;
}

/**
 * Builds one disk: backend, automatic layers, filters, volume, frontend. What fails half-way is undone before the
 * error is thrown.
 */
export async function runDisk(plan: PreparedDisk, options: RunDiskOptions): Promise<Disk> {
  const grace = new AbortController();
  const giveUp = () => grace.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', giveUp, { once: true });
  const owned = new AsyncDisposableStack();
  try {
    options.signal?.throwIfAborted();
    const ctx = await pluginContext(plan, options, grace.signal);
    const { device, stack, store, filters, perThread } = await buildDevice(plan, ctx, owned);
    const { content } = store.info;
    const volume = new DiskVolume(plan.name, device, ctx.logger, { perThread, content });
    owned.defer(async () => volume.close());
    owned.defer(async () => volume.flush(0));
    const handle = await attach(plan, volume, ctx);
    const exit: DiskExit = { handOver: false };
    owned.defer(async () => (exit.handOver ? handle.release?.() : handle[Symbol.asyncDispose]()));
    owned.defer(() => handle.quiesce());
    const { size, caps } = volume;
    const { path, usage = [] } = handle;
    const details = { name: plan.name, path, usage, size, stack, caps };
    return new Disk(details, {
      handle,
      volume,
      store,
      filters,
      exit,
      owned,
      grace,
      graceMs: options.graceMs,
    });
  } catch (error) {
    await undo(owned, plan.name, options.logger);
    throw options.signal?.aborted ? options.signal.reason : error;
  } finally {
    options.signal?.removeEventListener('abort', giveUp);
  }
}

/** What the plugins of a disk are given. Creates the folder of its state. */
export async function pluginContext(
  plan: Pick<PreparedDisk, 'name' | 'readOnly'>,
  options: RunDiskOptions,
  signal: AbortSignal,
): Promise<OpenContext> {
  const stateDir = join(options.stateDir, plan.name);
  try {
    // A disk that is served by another user has to get through the folder of all.
    await mkdir(options.stateDir, { recursive: true, mode: 0o755 });
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new GatewayError('disk.state-folder', `The folder ${stateDir} cannot be created.`, {
      why: sentence(cause),
      fix: 'Run as a user who may write there, or name another folder with --state-dir.',
      cause,
    });
  }
  return {
    disk: plan.name,
    logger: options.logger.child({ disk: plan.name }),
    signal,
    stateDir,
    baseDir: options.baseDir,
    readOnly: plan.readOnly,
    takeOver: options.takeOver,
  };
}

/** What a stack is built of; of the frontend only what it is called. */
export interface DevicePlan extends Pick<PreparedDisk, 'name' | 'readOnly' | 'backend' | 'filters'> {
  readonly frontend: { readonly plugin: { readonly name: string } };
}

interface OpenedDevice {
  /** The top of the stack. */
  readonly device: ResolvedDevice;
  readonly stack: StackLayer[];
  /** What the backend returned. */
  readonly store: BlockDevice;
  /** By name; the first is nearest the guest. */
  readonly filters: readonly (readonly [name: string, layer: FilterLayer])[];
  readonly perThread: ThreadVolume | undefined;
}

/** Opens the backend and puts the layers on it; `owned` disposes of them, the guest side first. */
export async function buildDevice(
  plan: DevicePlan,
  ctx: OpenContext,
  owned: AsyncDisposableStack,
): Promise<OpenedDevice> {
  const { backend, filters, frontend } = plan;
  const opened = await backend.plugin
    .open(backend.config, ctx)
    .catch((cause: unknown) =>
      fail('disk.open-failed', `Backend "${backend.plugin.name}" cannot open`, plan, cause),
    );
  const watched = isStrict(process.env) ? strictly(opened, ctx.logger) : opened;
  owned.use(watched);
  const stack: StackLayer[] = [{ kind: 'backend', name: backend.plugin.name }];
  const adapted = adaptDevice(resolve(watched, backend.plugin.name));
  stack.unshift(...automatic(adapted.added));
  let device = adapted.device;
  const layers: [string, FilterLayer][] = [];
  for (const filter of filters.toReversed()) {
    const layer = await wrap(filter, device, plan, ctx);
    owned.defer(async () => layer[Symbol.asyncDispose]?.());
    device = layer;
    layers.unshift([filter.plugin.name, layer]);
    stack.unshift({ kind: 'filter', name: filter.plugin.name });
  }
  const protectedDevice = protect(device, plan.readOnly);
  stack.unshift({ kind: 'frontend', name: frontend.plugin.name }, ...automatic(protectedDevice.added));
  const perThread = threadVolume({
    name: plan.name,
    backend: backend.plugin.name,
    readOnly: plan.readOnly,
    opener: watched.perThread,
    filters: filters.length,
    automatic: [...adapted.added, ...protectedDevice.added].map(({ name }) => name),
  });
  return { device: protectedDevice.device, stack, store: watched, filters: layers, perThread };
}

/** For authors of backends: docs/writing-a-backend.md. */
const isStrict = (env: NodeJS.ProcessEnv): boolean => env['BLOCKGATE_STRICT'] === '1';

/** In one thread: devices of other threads would go unwatched. */
function strictly(device: BlockDevice, logger: Logger): BlockDevice {
  logger.warn('BLOCKGATE_STRICT: each request is copied and checked; this is slow');
  return strictDevice(device, (what) => {
    logger.error('the backend, or what is above it, breaks the contract', { what });
    throw new BlockError('EIO', `against the contract of backends: ${what}`);
  });
}

/** `adaptDevice` lists layers in the order it added them, from the store outwards. */
function automatic(added: readonly { name: string; reason: string }[]): StackLayer[] {
  return added.toReversed().map(({ name, reason }) => ({ kind: 'automatic', name, reason }));
}

async function wrap(
  filter: PreparedDisk['filters'][number],
  next: ResolvedDevice,
  plan: DevicePlan,
  ctx: PluginContext,
) {
  try {
    return await filter.plugin.wrap(next, filter.config, ctx);
  } catch (cause) {
    return fail('disk.filter-failed', `Filter "${filter.plugin.name}" cannot start`, plan, cause);
  }
}

async function attach(plan: PreparedDisk, volume: DiskVolume, ctx: PluginContext): Promise<FrontendHandle> {
  const { plugin, config } = plan.frontend;
  try {
    return await plugin.attach(volume, config, ctx);
  } catch (cause) {
    return fail('disk.attach-failed', `Frontend "${plugin.name}" cannot attach`, plan, cause);
  }
}

/** A plugin that explains itself with a `GatewayError` is not second-guessed. */
function fail(code: string, what: string, plan: Pick<PreparedDisk, 'name'>, cause: unknown): never {
  if (GatewayError.is(cause)) throw cause;
  throw new GatewayError(code, `${what} disk "${plan.name}".`, { why: sentence(cause), cause });
}

async function undo(owned: AsyncDisposableStack, disk: string, logger: Logger): Promise<void> {
  try {
    await owned.disposeAsync();
  } catch (error) {
    // The reason why the start failed matters more to the user than this one.
    logger.warn('cleaning up after a failed start failed too', { disk, error });
  }
}
