import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { Checksum } from './checksums.ts';

/**
 * One object (or uploaded part) is one file: its bytes, then its metadata as JSON, then a footer of 16 bytes:
 * u32 length of the JSON · u32 CRC-32 of the JSON · 8 bytes magic. Little-endian. Data comes first so that a body can
 * be streamed before its digest is known and a range be read at its own offset.
 */
const MAGIC = Buffer.from('BGS3OBJ1', 'latin1');
const FOOTER_BYTES = 8 + MAGIC.length;
const MAX_METADATA_BYTES = 64 * 1024;
/** Read from the end of a file at first: holds nearly all metadata. */
const TAIL_BYTES = 4096;

/** What is known of an object besides its bytes. */
export interface ObjectMetadata {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Without quotes: hex MD5, for a multipart object the MD5 of its parts' MD5s, then `-N`. */
  readonly etag: string;
  /** Milliseconds since 1970. */
  readonly lastModified: number;
  /** HTTP headers to return with the object, among them content-type and x-amz-meta-*. */
  readonly headers: Readonly<Record<string, string>>;
  readonly checksum?: Checksum | undefined;
  /** The multipart upload that made this object: lets its completion be repeated. */
  readonly uploadId?: string | undefined;
}

/** Metadata and footer, to append to the data. */
export function encodeMetadata(metadata: ObjectMetadata): Buffer {
  const json = Buffer.from(JSON.stringify(metadata));
  const footer = Buffer.alloc(FOOTER_BYTES);
  footer.writeUInt32LE(json.length, 0);
  footer.writeUInt32LE(crc32(json), 4);
  MAGIC.copy(footer, 8);
  return Buffer.concat([json, footer]);
}

/** The metadata of the file, or undefined when the file is not a whole object. */
export async function readMetadata(path: string): Promise<ObjectMetadata | undefined> {
  await using handle = await open(path, 'r');
  const { size } = await handle.stat();
  let tail = await readTail(handle, size, TAIL_BYTES);
  if (tail.length < FOOTER_BYTES || !tail.subarray(-MAGIC.length).equals(MAGIC)) return undefined;
  const jsonBytes = tail.readUInt32LE(tail.length - FOOTER_BYTES);
  const wanted = jsonBytes + FOOTER_BYTES;
  if (jsonBytes > MAX_METADATA_BYTES || wanted > size) return undefined;
  if (wanted > tail.length) tail = await readTail(handle, size, wanted);
  const json = tail.subarray(tail.length - wanted, tail.length - FOOTER_BYTES);
  if (crc32(json) !== tail.readUInt32LE(tail.length - FOOTER_BYTES + 4)) return undefined;
  const metadata = JSON.parse(json.toString('utf8')) as ObjectMetadata;
  return metadata.size === size - wanted ? metadata : undefined;
}

async function readTail(handle: FileHandle, size: number, bytes: number): Promise<Buffer> {
  const length = Math.min(size, bytes);
  const { bytesRead, buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.subarray(0, bytesRead);
}
