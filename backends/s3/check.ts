import { randomUUID } from 'node:crypto';
import { type Finding, GatewayError, type OpenContext, type PluginContext } from '../../core/plugin.ts';
import { Layout } from './chunk/layout.ts';
import { readReadyVolume } from './chunk/volume-record.ts';
import type { S3Config } from './config.ts';
import { toGatewayError } from './errors.ts';
import { checkReadOnly, findImage } from './image/find-image.ts';
import { unlockVolume } from './log/encryption/volume-keys.ts';
import { LogNames } from './log/names.ts';
import { readLogVolume } from './log/volume/volume-record.ts';
import { startSession } from './session.ts';
import type { SdkStore } from './store/client.ts';
import type { ObjectStore } from './store/object-store.ts';
import { ATTACH_POLICY, type RetryPolicy } from './store/retrying-store.ts';
import { isStoreError } from './store/store-error.ts';
import { volumeNotFound } from './volume-errors.ts';
import { readVolumeFile, type VolumeFile } from './volume-file.ts';
import { checkLayout, layoutOf } from './volumes.ts';

/** Somebody waits for `doctor`, and a store that needs a minute is a finding. */
const CHECK_POLICY: RetryPolicy = { ...ATTACH_POLICY, giveUpAfterMs: 5000, attemptMs: 5000 };

/** What `blockgate doctor` says about the store. Changes nothing. */
export async function checkStore(
  sdk: SdkStore,
  config: S3Config,
  ctx: OpenContext,
): Promise<readonly Finding[]> {
  using _sdk = sdk;
  const store = startSession(sdk, config, ctx, ctx.signal).with(CHECK_POLICY);
  // Whose bucket need not be writable.
  if (config.layout === 'image') return [await image(store, config, ctx)];
  const layout = new Layout(config.prefix);
  try {
    await store.list(layout.root);
  } catch (error) {
    return [finding(toGatewayError(error, config))];
  }
  return [
    { severity: 'ok', summary: `bucket "${config.bucket}" can be reached with these credentials` },
    await conditionalWrites(store, layout),
    ...(await versioning(sdk, ctx.signal)),
    await volume(store, config, ctx),
  ];
}

function finding(error: unknown): Finding {
  if (!GatewayError.is(error)) return { severity: 'error', summary: (error as Error).message };
  const { message, why, fix } = error;
  return {
    severity: 'error',
    summary: why === undefined ? message : `${message} ${why}`,
    ...(fix === undefined ? {} : { fix }),
  };
}

/** Asks for a write that must be refused: an object that does not exist cannot have the ETag demanded. */
async function conditionalWrites(store: ObjectStore, layout: Layout): Promise<Finding> {
  const key = `${layout.root}probe-${randomUUID()}`;
  try {
    await store.put(key, new Uint8Array(), { condition: { etag: '"00000000000000000000000000000000"' } });
    await store.deleteMany([key]);
  } catch (error) {
    if (isStoreError(error, 'precondition-failed')) {
      return { severity: 'ok', summary: 'the store honours conditional writes' };
    }
    if (!isStoreError(error, 'rejected') && !isStoreError(error, 'server')) {
      return { severity: 'error', summary: `objects cannot be written: ${(error as Error).message}` };
    }
  }
  return {
    severity: 'error',
    summary:
      'the store does not honour conditional writes: nothing would keep a second gateway from the volume',
    fix: 'Use a store that does (AWS, Ceph 20, MinIO since 2024), or accept the risk with "unsafeNoFence": true.',
  };
}

async function versioning(sdk: SdkStore, signal: AbortSignal): Promise<readonly Finding[]> {
  try {
    if ((await sdk.versioning(signal)) !== 'Enabled') return [];
  } catch {
    // Not every store has versioning, and not everybody may ask.
    return [];
  }
  return [
    {
      severity: 'warning',
      summary: 'the bucket keeps old versions: every chunk that is overwritten stays and is paid for',
      fix: 'Add a lifecycle rule that expires noncurrent versions under the prefix after a few days.',
    },
  ];
}

/** Opens it as well: a key that is wrong is found here. */
async function logSize(
  store: ObjectStore,
  config: S3Config,
  ctx: PluginContext,
  file: VolumeFile,
): Promise<number> {
  const names = new LogNames(config.prefix);
  const { record, head } = await readLogVolume(store, names, config, file);
  await unlockVolume(store, names, record, config, ctx);
  return head.head.size;
}

async function volume(store: ObjectStore, config: S3Config, ctx: PluginContext): Promise<Finding> {
  const { prefix } = config;
  try {
    const file = await readVolumeFile(store, prefix);
    if (file === undefined) throw volumeNotFound(config);
    const layout = layoutOf(file);
    checkLayout(config, layout);
    const size =
      layout === 'log'
        ? await logSize(store, config, ctx, file)
        : (await readReadyVolume(store, new Layout(prefix), config, file)).record.size;
    return { severity: 'ok', summary: `there is a volume of ${size} bytes at "${prefix}", layout ${layout}` };
  } catch (error) {
    return finding(toGatewayError(error, config));
  }
}

async function image(store: ObjectStore, config: S3Config, ctx: OpenContext): Promise<Finding> {
  try {
    checkReadOnly(config, ctx);
    const { key, size } = await findImage(store, config);
    return { severity: 'ok', summary: `there is an image of ${size} bytes at "${key}"` };
  } catch (error) {
    return finding(toGatewayError(error, config));
  }
}
