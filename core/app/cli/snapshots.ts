import type { ChangedRange, SnapshotOperations, VolumeInfo } from '../../api/backend.ts';
import type { PointInfo, SnapshotInfo } from '../../api/device.ts';
import { GatewayError } from '../../api/errors.ts';
import { formatSize } from '../../util/size.ts';
import { printVolume } from './print-volume.ts';
import { ProgressBar } from './progress-bar.ts';
import { table } from './table.ts';
import type { Terminal } from './terminal.ts';
import type { VolumeOperation, VolumeRequest } from './volumes.ts';

export type SnapshotAction =
  | 'snapshot'
  | 'snapshots'
  | 'points'
  | 'rollback'
  | 'clone'
  | 'flatten'
  | 'changes'
  | 'delete-snapshot';

/** Runs one operation on snapshots of volumes that nobody has open, and prints what it returns. */
export async function operateOnSnapshots(
  action: SnapshotAction,
  { volumes: { snapshots }, config, clone, ctx }: VolumeOperation,
  request: VolumeRequest,
  terminal: Terminal,
): Promise<void> {
  if (snapshots === undefined) {
    throw new GatewayError('volume.unsupported', `The backend of ${request.target} has no snapshots.`, {
      fix: 'Use a store that has them: s3, with the layout "log".',
    });
  }
  const name = request.name!;
  const moment = request.at && { at: request.at };
  if ((action === 'points' || moment !== undefined) && snapshots.points === undefined) {
    throw new GatewayError('volume.unsupported', `The backend of ${request.target} has no points in time.`, {
      why: 'It does not remember what a volume was.',
      fix: 'Use a store that does: s3, with the layout "log" and a "retention".',
    });
  }
  switch (action) {
    case 'snapshot':
      return printSnapshots([await snapshots.create(config, name, ctx, moment)], request, terminal);
    case 'points':
      return printPoints(await snapshots.points!(config, ctx), request, terminal);
    case 'snapshots':
      return printSnapshots(await snapshots.list(config, ctx), request, terminal);
    case 'rollback': {
      const kept = await snapshots.rollback(config, moment ?? name, ctx);
      const to = moment?.at.toISOString() ?? name;
      if (request.json) return terminal.printJson({ rolledBackTo: to, kept });
      const what = moment === undefined ? `what "${to}" is` : `as it was at ${to}`;
      return terminal.say(`${request.target}: is ${what}; what it was is kept as "${kept.name}"`);
    }
    case 'clone':
      return printVolume(await snapshots.clone(config, moment ?? name, clone, ctx), request, terminal);
    case 'flatten':
      return printVolume(await flatten({ snapshots, config, ctx }, request, terminal), request, terminal);
    case 'changes':
      return await printChanges({ snapshots, config, ctx }, request, terminal);
    case 'delete-snapshot':
      await snapshots.delete(config, name, ctx);
      if (request.json) return terminal.printJson({ deleted: name });
      return terminal.say(`${request.target}: snapshot "${name}" deleted`);
  }
}

type Snapshots = Pick<VolumeOperation, 'config' | 'ctx'> & {
  readonly snapshots: SnapshotOperations<unknown>;
};

async function flatten(
  { snapshots, config, ctx }: Snapshots,
  { target }: VolumeRequest,
  terminal: Terminal,
): Promise<VolumeInfo> {
  if (snapshots.flatten === undefined)
    throw new GatewayError(
      'volume.unsupported',
      `The backend of ${target} cannot make a clone independent.`,
      {
        fix: 'Copy it: blockgate volume export, then import.',
      },
    );
  using bar = new ProgressBar(terminal, 'Flattening', { unit: 'count' });
  return await snapshots.flatten(config, (done, total) => bar.update(done, total), ctx);
}

/** Line by line: there may be many. */
async function printChanges(
  {
    snapshots,
    config,
    ctx,
  }: Pick<VolumeOperation, 'config' | 'ctx'> & { readonly snapshots: SnapshotOperations<unknown> },
  { target, name, to, json }: VolumeRequest,
  terminal: Terminal,
): Promise<void> {
  if (snapshots.changes === undefined) {
    throw new GatewayError('volume.unsupported', `The backend of ${target} does not know what has changed.`, {
      fix: 'Use a store that does: s3, with the layout "log".',
    });
  }
  const found: ChangedRange[] = [];
  const total = { data: 0, hole: 0 };
  let isFirst = true;
  await snapshots.changes(
    config,
    { from: name!, to },
    (range) => {
      total[range.kind] += range.length;
      if (json) found.push(range);
      else {
        if (isFirst) terminal.print(LINE('OFFSET', 'LENGTH', 'KIND'));
        terminal.print(LINE(`${range.offset}`, `${range.length}`, range.kind));
      }
      isFirst = false;
    },
    ctx,
  );
  if (json) return terminal.printJson(found);
  terminal.say(
    `${target}: since "${name}" ${formatSize(total.data)} of data have changed, and ${formatSize(total.hole)} became zeros`,
  );
}

const LINE = (offset: string, length: string, kind: string): string =>
  `${offset.padStart(16)}  ${length.padStart(16)}  ${kind}`;

function printSnapshots(
  snapshots: readonly SnapshotInfo[],
  { json }: VolumeRequest,
  terminal: Terminal,
): void {
  if (json) {
    terminal.printJson(snapshots);
    return;
  }
  const rows = snapshots.map(({ name, size, createdAt }) => [name, formatSize(size), createdAt]);
  terminal.print(table(['NAME', 'SIZE', 'CREATED'], rows));
}

function printPoints(points: readonly PointInfo[], { json }: VolumeRequest, terminal: Terminal): void {
  if (json) {
    terminal.printJson(points);
    return;
  }
  terminal.print(
    table(
      ['TIME', 'SIZE'],
      points.map(({ at, size }) => [at, formatSize(size)]),
    ),
  );
}
