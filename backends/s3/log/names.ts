/**
 * Where things lie under the prefix of a volume with the layout `log`:
 *
 *   volume.json                 what the volume is; written once
 *   head                        who writes, how long it is, which checkpoint counts; changed by conditional write only
 *   keys                        of a volume that is encrypted: its data key, wrapped; changed by conditional write only
 *   log/XX/<epoch>-<sequence>   a data object or a fence, created once, never changed
 *   ckpt/<epoch>-<number>       the map of all blocks as it was at some object, created once, never changed
 *   boot-profile                what the guest reads first when it boots; replaced as a whole, and needed by nothing
 *   refs/<uuid>                 a clone that needs a snapshot of this volume
 *
 * Numbers are hexadecimal, of 16 digits. XX: the lowest byte of the sequence, which spreads the names over a store that
 * divides its work by prefixes.
 */

export const HEAD_KEY = 'head';

/** A place in the log: the object `seq` of `epoch`. Sequences begin at 1; 0 is the place before the first object. */
export interface LogPosition {
  readonly epoch: number;
  readonly seq: number;
}

export class LogNames {
  readonly prefix: string;
  /** Ends with a slash. */
  readonly root: string;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.root = `${prefix}/`;
  }

  get volume(): string {
    return `${this.root}volume.json`;
  }

  get head(): string {
    return this.root + HEAD_KEY;
  }

  get keys(): string {
    return `${this.root}keys`;
  }

  get bootProfile(): string {
    return `${this.root}boot-profile`;
  }

  get log(): string {
    return `${this.root}log/`;
  }

  get checkpoints(): string {
    return `${this.root}ckpt/`;
  }

  object({ epoch, seq }: LogPosition): string {
    return `${this.log}${hex(seq & 0xff, 2)}/${hex(epoch)}-${hex(seq)}`;
  }

  /** The place that a key names, or undefined for a key that is none of a log. */
  positionOf(key: string): LogPosition | undefined {
    const match = key.startsWith(this.log)
      ? /^[0-9a-f]{2}\/([0-9a-f]{16})-([0-9a-f]{16})$/.exec(key.slice(this.log.length))
      : null;
    if (match === null) return undefined;
    const place = { epoch: Number.parseInt(match[1]!, 16), seq: Number.parseInt(match[2]!, 16) };
    return this.object(place) === key ? place : undefined;
  }

  get refs(): string {
    return `${this.root}refs/`;
  }

  checkpoint(epoch: number, number: number): string {
    return `${this.checkpoints}${hex(epoch)}-${hex(number)}`;
  }

  /** The epoch and the number that a key names, or undefined for one that is no checkpoint of this volume. */
  checkpointOf(key: string): LogPosition | undefined {
    const match = key.startsWith(this.checkpoints)
      ? /^([0-9a-f]{16})-([0-9a-f]{16})$/.exec(key.slice(this.checkpoints.length))
      : null;
    return match === null
      ? undefined
      : { epoch: Number.parseInt(match[1]!, 16), seq: Number.parseInt(match[2]!, 16) };
  }
}

/** Whether one place is that other one, or before it. */
export const isUpTo = (place: LogPosition, last: LogPosition): boolean =>
  place.epoch < last.epoch || (place.epoch === last.epoch && place.seq <= last.seq);

const hex = (value: number, digits = 16): string => value.toString(16).padStart(digits, '0');
