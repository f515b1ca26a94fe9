import { NBD_FLAG_HAS_FLAGS, NBD_FLAG_READ_ONLY, NBD_PORTABLE_MAX_PAYLOAD } from '../../core/nbd/protocol.ts';
import { unusable } from './errors.ts';

/** What the server has said of its export. Sizes in bytes. */
export interface ExportInfo {
  readonly size: number;
  /** NBD_FLAG_*. */
  readonly flags: number;
  /** Requests are multiples of it. */
  readonly minBlock: number;
  readonly preferredBlock: number;
  /** Most data in one request. */
  readonly maxPayload: number;
  readonly description: string;
  /** Reads are answered in chunks (NBD_OPT_STRUCTURED_REPLY). */
  readonly structured: boolean;
  /** Headers have lengths of 64 bits (NBD_OPT_EXTENDED_HEADERS); implies `structured`. */
  readonly extended: boolean;
  /** Id of the context base:allocation, where block status can be asked for. */
  readonly allocationContext: number | undefined;
}

export interface ServerFacts {
  readonly size: bigint;
  readonly flags: number;
  readonly minBlock?: number;
  readonly preferredBlock?: number;
  readonly maxBlock?: number;
  readonly description?: string;
  readonly structured: boolean;
  readonly extended: boolean;
  readonly allocationContext?: number | undefined;
}

const MAX_SIZE = 2n ** 53n - 512n;

/** Checks what the server has said. Throws `nbd.unusable-export`. */
export function exportInfo(uri: string, facts: ServerFacts): ExportInfo {
  const { size, flags, minBlock = 1, preferredBlock = 4096, maxBlock = NBD_PORTABLE_MAX_PAYLOAD } = facts;
  const fail = (why: string): never => {
    throw unusable(uri, why);
  };
  if ((flags & NBD_FLAG_HAS_FLAGS) === 0)
    fail('The server does not say what it can do (NBD_FLAG_HAS_FLAGS).');
  if (!isPowerOfTwo(minBlock) || minBlock > 65536)
    fail(`Its smallest block has ${minBlock} bytes; a disk has blocks of 512 to 65536 bytes.`);
  const block = Math.max(512, minBlock);
  if (size <= 0n || size > MAX_SIZE) fail(`It has ${size} bytes.`);
  if (size % BigInt(block) !== 0n) fail(`Its ${size} bytes are no multiple of ${block}, a block.`);
  // 0xffffffff: no limit but that of the field.
  const maxPayload = Math.min(maxBlock, NBD_PORTABLE_MAX_PAYLOAD);
  if (maxPayload < block) fail(`It takes no more than ${maxBlock} bytes at a time, less than a block.`);
  return {
    size: Number(size),
    flags,
    minBlock: block,
    preferredBlock: isPowerOfTwo(preferredBlock) ? Math.max(block, preferredBlock) : block,
    maxPayload: maxPayload - (maxPayload % block),
    description: facts.description ?? '',
    structured: facts.structured,
    extended: facts.extended,
    allocationContext: facts.allocationContext,
  };
}

/** Why `now` cannot be the export that was there `before`; undefined when it may be. */
export function difference(before: ExportInfo, now: ExportInfo): string | undefined {
  if (now.size < before.size) return `It had ${before.size} bytes and has ${now.size}.`;
  if (now.description !== before.description)
    return `It was described as ${JSON.stringify(before.description)} and is ${JSON.stringify(now.description)}.`;
  if (now.minBlock > before.minBlock || now.maxPayload < before.maxPayload)
    return 'It does not take requests any more that it took.';
  if ((now.flags & NBD_FLAG_READ_ONLY) !== (before.flags & NBD_FLAG_READ_ONLY))
    return 'Now it is read-only, or is not any more.';
  if ((now.flags & before.flags) !== before.flags) return 'It has lost abilities that it had.';
  return undefined;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}
