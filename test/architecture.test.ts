import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

/**
 * The dependency rules of ARCHITECTURE.md, enforced. An area is a path prefix; the longest that fits counts.
 * `files` are prefixes an area may import besides itself; `packages` the npm packages; `node: false` means pure.
 */
interface Area {
  readonly files: readonly string[];
  readonly packages?: readonly string[];
  readonly node?: false;
}

const UTIL = ['core/api/', 'core/util/'];
const PLUGIN = ['core/plugin.ts'];

const AREAS: Readonly<Record<string, Area>> = {
  'core/api/': { files: [], packages: ['@standard-schema/spec'], node: false },
  'core/util/': { files: ['core/api/'] },
  'core/util/config-types.ts': { files: UTIL, packages: ['zod'], node: false },
  'core/block/': { files: UTIL, node: false },
  'core/filters/': { files: [...UTIL, 'core/block/', 'core/system/file-lock.ts'], packages: ['zod'] },
  'core/config/': { files: UTIL, packages: ['zod', 'jsonc-parser', '@standard-schema/spec'] },
  'core/plugins/': { files: [...UTIL, 'core/config/'], packages: ['zod'] },
  'core/plugins/builtin.ts': { files: [...UTIL, 'core/filters/', 'backends/', 'frontends/'] },
  'core/nbd/': { files: [] },
  'core/observe/': { files: UTIL, packages: ['pino'] },
  'core/system/': { files: UTIL, packages: ['koffi'] },
  'core/testkit/': { files: [...UTIL, 'core/block/', 'core/plugins/'] },
  'core/testkit.ts': { files: ['core/testkit/'] },
  'core/vm/': { files: UTIL },
  'core/s3-server/': { files: UTIL, packages: ['fast-xml-parser'] },
  'core/app/': { files: ['core/'], packages: ['inversify', 'reflect-metadata'] },
  'core/app/control/': { files: ['core/'], packages: ['zod'] },
  'core/app/cli/': { files: ['core/'], packages: ['commander', 'zod'] },
  'core/plugin.ts': { files: [...UTIL, 'core/system/'] },
  'core/index.ts': { files: ['core/'] },
  'core/bootstrap.js': { files: [] },
  'frontends/virtio/abi/': { files: [], node: false },
  'frontends/virtio/memory/': { files: [...UTIL, 'frontends/virtio/abi/'], node: false },
  'frontends/virtio/virtq/': {
    files: ['core/api/', 'frontends/virtio/abi/', 'frontends/virtio/memory/'],
    node: false,
  },
  'frontends/virtio/blk/': { files: [...UTIL, 'core/block/', 'frontends/virtio/'], node: false },
  'frontends/vduse/': {
    files: [...UTIL, 'core/block/', 'core/system/', 'frontends/virtio/'],
    packages: ['zod'],
  },
  'frontends/nbd/': { files: [...UTIL, 'core/nbd/'], packages: ['zod'] },
  'backends/file/': { files: PLUGIN, packages: ['zod'] },
  'backends/memory/': { files: PLUGIN, packages: ['zod'] },
  'backends/nbd/': { files: [...PLUGIN, 'core/nbd/'], packages: ['zod'] },
  'backends/redis/': { files: PLUGIN, packages: ['zod', 'ioredis'] },
  'backends/s3/': {
    files: PLUGIN,
    packages: ['zod', '@aws-sdk/client-s3', '@smithy/signature-v4', 'undici', 'lz4-napi'],
  },
};

/** `import … from 'x'`, `export … from 'x'`, `import 'x'` and `import('x')`, over line breaks too. */
const IMPORTS =
  /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s*['"]([^'"]+)['"]|(?:^|\n)\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;
const MAX_LINES = 400;

function areaOf(file: string): string | undefined {
  return Object.keys(AREAS)
    .filter((prefix) => file.startsWith(prefix))
    .sort((a, b) => b.length - a.length)[0];
}

/** What is wrong with one source file; empty when nothing is. */
function violations(file: string, source: string): string[] {
  const name = areaOf(file);
  if (name === undefined) return [`${file}: belongs to no area; add one to AREAS or move it`];
  const area = AREAS[name]!;
  const found: string[] = [];
  for (const match of source.matchAll(IMPORTS)) {
    const specifier = (match[1] ?? match[2] ?? match[3])!;
    if (specifier.startsWith('.')) {
      const target = normalize(join(dirname(file), specifier));
      const own = target.startsWith(name.endsWith('/') ? name : `${dirname(name)}/`);
      if (!own && !area.files.some((prefix) => target.startsWith(prefix))) {
        found.push(
          `${file} must not import ${target}; ${name} may import: ${area.files.join(', ') || 'nothing'}`,
        );
      }
    } else if (specifier.startsWith('node:')) {
      if (area.node === false) found.push(`${file}: '${specifier}' in a pure area`);
    } else if (!(area.packages ?? []).some((pkg) => specifier === pkg || specifier.startsWith(`${pkg}/`))) {
      found.push(`${file}: package '${specifier}' is not among those of ${name}`);
    }
  }
  const code = source.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '');
  if (
    /\bprocess\.exit\(/.test(code) &&
    !file.startsWith('core/app/') &&
    !file.endsWith('main.ts') &&
    !file.endsWith('.js')
  ) {
    found.push(`${file}: process.exit belongs to core/app`);
  }
  const lines = source.split('\n').length - 1;
  if (lines > MAX_LINES) found.push(`${file}: ${lines} lines, more than ${MAX_LINES}: probably two ideas`);
  return found;
}

const root = join(import.meta.dirname, '..');
const files = ['core', 'frontends', 'backends']
  .flatMap((folder) => globSync(`${folder}/**/*.{ts,js}`, { cwd: root }))
  .map((file) => relative(root, join(root, file)));

describe('architecture', () => {
  it('has only the imports that the dependency rules allow', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.flatMap((file) => violations(file, readFileSync(join(root, file), 'utf8')))).toEqual([]);
  });

  it.each([
    ['another backend', 'backends/s3/chunk/device.ts', "import { x } from '../../file/device.ts';"],
    [
      'core behind the plugin contract',
      'backends/s3/chunk/device.ts',
      "import { x } from '../../core/block/volume.ts';",
    ],
    ['upwards', 'core/api/device.ts', "export type { X } from '../util/size.ts';"],
    ['koffi outside core/system', 'frontends/vduse/device.ts', "import koffi from 'koffi';"],
    ['the container outside core/app', 'core/block/volume.ts', "import { Container } from 'inversify';"],
    ['node:* in a pure area', 'frontends/virtio/virtq/split.ts', "import fs from 'node:fs';"],
    ['over several lines', 'core/util/size.ts', "import {\n  a,\n  b,\n} from '../block/volume.ts';"],
    ['dynamically', 'core/util/size.ts', "const x = await import('../block/volume.ts');"],
    ['an unlisted package', 'backends/file/index.ts', "import _ from 'lodash';"],
    ['into a place without rules', 'core/strange.ts', ''],
    ['process.exit', 'core/block/volume.ts', 'process.exit(1);'],
    ['too many lines', 'core/block/volume.ts', '\n'.repeat(401)],
  ])('reports an offence: %s', (_name, file, source) => {
    expect(violations(file, source)).toHaveLength(1);
  });
});
