import { ConnectionLost } from '../../core/nbd/connection-lost.ts';
import {
  NBD_CMD_FLAG_PAYLOAD_LEN,
  NBD_CMD_WRITE,
  NBD_EXTENDED_REQUEST_MAGIC,
  NBD_REQUEST_MAGIC,
} from '../../core/nbd/protocol.ts';
import { parseInfoRequest, parseMetaRequest } from '../../frontends/nbd/options.ts';
import { type ClientRequest, RequestReader } from '../../frontends/nbd/request-reader.ts';
import { join, u16, u32, u64 } from '../support/scripted-nbd-server.ts';
import { Random } from './random.ts';
import { type FuzzTarget, violated } from './target.ts';

const LONGEST = 1024;

/** What a client of our NBD server sends, right, wrong, and cut anywhere, to a server that is busy now and then. */
export class NbdServerTarget implements FuzzTarget {
  readonly name = 'nbd-server';
  readonly #random = new Random();
  readonly #reached = { requests: 0, 'held up': 0, given: 0, lost: 0, options: 0, malformed: 0 };

  reached(): Readonly<Record<string, number>> {
    return this.#reached;
  }

  [Symbol.dispose](): void {}

  run(seed: number): void {
    const random = this.#random;
    random.seed(seed);
    if (random.oneIn(4)) this.#option();
    else this.#requests();
  }

  #requests(): void {
    const random = this.#random;
    const extended = random.oneIn(2);
    const sent = Array.from({ length: random.between(1, 8) }, () => this.#makeUp(extended));
    const bytes = join(...sent.map(({ bytes: each }) => each));
    const honest = random.oneIn(2);
    if (!honest) bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
    const got: ClientRequest[] = [];
    let room = random.between(1, 3);
    const reader = new RequestReader(extended, {
      get isFull() {
        return room <= 0;
      },
      request: (request) => {
        room--;
        // What it was given may not change any more.
        got.push({ ...request, data: request.data && Buffer.from(request.data) });
      },
    });
    try {
      for (let at = 0; at < bytes.length; ) {
        const size = random.oneIn(3) ? bytes.length : random.between(1, 60);
        reader.take(bytes.subarray(at, at + size));
        at += size;
        while (reader.isHeldUp) {
          this.#reached['held up']++;
          room = random.between(1, 3);
          reader.resume();
        }
      }
    } catch (error) {
      if (!(error instanceof ConnectionLost) || honest) throw error;
      this.#reached.lost++;
      return;
    }
    this.#reached.requests += got.length;
    for (const { data, length } of got)
      if (data !== undefined && data.length !== length)
        violated('a payload has another length than its request');
    if (!honest) return;
    if (got.length !== sent.length) violated(`${got.length} of ${sent.length} requests arrived`);
    for (const [index, { request }] of sent.entries()) {
      const { data, ...rest } = got[index]!;
      const { data: wanted, ...others } = request;
      if (JSON.stringify(rest) !== JSON.stringify(others)) violated(`request ${index} arrived as another`);
      if (data === undefined ? wanted.length > 0 : Buffer.compare(data, wanted) !== 0)
        violated('a payload arrived as another');
    }
    this.#reached.given++;
  }

  #makeUp(extended: boolean) {
    const random = this.#random;
    const command = random.oneIn(2) ? NBD_CMD_WRITE : random.pick([0, 2, 3, 4, 6, 7, 99]);
    const isWrite = command === NBD_CMD_WRITE;
    const length = isWrite ? random.below(LONGEST) : random.u32();
    const flags =
      (random.below(32) & ~NBD_CMD_FLAG_PAYLOAD_LEN) | (isWrite && extended ? NBD_CMD_FLAG_PAYLOAD_LEN : 0);
    const [high, low] = [random.u32(), random.u32()];
    const offset = random.u32() * 512;
    const data = Buffer.from(Array.from({ length: isWrite ? length : 0 }, () => random.below(256)));
    const bytes = join(
      u32(extended ? NBD_EXTENDED_REQUEST_MAGIC : NBD_REQUEST_MAGIC),
      ...[u16(flags), u16(command), u32(high), u32(low), u64(BigInt(offset))],
      extended ? u64(BigInt(length)) : u32(length),
      data,
    );
    return { bytes, request: { command, flags, high, low, offset, length, data } };
  }

  /** The data of an option: whatever it is, it is understood or refused. */
  #option(): void {
    const random = this.#random;
    const name = Buffer.from('x'.repeat(random.below(20)));
    const count = random.below(4);
    const info = random.oneIn(2);
    const data = info
      ? join(u32(name.length), name, u16(count), ...Array.from({ length: count }, () => u16(random.below(5))))
      : join(
          u32(name.length),
          name,
          u32(count),
          ...Array.from({ length: count }, () => join(u32(name.length), name)),
        );
    const honest = random.oneIn(3);
    if (!honest) data[random.below(data.length)] = random.below(256);
    const bytes = honest || random.oneIn(2) ? data : data.subarray(0, random.below(data.length));
    const parsed = info ? parseInfoRequest(bytes) : parseMetaRequest(bytes);
    this.#reached.options++;
    if (parsed === undefined) this.#reached.malformed++;
    if (honest && parsed?.name !== name.toString()) violated('a proper option is not understood');
  }
}
