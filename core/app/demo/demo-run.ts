import { appendFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GatewayError } from '../../api/errors.ts';
import { formatSize } from '../../util/size.ts';
import { type Step, StepList } from '../cli/step-list.ts';
import { table } from '../cli/table.ts';
import type { Terminal } from '../cli/terminal.ts';
import { takeInventory } from './bucket-inventory.ts';
import { compileCacheEnv } from './compile-cache.ts';
import type { DemoFolder } from './demo-folder.ts';
import { BUCKET, DISK, VOLUME_SIZE } from './demo-volume.ts';
import { SHELL_SCRIPT, VERIFY_SCRIPT, WRITE_SCRIPT } from './guest-scripts.ts';
import { LocalPlayground } from './local-playground.ts';
import { openPlayground } from './open-playground.ts';
import type { Playground } from './playground.ts';
import { S3Process } from './s3-process.ts';
import { makeSamples, type Samples } from './sample-files.ts';
import { ScriptReport } from './script-report.ts';

const CLI = fileURLToPath(new URL(`../cli/main${extname(import.meta.url)}`, import.meta.url));
/** Lines of a failed command that are shown. */
const LAST_WORDS = 15;

/** The steps of the demo. Disposing of it stops what still runs. */
export class DemoRun implements AsyncDisposable {
  readonly #folder: DemoFolder;
  readonly #signal: AbortSignal;
  readonly #steps: StepList;
  readonly #owned = new AsyncDisposableStack();
  #playground!: Playground;
  #samples!: Samples;
  #server: S3Process | undefined;
  #port = 0;

  constructor(folder: DemoFolder, signal: AbortSignal, terminal: Terminal) {
    this.#folder = folder;
    this.#signal = signal;
    this.#steps = new StepList(terminal);
    // The disk first, then its store.
    this.#owned.defer(() => this.#stopServer());
    this.#owned.defer(() => this.#playground?.[Symbol.asyncDispose]());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }

  /** Of the S3 server; the same each time it is started. */
  get port(): number {
    return this.#port;
  }

  async prepare(): Promise<void> {
    await this.#steps.run('Starting an S3 server', async () => {
      await this.#folder.s3.ensureBuckets([BUCKET]);
      const endpoint = await this.#startServer();
      await this.#folder.writeConfig(endpoint);
      return [undefined, `S3 server on ${endpoint}, bucket "${BUCKET}" in ${this.#folder.s3.store}`];
    });
    await this.#steps.run(`Creating a volume of ${VOLUME_SIZE}`, async () => {
      // A volume is a matter between the gateway and the bucket: no VDUSE needed.
      const here = new LocalPlayground(this.#folder.path, this.#signal);
      const args = ['volume', 'create', DISK, '-c', this.#folder.configFile];
      await this.#command(here, [process.execPath, CLI, ...args], () => {});
      this.#samples = await makeSamples(join(this.#folder.work, 'samples'));
      return [undefined, `Volume of ${VOLUME_SIZE} in the bucket: thin, so nearly empty`];
    });
    await this.#steps.run('Looking for VDUSE', async (step) => {
      const folder = this.#folder.path;
      const onProgress = (line: string) => step.relabel(line);
      this.#playground = await openPlayground({ folder, signal: this.#signal, onProgress });
      return [undefined, `VDUSE on ${this.#playground.description}`];
    });
  }

  async writeAndStop(): Promise<void> {
    const { files, bytes } = this.#samples;
    await this.#steps.run('Serving the volume as a disk', async (step) => {
      const report = await this.#withDisk('first', WRITE_SCRIPT, step);
      const speed = formatSize(bytes / report.seconds);
      return [
        undefined,
        `ext4 on ${report.device}: ${files} files, ${formatSize(bytes)} written at ${speed}/s`,
      ];
    });
    await this.#steps.run('Stopping everything', async () => {
      await this.#stopServer();
      return [undefined, 'Unmounted, disk gone, gateway and S3 server stopped'];
    });
  }

  async startAgainAndVerify(): Promise<void> {
    const { files, bytes } = this.#samples;
    await this.#steps.run('Starting again from the bucket alone', async (step) => {
      await this.#startServer();
      const report = await this.#withDisk('second', VERIFY_SCRIPT, step);
      const speed = formatSize(bytes / report.seconds);
      return [undefined, `New S3 server, new gateway: all ${files} files are the same, read at ${speed}/s`];
    });
  }

  async shell(): Promise<void> {
    const command = await this.#gatewayCommand('shell', SHELL_SCRIPT);
    const status = await this.#playground.runInTerminal(command, compileCacheEnv());
    if (status !== 0) throw stepFailed('the shell', status, ['See above.'], this.#folder);
  }

  /** Stops the server and says what lies in its bucket. */
  async inventory(): Promise<string> {
    await this.#stopServer();
    const lines = await takeInventory(this.#folder.s3.store, BUCKET);
    const rows = lines.map(({ name, objects, bytes }) => [name, String(objects), formatSize(bytes)]);
    const total = lines.reduce((sum, { bytes }) => sum + bytes, 0);
    const objects = lines.reduce((sum, line) => sum + line.objects, 0);
    const summary = `In the bucket: ${objects} objects, ${formatSize(total)}, for a disk of ${VOLUME_SIZE}`;
    return `${summary}\n${table(['KEY', 'OBJECTS', 'SIZE'], rows)}`;
  }

  async #startServer(): Promise<string> {
    const credentials = await this.#folder.s3.keys();
    const options = { dataDir: this.#folder.s3.store, port: this.#port, credentials };
    this.#server = await S3Process.start(options);
    this.#port = this.#server.port;
    return this.#server.endpoint;
  }

  async #stopServer(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
  }

  /** Runs a script beside the disk. Each `name` has a state folder of its own. */
  async #withDisk(name: string, script: string, step: Step): Promise<ScriptReport> {
    const command = await this.#gatewayCommand(name, script);
    const log = (line: string) => appendFileSync(this.#folder.logFile, `${line}\n`);
    const report = new ScriptReport(step);
    await this.#command(this.#playground, command, (line) => {
      log(line);
      report.take(line);
    });
    return report;
  }

  /** `blockgate run … -- bash script`: the disk lives as long as the script. */
  async #gatewayCommand(name: string, script: string): Promise<string[]> {
    await writeFile(join(this.#folder.work, `${name}.sh`), script);
    const { folder, hostAddress } = this.#playground;
    const work = join(folder, 'work');
    const endpoint = `disks.${DISK}.backend.endpoint=http://${hostAddress}:${this.#port}`;
    const options = [
      '-c',
      join(folder, 'plugins.json'),
      '--state-dir',
      join(work, `state-${name}`),
      '--set',
      endpoint,
    ];
    const captive = ['bash', join(work, `${name}.sh`), join(work, 'samples')];
    return [process.execPath, CLI, 'run', DISK, ...options, '--', ...captive];
  }

  async #command(
    where: Playground,
    command: readonly string[],
    onLine: (line: string) => void,
  ): Promise<void> {
    const said: string[] = [];
    const take = (line: string) => {
      said.push(line);
      if (said.length > LAST_WORDS) said.shift();
      onLine(line);
    };
    const status = await where.run(command, { env: compileCacheEnv(), onLine: take });
    if (status !== 0) throw stepFailed(command.slice(1).join(' '), status, said, this.#folder);
  }
}

function stepFailed(what: string, status: number, said: readonly string[], folder: DemoFolder): GatewayError {
  return new GatewayError('demo.step-failed', `A step of the demo ended with status ${status}: ${what}.`, {
    why: said.join('\n') || 'It said nothing.',
    fix: `Everything it said is in ${folder.logFile}.`,
  });
}
