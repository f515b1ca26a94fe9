import { randomUUID } from 'node:crypto';
import type { Finding, PluginContext } from '../../../core/plugin.ts';
import type { S3Config } from '../config.ts';
import { deleteAll, type Operation, withStore } from '../operation.ts';
import type { FaultyUploads, ObjectStore } from '../store/object-store.ts';
import { ATTACH_POLICY, type RetryPolicy } from '../store/retrying-store.ts';
import { isStoreError } from '../store/store-error.ts';
import { CONDITION_TRIALS } from './conditions.ts';
import { CONTENT_TRIALS } from './content.ts';
import { latencies } from './latencies.ts';
import { layouts } from './layouts.ts';
import type { Concern, Trial } from './trial.ts';
import { uploadTrials } from './uploads.ts';

/** A store that gives no answer for so long has failed a trial, and there are many. */
const POLICY: RetryPolicy = { ...ATTACH_POLICY, giveUpAfterMs: 10_000 };

/**
 * Tries whether the store keeps to what the layouts need, with objects of its own beside the volume's, and removes them.
 * Owns `store`.
 */
export function qualifyStore(
  store: ObjectStore & Partial<FaultyUploads>,
  config: S3Config,
  ctx: PluginContext,
  policy: Partial<RetryPolicy> = {},
): Promise<readonly Finding[]> {
  const faulty = store.putAs === undefined ? undefined : (store as FaultyUploads);
  return withStore(store, config, ctx, (operation) => qualify(operation, faulty), { ...POLICY, ...policy });
}

async function qualify(
  { store, config, ctx }: Operation,
  faulty: FaultyUploads | undefined,
): Promise<readonly Finding[]> {
  const root = `${config.prefix}-qualify-${randomUUID()}/`;
  const used: string[] = [];
  const key = (): string => {
    const name = `${root}${used.length}`;
    used.push(name);
    return name;
  };
  const trials = [
    ...CONDITION_TRIALS,
    ...CONTENT_TRIALS,
    ...(faulty === undefined ? [] : uploadTrials(faulty)),
  ];
  const findings: Finding[] = faulty === undefined ? [UNTRIED] : [];
  const lacking = new Set<Concern>();
  try {
    for (const trial of trials) {
      ctx.signal.throwIfAborted();
      const finding = await tried(trial, store, key);
      findings.push(finding);
      if (finding.severity !== 'ok') lacking.add(trial.about);
    }
    findings.push({ severity: 'ok', summary: await latencies(store, key) });
  } catch (error) {
    await deleteAll(store, used).catch(() => undefined);
    throw error;
  }
  return [...findings, ...(await cleanUp(store, root, used)), ...layouts(lacking)];
}

const UNTRIED: Finding = {
  severity: 'warning',
  summary: 'uploads that fail could not be tried: this store is used by way of the SDK alone',
};

async function tried(
  { summary, about, run }: Trial,
  store: ObjectStore,
  key: () => string,
): Promise<Finding> {
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const problem = await run({ store, key, note }).catch((error: unknown) => {
    if (isStoreError(error)) return error.message;
    throw error;
  });
  if (problem === undefined) return { severity: 'ok', summary: [summary, ...notes].join('; ') };
  const failed = `not so: ${summary}; ${problem}`;
  if (about !== 'transit') return { severity: 'error', summary: failed };
  return {
    severity: 'warning',
    summary: failed,
    fix: 'Use an https endpoint, which protects what is on its way, or a store that verifies checksums.',
  };
}

/** Also what arrived after its deletion. Says when something stays. */
async function cleanUp(store: ObjectStore, root: string, used: readonly string[]): Promise<Finding[]> {
  try {
    await deleteAll(store, used);
    const { objects } = await store.list(root);
    if (objects.length > 0)
      await deleteAll(
        store,
        objects.map(({ key }) => key),
      );
    return [];
  } catch (error) {
    return [
      {
        severity: 'warning',
        summary: `what was written to try the store could not be deleted: ${(error as Error).message}`,
        fix: `Delete the objects under ${root}.`,
      },
    ];
  }
}
