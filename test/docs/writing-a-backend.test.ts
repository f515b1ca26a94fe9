import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { API_VERSION } from '../../core/api/version.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

describe('docs/writing-a-backend.md', () => {
  it('quotes the memory backend as it is', async () => {
    const source = read('backends/memory/index.ts');
    const quoted = /(<!-- quoted: backends\/memory\/index.ts -->\n)[\s\S]*?(<!-- \/quoted -->)/;
    const guide = read('docs/writing-a-backend.md');
    expect(guide).toMatch(quoted);
    const updated = guide.replace(quoted, (_, start, end) => `${start}\n\`\`\`ts\n${source}\`\`\`\n\n${end}`);
    await expect(updated).toMatchFileSnapshot(join(ROOT, 'docs/writing-a-backend.md'));
  });

  it('teaches with a backend that fits on a screen', () => {
    expect(read('backends/memory/index.ts').split('\n').length).toBeLessThan(40);
  });

  it('shows a manifest for the API there is', () => {
    expect(read('docs/writing-a-backend.md')).toContain(`"apiVersion": ${API_VERSION},`);
  });
});
