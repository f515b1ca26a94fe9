import type { ExportInfo } from '../../backends/nbd/export-info.ts';
import { type Outstanding, ReplyReader } from '../../backends/nbd/reply-reader.ts';
import { NbdRequest } from '../../backends/nbd/request.ts';
import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_CACHE,
  NBD_CMD_READ,
  NBD_CMD_WRITE,
  NBD_REPLY_TYPE_BLOCK_STATUS,
  NBD_REPLY_TYPE_BLOCK_STATUS_EXT,
  NBD_REPLY_TYPE_ERROR,
  NBD_REPLY_TYPE_NONE,
  NBD_REPLY_TYPE_OFFSET_DATA,
  NBD_REPLY_TYPE_OFFSET_HOLE,
} from '../../core/nbd/protocol.ts';
import {
  CONTEXT,
  extendedChunk,
  join,
  chunk as plainChunk,
  simpleReply,
  u16,
  u32,
  u64,
} from '../support/scripted-nbd-server.ts';
import { Random } from './random.ts';
import { type FuzzTarget, violated } from './target.ts';

const LONGEST = 2048;
/** Around what a request may be filled with. */
const GUARD = 16;
const GUARDED = 0xee;

interface Format {
  readonly structured: boolean;
  readonly extended: boolean;
}

const FORMATS: readonly Format[] = [
  { structured: false, extended: false },
  { structured: true, extended: false },
  { structured: true, extended: true },
];

/** What an NBD server sends, right, wrong, and cut anywhere. */
export class NbdTarget implements FuzzTarget {
  readonly name = 'nbd';
  readonly #random = new Random();
  readonly #reached = { replies: 0, answered: 0, whole: 0, lost: 0 };
  readonly #memory = Buffer.alloc(LONGEST + 2 * GUARD);

  reached(): Readonly<Record<string, number>> {
    return this.#reached;
  }

  [Symbol.dispose](): void {}

  run(seed: number): void {
    const random = this.#random;
    random.seed(seed);
    const format = random.pick(FORMATS);
    const { structured } = format;
    const info = { ...format, allocationContext: CONTEXT } as ExportInfo;
    const under = new Map<number, NbdRequest>();
    const outstanding: Outstanding = {
      find: (high, low) => (high === 9 ? under.get(low) : undefined),
      answered: (request, low) => {
        this.#reached.answered++;
        if (under.get(low) !== request) violated('a request is answered twice');
        under.delete(low);
        if (request.command === NBD_CMD_READ && request.error === 0 && request.received !== request.length)
          violated('a read is said to be whole and is not');
      },
    };
    const reader = new ReplyReader(info, outstanding);
    for (let exchanges = random.between(1, 6); exchanges > 0; exchanges--) {
      const low = random.below(4);
      this.#memory.fill(GUARDED);
      const request = this.#makeUp(structured);
      under.clear();
      under.set(low, request);
      const content = Buffer.from(Array.from({ length: request.length }, () => random.below(128)));
      const bytes = this.#reply(request, join(u32(9), u32(low)), content, format);
      this.#reached.replies++;
      const honest = !random.oneIn(2);
      if (!honest) this.#spoil(bytes);
      if (!this.#feed(reader, bytes, honest)) {
        this.#reached.lost++;
        return;
      }
      if (honest) this.#checkAnswered(request, under.size === 0, content);
      // Nobody knows where in its stream the server is now.
      else return;
    }
  }

  #makeUp(structured: boolean): NbdRequest {
    const random = this.#random;
    const length = random.between(1, LONGEST);
    const command = random.pick(
      structured
        ? [NBD_CMD_READ, NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_CACHE, NBD_CMD_BLOCK_STATUS]
        : [NBD_CMD_READ, NBD_CMD_WRITE, NBD_CMD_CACHE],
    );
    const middle = random.below(length + 1);
    const memory = this.#memory.subarray(GUARD, GUARD + length);
    const iov = [memory.subarray(0, middle), memory.subarray(middle)];
    return new NbdRequest(
      command,
      0,
      random.below(2 ** 31) * 512,
      length,
      command === NBD_CMD_READ ? { iov } : {},
    );
  }

  /** As a server that keeps to the protocol answers. `content` becomes zeros where it says that there is a hole. */
  #reply(request: NbdRequest, cookie: Buffer, content: Buffer, { structured, extended }: Format): Buffer {
    const random = this.#random;
    const chunk = extended ? extendedChunk : plainChunk;
    const { command, offset, length } = request;
    if (random.oneIn(12) && structured)
      return chunk(
        cookie,
        NBD_REPLY_TYPE_ERROR,
        join(u32(random.between(1, 120)), u16(3), Buffer.from('why')),
      );
    if (command === NBD_CMD_BLOCK_STATUS)
      return chunk(
        cookie,
        extended ? NBD_REPLY_TYPE_BLOCK_STATUS_EXT : NBD_REPLY_TYPE_BLOCK_STATUS,
        extended
          ? join(u32(CONTEXT), u32(1), u64(BigInt(length)), u64(BigInt(random.below(4))))
          : join(u32(CONTEXT), u32(length), u32(random.below(4))),
      );
    if (command === NBD_CMD_WRITE || command === NBD_CMD_CACHE)
      return (random.oneIn(2) && !extended) || !structured
        ? simpleReply(cookie, 0)
        : chunk(cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0));
    if (!structured) return simpleReply(cookie, 0, content);
    const parts: Buffer[] = [];
    for (let at = 0; at < length; ) {
      const size = Math.min(length - at, random.between(1, LONGEST));
      const place = u64(BigInt(offset + at));
      if (random.oneIn(3)) {
        content.fill(0, at, at + size);
        parts.push(chunk(cookie, NBD_REPLY_TYPE_OFFSET_HOLE, join(place, u32(size)), 0));
      } else
        parts.push(
          chunk(cookie, NBD_REPLY_TYPE_OFFSET_DATA, join(place, content.subarray(at, at + size)), 0),
        );
      at += size;
    }
    parts.sort(() => random.below(3) - 1);
    return join(...parts, chunk(cookie, NBD_REPLY_TYPE_NONE, Buffer.alloc(0)));
  }

  #spoil(bytes: Buffer): void {
    const random = this.#random;
    for (let times = random.between(1, 3); times > 0; times--) {
      // The header of the first chunk, more often than not.
      const at = random.below(random.oneIn(3) ? bytes.length : Math.min(40, bytes.length));
      bytes[at] = random.oneIn(2) ? random.below(256) : bytes[at]! ^ (1 << random.below(8));
    }
  }

  /** False: the connection was given up. */
  #feed(reader: ReplyReader, bytes: Buffer, honest: boolean): boolean {
    const random = this.#random;
    try {
      for (let at = 0; at < bytes.length; ) {
        const size = random.oneIn(3) ? bytes.length : random.between(1, 40);
        reader.take(bytes.subarray(at, at + size));
        at += size;
      }
    } catch (error) {
      if (!(error instanceof ConnectionLost) || honest) throw error;
      return false;
    } finally {
      if (this.#memory.subarray(0, GUARD).some((byte) => byte !== GUARDED))
        violated('memory before a read was written to');
    }
    return true;
  }

  #checkAnswered(request: NbdRequest, answered: boolean, content: Buffer): void {
    if (!answered) violated('a proper reply is not understood');
    if (request.command !== NBD_CMD_READ || request.error !== 0) return;
    this.#reached.whole++;
    const { length } = request;
    if (!this.#memory.subarray(GUARD, GUARD + length).equals(content))
      violated('a read has other bytes than were sent');
    if (this.#memory.subarray(GUARD + length).some((byte) => byte !== GUARDED))
      violated('memory after a read was written to');
  }
}
