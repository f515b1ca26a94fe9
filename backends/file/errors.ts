import { dirname } from 'node:path';
import { formatSize, GatewayError, type LockHolder } from '../../core/plugin.ts';

/** What can be wrong with a path before the first byte moves. One function per mistake. */

export function missing(path: string, fix: string, cause?: unknown): GatewayError {
  return new GatewayError('file.not-found', `${path} does not exist.`, { fix, cause });
}

export function sizeRequired(path: string, why: string): GatewayError {
  return new GatewayError('file.size-required', `The size of ${path} is not known.`, {
    why,
    fix: 'Give the backend a "size", such as "10GiB".',
  });
}

export function sizeMismatch(path: string, actual: number, configured: number): GatewayError {
  return new GatewayError(
    'file.size-mismatch',
    `${path} is ${exactSize(actual)}, but the configuration says ${exactSize(configured)}.`,
    {
      why: '"size" is what a file is created with; a file that exists keeps the size it has.',
      fix:
        configured > actual
          ? `Set "size" to ${actual} or leave it out; or grow the file with "blockgate volume resize".`
          : `Set "size" to ${actual} or leave it out.`,
    },
  );
}

/** `size` is what a file has, or with `configured` what the configuration asks for. */
export function sizeUnaligned(
  path: string,
  size: number,
  blockSize: number,
  configured = false,
): GatewayError {
  const enough = Math.ceil(size / blockSize) * blockSize;
  return new GatewayError(
    'file.size-unaligned',
    `The size of ${path}, ${size} bytes, is not a multiple of ${blockSize}.`,
    {
      why: `A disk consists of whole blocks, here of ${blockSize} bytes.`,
      fix: configured
        ? `Use a size of ${enough} bytes.`
        : `Make it ${enough} bytes: truncate --size=${enough} ${path}`,
    },
  );
}

export function unsupportedType(path: string, type: string): GatewayError {
  return new GatewayError('file.unsupported-type', `${path} is a ${type}.`, {
    why: 'A disk can be stored in a regular file or a block device.',
    fix: type === 'folder' ? `Name a file in it, such as ${path}/disk.img.` : 'Name another path.',
  });
}

export function directUnsupported(path: string, cause: unknown): GatewayError {
  return new GatewayError('file.direct-unsupported', `${path} cannot be opened for direct I/O.`, {
    why: 'Its file system has no O_DIRECT.',
    fix: 'Leave out "direct", or move the file to a file system on a disk (ext4, xfs, btrfs).',
    cause,
  });
}

/** `holders`: those that could be found; an unprivileged user sees only their own processes. */
export function inUse(path: string, holders: readonly LockHolder[]): GatewayError {
  const who = holders.map(({ pid, command }) => `process ${pid} (${command})`).join(', ');
  return new GatewayError('volume.in-use', `${path} is in use by ${who || 'another process'}.`, {
    why: "It holds a lock on the file. Two writers would destroy each other's data.",
    fix: `Stop the other one first${who ? '' : '; "lslocks" run as root names it'}.`,
  });
}

/** Puts an error of open(2), or of what comes right after it, into words. */
export function openFailed(path: string, error: NodeJS.ErrnoException, readOnly: boolean): GatewayError {
  const because = { cause: error };
  switch (error.code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new GatewayError('file.folder-not-found', `The folder of ${path} does not exist.`, {
        why: 'The file is created when it is missing, its folder is not.',
        fix: `Create the folder, or correct "path": mkdir --parents ${dirname(path)}`,
        ...because,
      });
    case 'EEXIST':
      return new GatewayError('file.not-found', `${path} is a symbolic link to a file that does not exist.`, {
        fix: 'Create its target, or correct "path".',
        ...because,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new GatewayError(
        'file.no-permission',
        `${path} cannot be opened for ${readOnly ? 'reading' : 'writing'}.`,
        {
          why:
            error.code === 'EROFS'
              ? 'It is on a read-only file system or device.'
              : `The user of the gateway (uid ${process.getuid?.()}) may not do that.`,
          fix: readOnly
            ? 'Change its owner or permissions.'
            : 'Change its owner or permissions, or make the disk read-only with "readOnly": true.',
          ...because,
        },
      );
    case 'EBUSY':
      return new GatewayError('file.device-busy', `The block device ${path} is in use.`, {
        why: 'It is mounted, or part of something else: a RAID, a volume group, swap.',
        fix: `See what uses it with "lsblk ${path}", and release it first.`,
        ...because,
      });
    case 'EFBIG':
      return new GatewayError('file.too-big', `${path} cannot be that big.`, {
        why: 'The size is above what its file system, or the limit on file sizes (ulimit -f), allows.',
        fix: 'Choose a smaller "size", or a file system for large files such as xfs.',
        ...because,
      });
    case 'ENOSPC':
    case 'EDQUOT':
      return new GatewayError('file.no-space', `${path} cannot be created: its file system is full.`, {
        fix: 'Free some space or quota.',
        ...because,
      });
    default:
      return new GatewayError('file.open-failed', `${path} cannot be opened.`, {
        why: error.message,
        ...because,
      });
  }
}

/** `1073741824 bytes (1 GiB)`: exact, since a mismatch may be of one block. */
function exactSize(bytes: number): string {
  return `${bytes} bytes (${formatSize(bytes)})`;
}
