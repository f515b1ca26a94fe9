import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GatewayError } from '../../api/errors.ts';

/** What is copied from or to, besides the disk. */
export interface Image {
  /** A backend that opens it, as in plugins.json. */
  readonly backend: Readonly<Record<string, unknown>> & { readonly type: string };
  /** What is the same as long as it is the same image: for going on with a copy. */
  readonly identity: object;
  /** `identity` changes with its content. */
  readonly showsChanges: boolean;
}

export interface NewImage {
  /** Bytes of the disk. */
  readonly size: number;
  /** Replace a file that is there. */
  readonly overwrite: boolean;
  /** It was begun before. */
  readonly resume: boolean;
}

const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');
const START_MS = 10_000;

const isUri = (place: string): boolean => /^nbds?(?:\+unix)?:\/\//.test(place);

/** An image to read. `owned` ends the programs that this takes. Throws `copy.no-image` or `copy.no-qemu`. */
export async function existingImage(
  place: string,
  format: string | undefined,
  owned: AsyncDisposableStack,
): Promise<Image> {
  if (isUri(place)) return { backend: { type: 'nbd', uri: place }, identity: { place }, showsChanges: false };
  const path = resolve(place);
  const found = await stat(path).catch((cause: Error) => {
    throw new GatewayError('copy.no-image', `The image ${path} cannot be read.`, {
      why: cause.message,
      fix: 'Name a file, a block device, or an NBD URI.',
      cause,
    });
  });
  const identity = { path, size: found.size, changed: found.mtimeMs };
  // The time of a block device says nothing of its content.
  const showsChanges = found.isFile();
  const kind = format ?? (await formatOf(path));
  if (kind === 'raw') return { backend: { type: 'file', path, create: false }, identity, showsChanges };
  return { backend: await throughQemu(path, kind, ['--read-only'], owned), identity, showsChanges };
}

/** An image to write: a file is made, whose folder is durable. Throws `copy.exists`, `copy.no-image` or `copy.no-qemu`. */
export async function newImage(
  place: string,
  format: string | undefined,
  { size, overwrite, resume }: NewImage,
  owned: AsyncDisposableStack,
): Promise<Image> {
  if (isUri(place)) return { backend: { type: 'nbd', uri: place }, identity: { place }, showsChanges: false };
  const path = resolve(place);
  const there = await stat(path).catch(() => undefined);
  const image = { identity: { path, size }, showsChanges: false };
  const kind = format ?? (/\.(qcow2|vmdk|vdi|vhdx)$/.exec(path)?.[1] as string | undefined) ?? 'raw';
  if (there?.isBlockDevice()) return { backend: { type: 'file', path, create: false }, ...image };
  if (there !== undefined && !overwrite && !resume)
    throw new GatewayError('copy.exists', `There is a file ${path} already.`, {
      fix: 'Name another one, or add --overwrite.',
    });
  if (!resume) await makeFile(path, kind, size);
  if (kind === 'raw') return { backend: { type: 'file', path, create: false }, ...image };
  return { backend: await throughQemu(path, kind, ['--discard=unmap'], owned), ...image };
}

async function makeFile(path: string, format: string, size: number): Promise<void> {
  if (format === 'raw') {
    const file = await open(path, 'w').catch((cause: Error) => {
      throw new GatewayError('copy.no-image', `The image ${path} cannot be made.`, {
        why: cause.message,
        cause,
      });
    });
    try {
      await file.truncate(size);
      await file.sync();
    } finally {
      await file.close();
    }
  } else await run('qemu-img', ['create', '-q', '-f', format, path, String(size)]);
  const folder = await open(dirname(path), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

async function formatOf(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    const { buffer } = await file.read({ buffer: Buffer.alloc(4), position: 0 });
    return buffer.equals(QCOW2_MAGIC) ? 'qcow2' : 'raw';
  } finally {
    await file.close();
  }
}

/** A backend that reads and writes the image by way of a qemu-nbd of its own. */
async function throughQemu(
  path: string,
  format: string,
  more: readonly string[],
  owned: AsyncDisposableStack,
): Promise<Image['backend']> {
  const { temporaryFolder } = await import('../temporary-folder.ts');
  const folder = owned.use(await temporaryFolder());
  const socket = join(folder.path, 'nbd.sock');
  const server = ['qemu-nbd', '--persistent', '--socket', socket, '--format', format, ...more, path];
  // It goes when we do, however that comes about, and not before us by a Ctrl-C.
  const child = spawn('setpriv', ['--pdeathsig', 'TERM', ...server], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString();
  });
  const ended = once(child, 'exit').then(
    () => said.trim() || 'it ended at once',
    (error: Error) => error.message,
  );
  owned.defer(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const appeared = async (): Promise<undefined> => {
    for (let waited = 0; waited < START_MS; waited += 50) {
      if ((await stat(socket).catch(() => undefined)) !== undefined) return undefined;
      await delay(50);
    }
    throw noQemu(`qemu-nbd did not open ${socket}`);
  };
  const why = await Promise.race([ended, appeared()]);
  if (why !== undefined) throw noQemu(why);
  return { type: 'nbd', uri: `nbd+unix:///?socket=${socket}` };
}

async function run(program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said += text.toString();
  });
  const [code] = (await once(child, 'exit').catch((error: Error) => {
    throw noQemu(error.message);
  })) as [number | null];
  if (code !== 0) throw noQemu(said.trim() || `${program} ended with ${code}`);
}

function noQemu(why: string): GatewayError {
  return new GatewayError('copy.no-qemu', 'QEMU’s tools cannot open the image.', {
    why,
    fix: 'Install qemu-utils for images that are not raw, and name their format with --format.',
  });
}
