import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../../api/errors.ts';
import { S3Folder } from '../s3-folder.ts';
import { BUCKET, DISK, PREFIX, VOLUME_SIZE } from './demo-volume.ts';

const MARKER = 'README';
const ABOUT = 'Made by "blockgate demo", and made anew each time: keep nothing here.\n';

/** The folder of a demo. Its bucket and its configuration stay; `work` goes with the demo. */
export class DemoFolder {
  readonly path: string;
  /** What the disk's machine sees: samples, scripts, state. */
  readonly work: string;
  readonly configFile: string;
  /** Everything that the demo's commands said. */
  readonly logFile: string;
  readonly s3: S3Folder;

  /** Throws away what an earlier demo left. Throws `demo.folder-taken` for a folder that is not a demo's. */
  static async prepare(path: string): Promise<DemoFolder> {
    const folder = new DemoFolder(path);
    await mkdir(path, { recursive: true });
    const isEmpty = (await readdir(path)).length === 0;
    const about = await readFile(join(path, MARKER), 'utf8').catch(() => '');
    if (!isEmpty && about !== ABOUT) {
      throw new GatewayError('demo.folder-taken', `The folder ${path} is not the demo's.`, {
        why: 'The demo empties its folder, and there is something else in this one.',
        fix: 'Name another one with --dir, or empty it.',
      });
    }
    await writeFile(join(path, MARKER), ABOUT);
    await rm(folder.s3.store, { recursive: true, force: true });
    await rm(folder.work, { recursive: true, force: true });
    await mkdir(folder.work);
    await writeFile(folder.logFile, '');
    return folder;
  }

  private constructor(path: string) {
    this.path = path;
    this.work = join(path, 'work');
    this.configFile = join(path, 'plugins.json');
    this.logFile = join(path, 'demo.log');
    this.s3 = new S3Folder(path);
  }

  /** The configuration that the demo runs by, and that works afterwards with `blockgate s3-server`. */
  async writeConfig(endpoint: string): Promise<void> {
    const credentials = {
      accessKeyId: { file: 'keys/access-key-id' },
      secretAccessKey: { file: 'keys/secret-access-key' },
    };
    const backend = { type: 's3', bucket: BUCKET, prefix: PREFIX, size: VOLUME_SIZE, endpoint, credentials };
    const config = { version: 1, disks: { [DISK]: { backend } } };
    await writeFile(this.configFile, `${JSON.stringify(config, undefined, 2)}\n`);
  }

  async removeWork(): Promise<void> {
    await rm(this.work, { recursive: true, force: true });
  }
}
