import { type BlockErrno, BlockError } from '../api/errors.ts';
import { Errno, SystemError } from './errno.ts';

/** What a guest is told; what is not here is EIO. A full quota looks like a full disk to it. */
const CODES: Readonly<Record<number, BlockErrno>> = {
  [Errno.ENOMEM]: 'ENOMEM',
  [Errno.EINVAL]: 'EINVAL',
  [Errno.ENOSPC]: 'ENOSPC',
  [Errno.EDQUOT]: 'ENOSPC',
  [Errno.EROFS]: 'EROFS',
  [Errno.EOPNOTSUPP]: 'ENOTSUP',
};

/** `action` for a person, such as "write of 4096 bytes at 8192". */
export function blockError(path: string, action: string, syscall: string, errno: number): BlockError {
  const cause = new SystemError(syscall, errno);
  return new BlockError(CODES[errno] ?? 'EIO', `${path}: ${action} failed: ${cause.message}`, {
    retriable: errno === Errno.ENOMEM || errno === Errno.EAGAIN,
    cause,
  });
}
