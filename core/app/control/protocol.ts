import { z } from 'zod';
import type { SnapshotInfo } from '../../api/device.ts';
import { GatewayError } from '../../api/errors.ts';
import type { WireError } from '../../util/wire-error.ts';
import type { DiskStatus } from '../disk-status.ts';

/**
 * What the command line says to a running gateway: one request and one response over a Unix socket, a line of JSON
 * each. The version is raised when the two would misunderstand each other.
 */
export const PROTOCOL_VERSION = 1;

/** Longest request. Bytes. */
export const MAX_REQUEST = 64 * 1024;
/** Longest response. Bytes. */
export const MAX_RESPONSE = 4 * 2 ** 20;

const disk = z.string().max(64);

const requestSchema = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('status') }),
  z.strictObject({ method: z.literal('detach'), disk, force: z.boolean() }),
  z.strictObject({ method: z.literal('upgrade'), disk }),
  z.strictObject({ method: z.literal('resize'), disk, size: z.int().positive().optional() }),
  z.strictObject({
    method: z.literal('snapshot'),
    disk,
    name: z.string().max(100),
    at: z.iso.datetime({ offset: true }).optional(),
  }),
]);

const envelopeSchema = z.strictObject({ version: z.int(), request: z.unknown() });

const responseSchema = z.object({ version: z.int(), result: z.unknown(), error: z.unknown() }).partial();

export type ControlRequest = z.output<typeof requestSchema>;

/** What each method returns. */
export interface ControlResults {
  readonly status: GatewayStatus;
  /** Who used the disk, and lost it. */
  readonly detach: { readonly holders: readonly { readonly description: string }[] };
  readonly upgrade: { readonly pausedMs: number };
  readonly resize: { readonly size: number };
  readonly snapshot: SnapshotInfo;
}

export interface GatewayStatus {
  readonly pid: number;
  readonly uptimeMs: number;
  /** Absolute path of its plugins.json. */
  readonly config: string;
  readonly disks: readonly DiskStatus[];
}

export function encodeRequest(request: ControlRequest): string {
  return `${JSON.stringify({ version: PROTOCOL_VERSION, request })}\n`;
}

/** Throws `gateway.bad-request` or `gateway.other-version`. */
export function decodeRequest(line: string): ControlRequest {
  const envelope = envelopeSchema.safeParse(parseJson(line));
  if (!envelope.success) throw badRequest('It is not a request.');
  if (envelope.data.version !== PROTOCOL_VERSION) throw otherVersion(envelope.data.version);
  const request = requestSchema.safeParse(envelope.data.request);
  if (!request.success) throw badRequest(z.prettifyError(request.error).replaceAll('\n', ' '));
  return request.data;
}

export type ControlResponse = { readonly result: unknown } | { readonly error: WireError };

export function encodeResponse(response: ControlResponse): string {
  return `${JSON.stringify({ version: PROTOCOL_VERSION, ...response })}\n`;
}

/** Throws `gateway.no-answer` or `gateway.other-version`. */
export function decodeResponse(line: string): ControlResponse {
  const parsed = responseSchema.safeParse(parseJson(line));
  if (!parsed.success || parsed.data.version === undefined) throw noAnswer('What it said is not a response.');
  const { version, result, error } = parsed.data;
  if (version !== PROTOCOL_VERSION) throw otherVersion(version);
  return error === undefined ? { result } : { error: error as WireError };
}

export function badRequest(why: string): GatewayError {
  return new GatewayError(
    'gateway.bad-request',
    'The gateway was asked something that it does not understand.',
    {
      why,
      fix: 'Use the "blockgate" command of the version that runs.',
    },
  );
}

export function noAnswer(why: string, cause?: unknown): GatewayError {
  return new GatewayError('gateway.no-answer', 'The gateway did not answer.', {
    why,
    fix: 'It may just have ended: look at "blockgate status" and at its log.',
    cause,
  });
}

function otherVersion(version: number): GatewayError {
  return new GatewayError(
    'gateway.other-version',
    'The gateway that runs is of another version of blockgate.',
    {
      why: `Its control socket speaks version ${version}, this one version ${PROTOCOL_VERSION}.`,
      fix: 'Use the "blockgate" command of the version that runs, or restart the gateway.',
    },
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
