import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../measure.ts';
import { FuseMount, Program } from './programs.ts';
import { BUCKET, type CountingServer } from './server.ts';
import { CREDENTIALS } from './traffic.ts';

/** A disk in a bucket. */
export interface Contender extends AsyncDisposable {
  /** Settles when it can be used. */
  attach(): Promise<void>;
  /** What tells fio where it is, in the way in which it is meant to be used. */
  readonly fio: readonly string[];
  /** As a file of a FUSE file system, for what needs one. */
  file(): Promise<string>;
  /** Settles when the store has everything that was written, and flushed. Nobody has the disk open. */
  settle(): Promise<void>;
  detach(): Promise<void>;
  /** As when its machine dies. */
  kill(): Promise<void>;
}

export interface Place {
  readonly server: CountingServer;
  /** An empty folder. */
  readonly folder: string;
  /** Of the disk. Bytes. */
  readonly size: number;
}

/** Memory for what was read and is to be written: the default of blockgate, both together. Bytes. */
const CACHE = 96 * MIB;

/** `blockgate run` with its defaults and the frontend `nbd`; nbdfuse makes a file of that. */
export class Blockgate implements Contender {
  readonly #place: Place;
  /** Where nbdfuse makes a file of it. */
  readonly #folder: string;
  readonly #socket: string;
  #isCreated = false;
  #gateway: Program | undefined;
  #file: { readonly program: Program; readonly mount: FuseMount } | undefined;

  constructor(place: Place) {
    this.#place = place;
    this.#folder = join(place.folder, 'disk');
    this.#socket = join(place.folder, 'nbd.sock');
  }

  async attach(): Promise<void> {
    if (!this.#isCreated) await this.#create();
    this.#isCreated = true;
    const state = join(this.#place.folder, 'state');
    this.#gateway = this.#cli('run', '--state-dir', state, '--take-over');
    await this.#gateway.said(this.#socket);
  }

  get fio(): readonly string[] {
    return ['--ioengine=nbd', `--uri=nbd+unix:///?socket=${this.#socket}`];
  }

  async file(): Promise<string> {
    const file = join(this.#folder, 'file');
    const program = new Program(['nbdfuse', file, '--unix', this.#socket]);
    this.#file = { program, mount: new FuseMount(this.#folder) };
    await program.made(file);
    return file;
  }

  /** A flush is answered when the store has everything. */
  async settle(): Promise<void> {}

  async detach(): Promise<void> {
    if (this.#file !== undefined) {
      await this.#file.mount.unmount();
      await this.#file.program.end();
      this.#file = undefined;
    }
    this.#gateway!.stop();
    await this.#gateway!.end();
    this.#gateway = undefined;
  }

  async kill(): Promise<void> {
    await this.#gateway?.kill();
    await this.#file?.program.kill();
    await this.#file?.mount.abandon();
    this.#gateway = undefined;
    this.#file = undefined;
  }

  async #create(): Promise<void> {
    const { server, folder, size } = this.#place;
    await mkdir(this.#folder);
    const { accessKeyId } = CREDENTIALS;
    const credentials = { accessKeyId, secretAccessKey: { env: 'BENCH_S3_SECRET' } };
    const place = { endpoint: server.endpoint, bucket: BUCKET, prefix: 'blockgate', size };
    const disk = {
      backend: { type: 's3', ...place, credentials },
      frontend: { type: 'nbd', socket: this.#socket },
    };
    await writeFile(join(folder, 'plugins.json'), JSON.stringify({ version: 1, disks: { disk } }));
    await this.#cli('volume', 'create', 'disk').end();
  }

  #cli(...args: string[]): Program {
    const main = new URL('../../../../core/app/cli/main.ts', import.meta.url).pathname;
    const config = join(this.#place.folder, 'plugins.json');
    return new Program([process.execPath, main, ...args, '--config', config], {
      BENCH_S3_SECRET: CREDENTIALS.secretAccessKey,
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}

/** What is chosen for a job, so that it does as well as it can. */
export interface S3backerSettings {
  /** Bytes per object. */
  readonly blockSize: number;
  /** A write is answered when the store has it; its flush does nothing, so that is the only way to be sure. */
  readonly isSync: boolean;
}

/** The package of Debian, with as much memory, for a store that is consistent. */
export class S3backer implements Contender {
  readonly #place: Place;
  readonly #settings: S3backerSettings;
  readonly #folder: string;
  #serving: { readonly program: Program; readonly mount: FuseMount } | undefined;

  constructor(place: Place, settings: S3backerSettings) {
    this.#place = place;
    this.#settings = settings;
    this.#folder = join(place.folder, 'disk');
  }

  async attach(): Promise<void> {
    const { server, folder, size } = this.#place;
    const { blockSize, isSync } = this.#settings;
    const { accessKeyId, secretAccessKey } = CREDENTIALS;
    const keys = join(folder, 'keys');
    await writeFile(keys, `${accessKeyId}:${secretAccessKey}\n`, { mode: 0o600 });
    await mkdir(this.#folder, { recursive: true });
    const program = new Program([
      // After a crash its mark is still there, which takes force.
      ...['s3backer', '-f', '--quiet', '--force', `--accessFile=${keys}`, `--baseURL=${server.endpoint}/`],
      ...['--prefix=s3backer/', '--listBlocks', `--size=${size}`, `--blockSize=${blockSize}`],
      ...['--minWriteDelay=0', '--md5CacheSize=0', '--md5CacheTime=0'],
      `--blockCacheSize=${Math.min(CACHE, size) / blockSize}`,
      ...(isSync ? ['--blockCacheWriteDelay=0', '--blockCacheSync'] : []),
      // More than a page at a time comes from the kernel.
      ...['-o', 'big_writes', BUCKET, this.#folder],
    ]);
    this.#serving = { program, mount: new FuseMount(this.#folder) };
    await program.made(this.#path);
  }

  get #path(): string {
    return join(this.#folder, 'file');
  }

  get fio(): readonly string[] {
    return ['--ioengine=psync', `--filename=${this.#path}`];
  }

  file(): Promise<string> {
    return Promise.resolve(this.#path);
  }

  /** Its end is when it has stored what it has. */
  settle(): Promise<void> {
    return this.detach();
  }

  async detach(): Promise<void> {
    if (this.#serving === undefined) return;
    await this.#serving.mount.unmount();
    await this.#serving.program.end();
    this.#serving = undefined;
  }

  async kill(): Promise<void> {
    if (this.#serving === undefined) return;
    await this.#serving.program.kill();
    await this.#serving.mount.abandon();
    this.#serving = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
