import { GatewayError } from '../../../core/api/errors.ts';

/**
 * What the logs of requests in flight have in common, whatever the layout of their ring. A log is memory that outlives
 * the process: it says which chains were taken and not given back, in the format of vhost-user ("Inflight I/O
 * tracking"). All of it zero means that no queue has used it yet.
 */
export const INFLIGHT_VERSION = 1;
/** Fields of the header that both layouts have, as 16-bit units: version, number of entries. */
export const INFLIGHT_VERSION_UNIT = 4;
export const INFLIGHT_DESC_NUM_UNIT = 5;

/** Header and entries of the larger layout, that of packed rings; regions of several queues start on cache lines. */
const HEADER_BYTES = 32;
const ENTRY_BYTES = 32;
const REGION_ALIGN = 64;

/** Bytes of a log that is large enough for a queue of `num` entries in either layout. */
export function inFlightLogBytes(num: number): number {
  return Math.ceil((HEADER_BYTES + ENTRY_BYTES * num) / REGION_ALIGN) * REGION_ALIGN;
}

/** True once a queue has used the log: a successor of that queue starts from it. */
export function isInFlightLogInUse(log: Uint8Array): boolean {
  return new Uint16Array(log.buffer, log.byteOffset, INFLIGHT_VERSION_UNIT + 1)[INFLIGHT_VERSION_UNIT] !== 0;
}

/** Throws `virtio.bad-inflight-log` unless the log, which is in use, is one of a queue of `num` entries. */
export function checkInFlightHeader(units: Uint16Array, num: number): void {
  const version = units[INFLIGHT_VERSION_UNIT]!;
  if (version !== INFLIGHT_VERSION) throw badInFlightLog(`It is of version ${version}.`);
  const entries = units[INFLIGHT_DESC_NUM_UNIT]!;
  if (entries !== num)
    throw badInFlightLog(`It is the log of a virtqueue of ${entries} entries, and this one has ${num}.`);
}

export function badInFlightLog(why: string): GatewayError {
  return new GatewayError(
    'virtio.bad-inflight-log',
    'The log of requests in flight is not that of this virtqueue.',
    {
      why,
      fix: 'Restart this machine (the virtual machine, if it is one). What was flushed to the disk before is safe.',
    },
  );
}
