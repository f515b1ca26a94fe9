import { z } from 'zod';
import { GatewayError, isCertainlyDead, type Logger } from '../../core/plugin.ts';

export const processIdentity = z.object({
  host: z.string(),
  pid: z.int(),
  bootId: z.string(),
  pidNamespace: z.string(),
  startTime: z.string(),
});

/** Who has a volume, for people: what keeps a second writer from it is the store. */
export interface Holder {
  readonly disk: string;
  readonly since: string;
  readonly process: z.output<typeof processIdentity>;
}

/** Who, where, since when. */
export function describeHolder({ disk, process: { host, pid }, since }: Holder): string {
  return `disk "${disk}" of pid ${pid} on ${host}, since ${since}`;
}

/** Throws `volume.owned` unless the holder is dead for certain, or the volume is to be taken from it. */
export function refuseUnlessGone(
  holder: Holder,
  { takeOver, logger, disk }: { readonly takeOver: boolean; readonly logger: Logger; readonly disk: string },
): void {
  if (isCertainlyDead(holder.process)) {
    logger.info('taking the volume over from a process that is gone', { owner: describeHolder(holder) });
    return;
  }
  if (takeOver) {
    logger.warn('taking the volume over, as asked', { owner: describeHolder(holder) });
    return;
  }
  throw new GatewayError('volume.owned', `The volume is in use by ${describeHolder(holder)}.`, {
    why: 'A volume has one writer; a second one would destroy it.',
    fix: `Stop that gateway. If it is gone for good: blockgate run --take-over ${disk}`,
  });
}
