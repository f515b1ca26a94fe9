import { type BlockDevice, BlockError, type OpenContext } from '../../core/plugin.ts';
import type { S3Config } from './config.ts';
import { explained } from './errors.ts';
import { type Session, startSession } from './session.ts';
import type { ObjectStore } from './store/object-store.ts';
import { ATTACH_POLICY, type RetryPolicy, RUN_POLICY } from './store/retrying-store.ts';

/** What a disk stands on while it is open. */
export interface DiskSession extends Session {
  /** For opening: somebody waits at the prompt. */
  readonly starting: ObjectStore;
  /** For a disk that runs. */
  readonly running: ObjectStore;
  /** Ends every request. */
  readonly life: AbortController;
  /** Undone when the disk is closed, or cannot be opened. */
  readonly undo: AsyncDisposableStack;
}

/** Makes the device; `close` releases everything that it stands on. */
export type MakeDevice = (close: () => Promise<void>) => BlockDevice;

/**
 * Opens a disk on `store`, which it owns: disposes of it with the disk, or when that cannot be opened. `policy` overrides
 * how a running disk tries again.
 */
export async function openDisk(
  store: ObjectStore,
  config: S3Config,
  ctx: OpenContext,
  policy: Partial<RetryPolicy>,
  open: (session: DiskSession) => Promise<MakeDevice>,
): Promise<BlockDevice> {
  await using undo = new AsyncDisposableStack();
  undo.use(store);
  const life = new AbortController();
  const giveUp = () =>
    life.abort(new BlockError('ESHUTDOWN', 'the disk was stopped before the store answered'));
  ctx.signal.addEventListener('abort', giveUp, { once: true });
  if (ctx.signal.aborted) giveUp();
  undo.defer(() => {
    ctx.signal.removeEventListener('abort', giveUp);
    giveUp();
  });
  const session = startSession(store, config, ctx, life.signal);
  const starting = session.with(ATTACH_POLICY);
  const running = session.with({
    ...RUN_POLICY,
    giveUpAfterMs: config.giveUpAfter === undefined ? undefined : config.giveUpAfter * 1000,
    attemptMs: config.requestTimeout * 1000,
    ...policy,
  });
  const make = await explained(config, () => open({ ...session, starting, running, life, undo }));
  const owned = undo.move();
  return make(() => owned.disposeAsync());
}
