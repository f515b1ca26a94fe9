// hot path: see ARCHITECTURE.md "Data plane"

import type { Socket } from 'node:net';
import { type Extent, IoFlag, type MaybePromise, type Volume } from '../../core/api/device.ts';
import { type BlockErrno, BlockError } from '../../core/api/errors.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_FAST_ZERO,
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EINVAL,
  NBD_EIO,
  NBD_ENOMEM,
  NBD_ENOSPC,
  NBD_ENOTSUP,
  NBD_EPERM,
  NBD_ESHUTDOWN,
  NBD_PORTABLE_MAX_PAYLOAD,
} from '../../core/nbd/protocol.ts';
import { type ReplyFormat, ReplyWriter } from './reply-writer.ts';
import { type ClientRequest, RequestReader, type RequestSink } from './request-reader.ts';

/** What one connection may have under way at a time: requests, and bytes that these read or write. */
const MAX_REQUESTS = 256;
const MAX_BYTES = 64 * 1024 * 1024;
/** Replies that the client does not fetch: more are not made. Bytes. */
const MAX_UNSENT = 64 * 1024 * 1024;
/** For the last replies to be fetched. Milliseconds. */
const LINGER_MS = 5_000;
/** The map of more than this is told of its beginning. Bytes, and extents. */
const MAX_STATUS_RANGE = 2 ** 32 - 2 ** 16;
const MAX_EXTENTS = 32 * 1024;

/** Commands and the flags that each may have. */
const FLAGS: Readonly<Record<number, number>> = {
  [NBD_CMD_READ]: NBD_CMD_FLAG_DF,
  [NBD_CMD_WRITE]: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_PAYLOAD_LEN,
  [NBD_CMD_FLUSH]: 0,
  [NBD_CMD_TRIM]: NBD_CMD_FLAG_FUA,
  [NBD_CMD_CACHE]: 0,
  [NBD_CMD_WRITE_ZEROES]: NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
  [NBD_CMD_BLOCK_STATUS]: NBD_CMD_FLAG_REQ_ONE,
};

/** Commands that change nothing. */
const READ_ONLY: ReadonlySet<number> = new Set([NBD_CMD_READ, NBD_CMD_BLOCK_STATUS, NBD_CMD_CACHE]);

const ERRORS: Readonly<Record<BlockErrno, number>> = {
  EIO: NBD_EIO,
  EINVAL: NBD_EINVAL,
  ENOMEM: NBD_ENOMEM,
  ENOSPC: NBD_ENOSPC,
  ENOTSUP: NBD_ENOTSUP,
  EROFS: NBD_EPERM,
  ESHUTDOWN: NBD_ESHUTDOWN,
  ETIMEDOUT: NBD_EIO,
  ECONNLOST: NBD_EIO,
};

export interface TransmissionFormat extends ReplyFormat {
  readonly allocationContext: number | undefined;
}

/** Carries out what a client asks for once the negotiation is over (doc/proto.md, "Transmission phase"). */
export class Transmission implements RequestSink {
  readonly #socket: Socket;
  readonly #volume: Volume;
  readonly #format: TransmissionFormat;
  readonly #reader: RequestReader;
  readonly #replies: ReplyWriter;
  readonly #over = Promise.withResolvers<Error | undefined>();
  #requests = 0;
  #bytes = 0;
  /** No request is taken any more; those under way are answered. */
  #ending = false;
  readonly #idle: (() => void)[] = [];

  constructor(socket: Socket, volume: Volume, format: TransmissionFormat, rest: Buffer) {
    this.#socket = socket;
    this.#volume = volume;
    this.#format = format;
    this.#reader = new RequestReader(format.extended, this);
    this.#replies = new ReplyWriter(socket, format);
    socket
      .on('data', (bytes: Buffer) => this.#receive(bytes))
      .on('drain', () => this.#goOn())
      .on('error', (error: Error) => this.#over.resolve(error))
      .on('end', () => void this.finish())
      .on('close', () => this.#over.resolve(undefined));
    if (rest.length > 0) this.#receive(rest);
    socket.resume();
  }

  /** Settles when the connection is closed: with the reason, if there is one. */
  get over(): Promise<Error | undefined> {
    return this.#over.promise;
  }

  get isFull(): boolean {
    return (
      this.#ending ||
      this.#requests >= MAX_REQUESTS ||
      this.#bytes >= MAX_BYTES ||
      this.#socket.writableLength >= MAX_UNSENT
    );
  }

  /** Takes no more requests; settles when those under way have their replies, and the connection is closed then. */
  async finish(): Promise<void> {
    await this.quiesce();
    // A client that does not fetch its last replies does not keep the connection.
    this.#socket.setTimeout(LINGER_MS, () => this.#socket.destroy());
    this.#socket.end(() => this.#socket.destroy());
  }

  /** Takes no more requests; settles when none is under way. */
  quiesce(): Promise<void> {
    this.#ending = true;
    if (this.#requests === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  request(request: ClientRequest): void {
    if (request.command === NBD_CMD_DISC) {
      void this.finish();
      return;
    }
    const problem = this.#problemOf(request);
    if (problem !== undefined) {
      this.#replies.error(request, problem.error, problem.why);
      return;
    }
    this.#requests++;
    this.#bytes += weightOf(request);
    if (request.command === NBD_CMD_READ) this.#read(request);
    else if (request.command === NBD_CMD_BLOCK_STATUS) this.#blockStatus(request);
    else this.#carryOut(request);
  }

  #receive(bytes: Buffer): void {
    // What comes after the end of a connection is not asked for by anybody.
    if (this.#ending) return;
    try {
      this.#reader.take(bytes);
    } catch (error) {
      this.#giveUp(error as Error);
    }
    if (this.#reader.isHeldUp) this.#socket.pause();
  }

  /** There may be room for requests that were held up. */
  #goOn(): void {
    if (!this.#reader.isHeldUp || this.isFull) return;
    try {
      this.#reader.resume();
    } catch (error) {
      this.#giveUp(error as Error);
    }
    if (!this.#reader.isHeldUp) this.#socket.resume();
  }

  #giveUp(error: Error): void {
    this.#ending = true;
    this.#over.resolve(error);
    this.#socket.destroy();
  }

  #read(request: ClientRequest): void {
    const reply = this.#replies.prepareData(request);
    const done = (): void => {
      this.#replies.sendData(reply);
      this.#settle(request);
    };
    this.#after(request, () => this.#volume.read(request.offset, [reply.data], 0), done);
  }

  /** A request that is answered without data. */
  #carryOut(request: ClientRequest): void {
    const done = (): void => {
      this.#replies.done(request);
      this.#settle(request);
    };
    this.#after(request, () => this.#start(request), done);
  }

  #start({ command, flags, offset, length, data }: ClientRequest): MaybePromise<void> {
    const fua = (flags & NBD_CMD_FLAG_FUA) !== 0;
    const volume = this.#volume;
    switch (command) {
      case NBD_CMD_WRITE:
        return volume.write(offset, [data!], fua ? IoFlag.FUA : 0);
      case NBD_CMD_FLUSH:
        return volume.flush(0);
      case NBD_CMD_TRIM: {
        const done = volume.discard(offset, length, 0);
        if (!fua) return done;
        return done === undefined ? volume.flush(0) : done.then(() => volume.flush(0));
      }
      case NBD_CMD_CACHE:
        return volume.prefetch(offset, length);
      default: {
        let bits = fua ? IoFlag.FUA : 0;
        if ((flags & NBD_CMD_FLAG_NO_HOLE) === 0) bits |= IoFlag.MAY_UNMAP;
        if ((flags & NBD_CMD_FLAG_FAST_ZERO) !== 0) bits |= IoFlag.NO_FALLBACK;
        return volume.writeZeroes(offset, length, bits);
      }
    }
  }

  #blockStatus(request: ClientRequest): void {
    const { offset, length, flags } = request;
    const range = Math.min(length, MAX_STATUS_RANGE);
    let found: readonly Extent[] = [];
    const done = (): void => {
      const most = (flags & NBD_CMD_FLAG_REQ_ONE) === 0 ? MAX_EXTENTS : 1;
      this.#replies.blockStatus(request, this.#format.allocationContext!, merged(found, most));
      this.#settle(request);
    };
    const ask = async (): Promise<void> => {
      found = await this.#volume.extents(offset, range);
    };
    this.#after(request, ask, done);
  }

  /** A call that completes at once is answered at once. */
  #after(request: ClientRequest, call: () => MaybePromise<void>, done: () => void): void {
    const failed = (error: unknown): void => {
      const [code, why] = BlockError.is(error)
        ? [error.code, error.message]
        : (['EIO', 'internal error of the gateway'] as const);
      this.#replies.error(request, ERRORS[code], why);
      this.#settle(request);
    };
    let pending: MaybePromise<void>;
    try {
      pending = call();
    } catch (error) {
      failed(error);
      return;
    }
    if (pending === undefined) done();
    else pending.then(done, failed);
  }

  #settle(request: ClientRequest): void {
    this.#requests--;
    this.#bytes -= weightOf(request);
    this.#goOn();
    if (this.#requests === 0 && this.#ending) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** What the protocol has to say of a request before the disk is asked. */
  #problemOf(request: ClientRequest): { error: number; why: string } | undefined {
    const { command, flags, offset, length, data } = request;
    const { caps, size } = this.#volume;
    const allowed = FLAGS[command];
    if (allowed === undefined) return { error: NBD_EINVAL, why: `there is no command ${command}` };
    if ((flags & ~allowed) !== 0)
      return { error: NBD_EINVAL, why: `flags 0x${flags.toString(16)} of command ${command}` };
    if (command === NBD_CMD_FLUSH)
      return offset === 0 && length === 0 ? undefined : { error: NBD_EINVAL, why: 'a flush has no range' };
    const isChange = !READ_ONLY.has(command);
    if (isChange && !caps.write) return { error: NBD_EPERM, why: 'the disk is read-only' };
    if (length === 0) return { error: NBD_EINVAL, why: 'a length of 0' };
    if (offset + length > size)
      return { error: isChange ? NBD_ENOSPC : NBD_EINVAL, why: 'beyond the end of the disk' };
    if (command === NBD_CMD_WRITE && data === undefined)
      return { error: NBD_EINVAL, why: `a write of more than ${NBD_PORTABLE_MAX_PAYLOAD} bytes` };
    if (command === NBD_CMD_CACHE && !caps.prefetch)
      return { error: NBD_EINVAL, why: 'the disk cannot fetch ahead' };
    // To fetch ahead takes as much as to read, and the protocol allows to refuse it beyond the largest payload.
    if ((command === NBD_CMD_READ || command === NBD_CMD_CACHE) && length > NBD_PORTABLE_MAX_PAYLOAD)
      return { error: NBD_EINVAL, why: `a read of more than ${NBD_PORTABLE_MAX_PAYLOAD} bytes` };
    if (command === NBD_CMD_TRIM && !caps.discard) return { error: NBD_EINVAL, why: 'the disk has no trim' };
    if (command === NBD_CMD_BLOCK_STATUS && this.#format.allocationContext === undefined)
      return { error: NBD_EINVAL, why: 'no metadata context was agreed on' };
    return undefined;
  }
}

function weightOf({ command, length }: ClientRequest): number {
  return command === NBD_CMD_READ || command === NBD_CMD_WRITE || command === NBD_CMD_CACHE ? length : 0;
}

/** Neighbours of one kind as one, `most` at most: the rest is asked for again. */
function merged(extents: readonly Extent[], most: number): Extent[] {
  const found: Extent[] = [];
  for (const extent of extents) {
    const last = found.at(-1);
    if (last?.kind === extent.kind)
      found[found.length - 1] = { ...last, length: last.length + extent.length };
    else if (found.length === most) break;
    else found.push(extent);
  }
  return found;
}
