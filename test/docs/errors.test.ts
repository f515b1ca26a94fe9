import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ERROR_CODES } from '../../core/api/error-codes.ts';

const ROOT = join(import.meta.dirname, '../..');
const documented = Object.values(ERROR_CODES).flatMap((docs) => Object.keys(docs));
const areas = new Set(documented.map((code) => code.split('.')[0]));

const FILE_EXTENSIONS = ['json', 'ts', 'js', 'log', 'img', 'sock'];

/** Texts in the sources that look like a code: an area that has codes, a dot, words. */
function codesInSources(): Set<string> {
  const codes = new Set<string>();
  for (const file of globSync('{core,backends,frontends}/**/*.ts', { cwd: ROOT })) {
    if (file.startsWith('core/api/error-codes')) continue;
    for (const [, code] of readFileSync(join(ROOT, file), 'utf8').matchAll(/'([a-z0-9-]+\.[a-z0-9-]+)'/g)) {
      const [area, word] = code!.split('.');
      if (areas.has(area!) && !FILE_EXTENSIONS.includes(word!)) codes.add(code!);
    }
  }
  return codes;
}

/** The first argument of `new GatewayError`, where it is written out. */
function codesConstructed(): Set<string> {
  const files = globSync('{core,backends,frontends}/**/*.ts', { cwd: ROOT });
  const sources = files.map((file) => readFileSync(join(ROOT, file), 'utf8'));
  return new Set(
    sources.flatMap((source) => [...source.matchAll(/new GatewayError\(\s*'([^']+)'/g)].map((m) => m[1]!)),
  );
}

function errorsPage(): string {
  const chapters = Object.entries(ERROR_CODES).map(([chapter, docs]) => {
    const entries = Object.entries(docs).map(
      ([code, { meaning, fix }]) => `### ${code}\n\n${meaning}\n\n*Fix:* ${fix}\n`,
    );
    return `## ${chapter}\n\n${entries.join('\n')}`;
  });
  return `# Errors

Every error of blockgate says what happened, where, why, and how to fix it, and has a code that does not change between
releases:

    ✖ Unknown backend type "s4" of disk "disk0".
      Where  plugins.json:9:16  (/disks/disk0/backend/type)
      Why    No loaded plugin provides it. Known: file, memory, s3.
      Fix    Did you mean "s3"?  Or add the package that provides "s4" to "plugins".
      Code   config.unknown-backend

With \`--json\` the same parts come as \`code\`, \`message\`, \`where\`, \`why\` and \`fix\`. This page lists the codes; what helps
in a particular case stands in the error itself.

${chapters.join('\n')}`;
}

describe('error codes', () => {
  it('are all documented', () => {
    expect([...codesInSources()].filter((code) => !documented.includes(code))).toEqual([]);
  });

  it('are all in areas that are documented', () => {
    expect([...codesConstructed()].filter((code) => !documented.includes(code))).toEqual([]);
  });

  it('are all in use', () => {
    const used = codesInSources();
    expect(documented.filter((code) => !used.has(code))).toEqual([]);
  });

  it('are documented once, in whole sentences', () => {
    expect(new Set(documented).size).toBe(documented.length);
    for (const { meaning, fix } of Object.values(ERROR_CODES).flatMap((docs) => Object.values(docs))) {
      expect(meaning).toMatch(/^\S.*\.$/);
      expect(fix).toMatch(/^\S.*\.$/);
    }
  });

  it('make up docs/errors.md', async () => {
    await expect(errorsPage()).toMatchFileSnapshot(join(ROOT, 'docs/errors.md'));
  });
});
