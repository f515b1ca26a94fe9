import { lstatSync, mkdirSync, readlinkSync, renameSync, rmdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { GatewayError } from '../../core/api/errors.ts';
import type { HostPaths } from './host-paths.ts';

/** `/dev/blockgate/DISK`: a name that stays the same whatever the kernel calls the disk. Removed by disposal. */
export class DeviceLink implements Disposable {
  readonly path: string;
  readonly #target: string;

  /** Replaces a link that is left over. Throws `vduse.link-failed`. */
  constructor(paths: HostPaths, disk: string, target: string) {
    this.path = join(paths.dev, 'blockgate', disk);
    this.#target = target;
    const fresh = `${this.path}.new`;
    try {
      mkdirSync(dirname(this.path), { recursive: true });
      const current = lstatSync(this.path, { throwIfNoEntry: false });
      if (current !== undefined && !current.isSymbolicLink())
        throw new Error('something else is in its place');
      if (lstatSync(fresh, { throwIfNoEntry: false })) unlinkSync(fresh);
      symlinkSync(target, fresh);
      // Whoever opens the path meanwhile finds the old link or the new one.
      renameSync(fresh, this.path);
    } catch (cause) {
      throw new GatewayError('vduse.link-failed', `The link ${this.path} to ${target} cannot be made.`, {
        why: (cause as Error).message,
        fix: `Move away what is at ${this.path}, and run the gateway as a user who may write to ${paths.dev}.`,
        cause,
      });
    }
  }

  [Symbol.dispose](): void {
    try {
      if (readlinkSync(this.path) !== this.#target) return;
      unlinkSync(this.path);
      rmdirSync(dirname(this.path));
    } catch (error) {
      // Gone already, or the folder holds links of other disks.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'EINVAL') throw error;
    }
  }
}
