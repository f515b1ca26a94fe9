import { z } from 'zod';
import type { WireError } from '../../../core/util/wire-error.ts';
import {
  MAX_BOUNCE,
  MAX_MSG_TIMEOUT,
  MAX_QUEUE_SIZE,
  MAX_QUEUES,
  MIN_BOUNCE,
  MIN_MSG_TIMEOUT,
  MIN_QUEUE_SIZE,
} from '../config.ts';
import type { DeviceShape } from '../device-admin.ts';

const attach = z.enum(['host', 'vm']);

/**
 * What a disk's process and its helper say to each other: a line of JSON each. The helper is root and trusts nobody:
 * `callSchema` is all that it understands. Which disk it is about, it was told when it was started.
 */
export const callSchema = z.discriminatedUnion('call', [
  z.strictObject({ call: z.literal('loadModules'), attach }),
  z.strictObject({
    call: z.literal('create'),
    features: z.string().regex(/^[0-9a-f]{1,16}$/),
    queues: z.int().min(1).max(MAX_QUEUES),
    configSpace: z.string().regex(/^([0-9a-f]{2}){1,256}$/),
  }),
  z.strictObject({ call: z.literal('destroy') }),
  z.strictObject({
    call: z.literal('configure'),
    msgTimeout: z.int().min(MIN_MSG_TIMEOUT).max(MAX_MSG_TIMEOUT),
    bounceSize: z.int().min(MIN_BOUNCE).max(MAX_BOUNCE).multipleOf(4096).optional(),
  }),
  z.strictObject({
    call: z.literal('provideInFlight'),
    queues: z.int().min(1).max(MAX_QUEUES),
    queueSize: z.int().min(MIN_QUEUE_SIZE).max(MAX_QUEUE_SIZE),
    keep: z.boolean(),
  }),
  z.strictObject({ call: z.literal('attach'), attach }),
  z.strictObject({ call: z.literal('detach') }),
  z.strictObject({ call: z.literal('link') }),
  z.strictObject({ call: z.literal('unlink') }),
  z.strictObject({ call: z.literal('holders') }),
]);
export type Call = z.output<typeof callSchema>;

/** From the disk's process. Calls are carried out one after the other, in their order. */
export const requestSchema = z.union([
  z.strictObject({ id: z.int().min(1), request: callSchema }),
  /** Gives up waiting for the bus, if that is what the call does. It is answered all the same. */
  z.strictObject({ cancel: z.int().min(1) }),
]);
export type Request = z.output<typeof requestSchema>;

/** From the helper. */
export interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: WireError;
}

export function createCall({ features, queues, configSpace }: DeviceShape): Call {
  return {
    call: 'create',
    features: features.toString(16),
    queues,
    configSpace: Buffer.from(configSpace).toString('hex'),
  };
}

export function deviceShape(call: Extract<Call, { call: 'create' }>): DeviceShape {
  return {
    features: BigInt(`0x${call.features}`),
    queues: call.queues,
    configSpace: Uint8Array.from(Buffer.from(call.configSpace, 'hex')),
  };
}
