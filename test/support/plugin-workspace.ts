import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../core/config/load.ts';
import { PluginRegistry } from '../../core/plugins/registry.ts';
import { renderError } from '../../core/util/render-error.ts';
import { nativeImport } from './native-import.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/plugins');

/** A folder with a plugins.json in it, as a user has one; dispose of it to remove it. */
export class PluginWorkspace implements AsyncDisposable {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** `packages` are fixtures to install under node_modules, `local` fixtures to put beside plugins.json. */
  static async create(
    packages: readonly string[] = [],
    local: readonly string[] = [],
  ): Promise<PluginWorkspace> {
    const workspace = new PluginWorkspace(await mkdtemp(join(tmpdir(), 'blockgate-plugins-')));
    for (const name of packages) {
      await cp(join(FIXTURES, name), join(workspace.dir, 'node_modules', name), { recursive: true });
    }
    for (const name of local) await cp(join(FIXTURES, name), join(workspace.dir, name), { recursive: true });
    return workspace;
  }

  async write(path: string, content: string): Promise<string> {
    const file = join(this.dir, path);
    await mkdir(join(file, '..'), { recursive: true });
    await writeFile(file, content);
    return file;
  }

  /** The registry of a plugins.json with these `plugins`. */
  async registry(plugins: readonly string[], timeoutMs = 5000): Promise<PluginRegistry> {
    const file = await this.write(
      'plugins.json',
      JSON.stringify({ version: 1, plugins, disks: {} }, undefined, 2),
    );
    return PluginRegistry.load(await loadConfig(file), { importModule: nativeImport, timeoutMs });
  }

  /** What a terminal shows of an error, with this folder written `<dir>`. */
  render(error: unknown): string {
    return renderError(error).replaceAll(this.dir, '<dir>');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}
