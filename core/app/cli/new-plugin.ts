import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { GatewayError } from '../../api/errors.ts';
import { ExitCode } from './exit-code.ts';
import { packageFolder, packageVersion } from './package-folder.ts';
import type { Terminal } from './terminal.ts';

/** What a backend may be called in plugins.json, and a package on npm. */
const NAME = /^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$/;

/** Makes a package with a backend that works. Returns the exit status. */
export async function newPlugin(name: string, parent: string, terminal: Terminal): Promise<number> {
  if (!NAME.test(name)) throw badName(name);
  const folder = resolve(parent, `blockgate-backend-${name}`);
  try {
    await mkdir(parent, { recursive: true });
    await mkdir(folder);
  } catch (cause) {
    throw cannotMake(folder, cause as NodeJS.ErrnoException);
  }
  try {
    await cp(join(packageFolder(), 'templates', 'backend'), folder, { recursive: true });
    // npm leaves files of this name out of what it publishes.
    await rename(join(folder, 'gitignore'), join(folder, '.gitignore'));
    await fillIn(folder, {
      __NAME__: name,
      __BLOCKGATE__: isCheckout() ? `file:${relative(folder, packageFolder())}` : `^${packageVersion()}`,
    });
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  terminal.print(folder);
  const steps = [`cd ${folder}`, 'npm install', 'npm test', 'npx blockgate check'];
  // What others install is built.
  if (!existsSync(join(packageFolder(), 'dist')))
    steps.unshift(`npm --prefix ${packageFolder().replace(/\/$/, '')} run build`);
  terminal.say(`A backend that works, and its tests. Next:\n${steps.map((step) => `  ${step}`).join('\n')}`);
  return ExitCode.OK;
}

/** Not installed from npm: then it is that very folder that the plugin is tested with. */
const isCheckout = (): boolean => !packageFolder().includes('/node_modules/');

async function fillIn(folder: string, values: Readonly<Record<string, string>>): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    let text = await readFile(file, 'utf8');
    for (const [placeholder, value] of Object.entries(values)) text = text.replaceAll(placeholder, value);
    await writeFile(file, text);
  }
}

function badName(name: string): GatewayError {
  return new GatewayError('plugin.bad-name', `A backend cannot be called ${JSON.stringify(name)}.`, {
    why: 'A name is made of lower-case letters and digits, in words that hyphens join, and begins with a letter.',
    fix: 'Choose another, such as "ftp" or "my-store".',
  });
}

function cannotMake(folder: string, cause: NodeJS.ErrnoException): GatewayError {
  return new GatewayError('plugin.cannot-create', `The folder ${folder} cannot be made.`, {
    why: cause.code === 'EEXIST' ? 'There is one already.' : cause.message,
    fix: 'Choose another name, or another place with --dir.',
    cause,
  });
}
