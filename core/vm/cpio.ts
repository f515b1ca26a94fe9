/** One entry of an initramfs archive. `mode` holds the permission bits only. */
export type CpioEntry =
  | { readonly path: string; readonly kind: 'folder'; readonly mode?: number }
  | { readonly path: string; readonly kind: 'file'; readonly content: Uint8Array; readonly mode?: number }
  | {
      readonly path: string;
      readonly kind: 'char-device';
      readonly major: number;
      readonly minor: number;
      readonly mode?: number;
    };

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFCHR = 0o020000;

/**
 * Writes a cpio archive in the "newc" format that the kernel unpacks as initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). All entries belong to root and carry no time stamp:
 * the same entries give the same bytes.
 */
export function writeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, index) => {
    const content = entry.kind === 'file' ? entry.content : new Uint8Array(0);
    const [rdevMajor, rdevMinor] = entry.kind === 'char-device' ? [entry.major, entry.minor] : [0, 0];
    parts.push(record(entry.path, index + 1, modeOf(entry), content, rdevMajor, rdevMinor));
  });
  parts.push(record('TRAILER!!!', 0, 0, new Uint8Array(0), 0, 0));
  return Buffer.concat(parts);
}

function modeOf(entry: CpioEntry): number {
  switch (entry.kind) {
    case 'folder':
      return S_IFDIR | (entry.mode ?? 0o755);
    case 'file':
      return S_IFREG | (entry.mode ?? 0o644);
    case 'char-device':
      return S_IFCHR | (entry.mode ?? 0o600);
  }
}

/** Magic, 13 fields of 8 hex digits, name with NUL, padding to 4, content, padding to 4. */
function record(
  path: string,
  inode: number,
  mode: number,
  content: Uint8Array,
  rdevMajor: number,
  rdevMinor: number,
): Buffer {
  const name = Buffer.from(`${path}\0`);
  const fields = [
    inode,
    mode,
    0, // uid
    0, // gid
    1, // links
    0, // modification time
    content.length,
    0, // major and minor of the file system it came from
    0,
    rdevMajor,
    rdevMinor,
    name.length,
    0, // checksum, used by another variant of the format
  ];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return Buffer.concat([
    header,
    name,
    Buffer.alloc(padding(header.length + name.length)),
    content,
    Buffer.alloc(padding(content.length)),
  ]);
}

function padding(length: number): number {
  return -length & 3;
}
