import { GatewayError, type Progress, type VolumeInfo } from '../../../../core/plugin.ts';
import type { Operation } from '../../operation.ts';
import { mapPages } from '../map/block-map.ts';
import type { LogWriter } from '../writer.ts';
import { letParentGo } from './clones.ts';
import { Flattening } from './flattening.ts';
import { originOf } from './volume-record.ts';
import { describe } from './volumes.ts';
import { readVolume, withWriter } from './with-writer.ts';

/** Copied at once: 8 MiB. Blocks. */
const BATCH = 2048;

/**
 * Copies what a clone still has of its parent, or a volume of the image that it began as, so that it needs it no more. What was copied stays when this is interrupted, and
 * is not copied again. Throws `volume.needs-parent` while a snapshot of the clone does.
 */
export async function flattenVolume(operation: Operation, progress: Progress): Promise<VolumeInfo> {
  const { store, config } = operation;
  const { record, head } = await readVolume(operation);
  if (originOf(record) === undefined) {
    throw new GatewayError('volume.unsupported', `The volume at "${config.prefix}" is no clone.`, {
      why: 'Everything that it needs is its own, and it began as no image.',
    });
  }
  if (head.head.isFlat !== true)
    await withWriter(operation, async (writer, source, frames) => {
      const flattening = new Flattening({
        ...{ writer, source, frames, batch: BATCH, mapPages: mapPages(config) },
        isStopped: () => false,
        onUnreadable: (error) => {
          throw error;
        },
      });
      const needing = await flattening.needing();
      if (needing.length > 0) throw needsParent(needing);
      await flatten(flattening, writer, config.writeBuffer / 2, progress);
    }).catch((error: unknown) => {
      throw GatewayError.is(error) && error.code === 'volume.owned' ? inUse(error) : error;
    });
  // Whoever was interrupted here comes here again.
  await letParentGo(store, record);
  return describe(record, (await readVolume(operation)).head.head, config, {});
}

/** `most`: bytes that may be on their way to the store. */
async function flatten(
  flattening: Flattening,
  { appender }: LogWriter,
  most: number,
  progress: Progress,
): Promise<void> {
  try {
    for await (const { done, total } of flattening.copyAll()) {
      progress(done, total);
      if (appender.bytes > most) await appender.flushToStore();
    }
    if (!(await flattening.settle()) || !(await flattening.mark()))
      throw new Error('something of the parent is needed still');
  } finally {
    // What was copied stays, and the volume is let go only when nothing is on its way.
    if (appender.failure === undefined) await appender.flushToStore();
  }
}

function inUse({ code, message }: GatewayError): GatewayError {
  return new GatewayError(code, message, {
    why: 'A volume has one writer. That one can flatten it itself, while it goes on.',
    fix: 'Stop that gateway; or set "flatten": true in the backend of its disk and start it again.',
  });
}

function needsParent(snapshots: readonly string[]): GatewayError {
  return new GatewayError('volume.needs-parent', 'Snapshots of the volume need what it began as.', {
    why: `They are ${snapshots.map((name) => `"${name}"`).join(', ')}, and what a snapshot refers to stays where it is.`,
    fix: 'Delete these snapshots first, or keep the parent or image.',
  });
}
