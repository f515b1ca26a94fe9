import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import { NBD_FLAG_CAN_MULTI_CONN } from '../../core/nbd/protocol.ts';
import { GatewayError } from '../../core/plugin.ts';
import { NbdConnection } from './connection.ts';
import { ConnectionGroup } from './connection-group.ts';
import { refused, unavailable } from './errors.ts';
import { difference, type ExportInfo } from './export-info.ts';
import { Handshake } from './handshake.ts';
import { Inbox } from './inbox.ts';
import type { Connect } from './link.ts';
import type { NbdAddress } from './uri.ts';

/** From the first packet to the end of the negotiation. Milliseconds. */
const NEGOTIATION_MS = 30_000;
/** How soon a peer that is gone without a word is noticed: TCP's own probes begin after so long. Milliseconds. */
const KEEP_ALIVE_MS = 10_000;

/** How connections to `address` are made, `count` at a time if the server allows it. `tls` means nothing to a plain one. */
export function connector(uri: string, address: NbdAddress, tls: ConnectionOptions, count: number): Connect {
  return async (onAnswer, signal) => {
    const first = await negotiated(uri, address, tls, signal);
    const { info } = first;
    const more = (info.flags & NBD_FLAG_CAN_MULTI_CONN) === 0 ? 0 : count - 1;
    const others = await Promise.allSettled(
      Array.from({ length: more }, () => negotiated(uri, address, tls, signal)),
    );
    const all = [first, ...others.flatMap((other) => (other.status === 'fulfilled' ? [other.value] : []))];
    const failed = others.find((other) => other.status === 'rejected');
    const differs = all.some((other) => !isSameExport(info, other.info));
    if (failed === undefined && !differs)
      return new ConnectionGroup(
        all.map(({ socket, info: facts, inbox }) => new NbdConnection(socket, facts, onAnswer, inbox)),
      );
    for (const { socket } of all) socket.destroy();
    throw failed?.reason ?? unavailable(uri, new Error('each connection gets another export'));
  };
}

interface NegotiatedSocket {
  readonly socket: Socket;
  readonly info: ExportInfo;
  readonly inbox: Inbox | undefined;
}

/** What the server says of the export, without opening it where it can say so. Throws as connecting does. */
export async function inquire(
  uri: string,
  address: NbdAddress,
  tls: ConnectionOptions,
  signal: AbortSignal,
): Promise<Pick<ExportInfo, 'size' | 'flags'>> {
  const { exportName } = address;
  const facts = await shakeHands(uri, address, tls, signal, (handshake, secure) =>
    handshake.inquire(exportName, secure),
  );
  if (facts.result !== undefined) return facts.result;
  const { socket, info } = await negotiated(uri, address, tls, signal);
  socket.destroy();
  return info;
}

async function negotiated(
  uri: string,
  address: NbdAddress,
  tls: ConnectionOptions,
  signal: AbortSignal,
): Promise<NegotiatedSocket> {
  const { result, inbox } = await shakeHands(uri, address, tls, signal, (handshake, secure) =>
    handshake.negotiate(address.exportName, secure),
  );
  return { ...result, inbox };
}

type Secure = (socket: Socket) => Promise<Socket>;

async function shakeHands<T>(
  uri: string,
  address: NbdAddress,
  tls: ConnectionOptions,
  signal: AbortSignal,
  run: (handshake: Handshake, secure: Secure | undefined) => Promise<T>,
): Promise<{ readonly result: T; readonly inbox: Inbox | undefined }> {
  signal.throwIfAborted();
  const limit = AbortSignal.any([signal, AbortSignal.timeout(NEGOTIATION_MS)]);
  const inbox = address.tls ? undefined : new Inbox();
  const plain = await connected(address.endpoint, inbox, limit).catch((error: unknown) => {
    throw unavailable(uri, error);
  });
  const giveUp = (): void => void plain.destroy(new ConnectionLost('the server takes too long to negotiate'));
  limit.addEventListener('abort', giveUp, { once: true });
  try {
    const secure = address.tls ? (socket: Socket) => secured(uri, socket, tls) : undefined;
    return { result: await run(new Handshake(uri, plain), secure), inbox };
  } catch (error) {
    plain.destroy();
    throw GatewayError.is(error) ? error : unavailable(uri, error);
  } finally {
    limit.removeEventListener('abort', giveUp);
  }
}

const isSameExport = (one: ExportInfo, other: ExportInfo): boolean =>
  one.size === other.size && difference(one, other) === undefined && difference(other, one) === undefined;

function connected(
  endpoint: NbdAddress['endpoint'],
  inbox: Inbox | undefined,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({
      ...endpoint,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      ...(inbox && { onread: inbox.onread }),
    });
    if (inbox !== undefined) inbox.socket = socket;
    const give = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    const aborted = (): void => give(signal.reason as Error);
    socket.once('error', give);
    signal.addEventListener('abort', aborted, { once: true });
    socket.once('connect', () => {
      signal.removeEventListener('abort', aborted);
      socket.off('error', give);
      // Until somebody listens again: an error without a listener would end the process.
      socket.on('error', () => {});
      resolve(socket);
    });
  });
}

function secured(uri: string, socket: Socket, options: ConnectionOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const secure = connectTls({ ...options, socket });
    const failed = (error: Error): void => reject(refused(uri, `TLS: ${error.message}.`));
    secure.once('error', failed);
    secure.once('close', () => failed(new Error('the server closed the connection')));
    secure.once('secureConnect', () => {
      secure.off('error', failed);
      secure.on('error', () => {});
      resolve(secure);
    });
  });
}
