import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { OutputFollower } from '../../../core/vm/output-follower.ts';

const TOKEN = 'a2b4';
const MARK = `\0${TOKEN}\0`;

describe('OutputFollower', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'blockgate-test-'));
    path = join(folder, 'stdout');
    await writeFile(path, '');
  });
  afterEach(async () => {
    await rm(folder, { recursive: true });
  });

  it('hands out lines as they come and is complete at the mark', async () => {
    const lines: string[] = [];
    await using output = await OutputFollower.open(path, TOKEN, (line) => lines.push(line));
    await appendFile(path, 'one\ntw');
    await output.read();
    expect(lines).toEqual(['one']);
    await appendFile(path, `o\nthree${MARK}`);
    await output.read();
    expect(lines).toEqual(['one', 'two', 'three']);
    expect(output.complete).toBe(true);
    expect(output.text).toBe('one\ntwo\nthree');
  });

  it('leaves out what a process that was left behind printed after the mark', async () => {
    await using output = await OutputFollower.open(path, TOKEN, () => {});
    await appendFile(path, `mine\n${MARK}not mine\n`);
    await output.read();
    expect(output.text).toBe('mine\n');
  });

  it('finds the mark wherever it is torn, and passes NUL bytes that are not it', async () => {
    const text = `binary \0 and \0${TOKEN.slice(0, 2)} end\n`;
    const whole = Buffer.from(text + MARK);
    for (let cut = 0; cut <= whole.length; cut++) {
      await writeFile(path, whole.subarray(0, cut));
      await using output = await OutputFollower.open(path, TOKEN, () => {});
      await output.read();
      await appendFile(path, whole.subarray(cut));
      await output.read();
      expect([cut, output.complete, output.text]).toEqual([cut, true, text]);
    }
  });

  it('gives what there is when the mark never came', async () => {
    const lines: string[] = [];
    await using output = await OutputFollower.open(path, TOKEN, (line) => lines.push(line));
    await appendFile(path, 'last words\0a2');
    await output.read();
    output.finish();
    expect(output.text).toBe('last words\0a2');
    expect(lines).toEqual(['last words\0a2']);
  });

  it('reads output larger than its buffer', async () => {
    await using output = await OutputFollower.open(path, TOKEN, () => {});
    await appendFile(path, `${'x'.repeat(200_000)}${MARK}`);
    await output.read();
    expect(output.text.length).toBe(200_000);
  });
});
