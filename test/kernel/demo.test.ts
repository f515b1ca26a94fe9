import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CliProcess, cli } from '../core/app/cli/run-cli.ts';
import { eventually } from '../core/app/rig.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'blockgate-demo-'));
});
afterEach(() => rm(dir, { recursive: true }));

/** Processes, other than this one, that have the demo's folder on their command line. */
async function processesOf(folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (Number(pid) !== process.pid && command.includes(folder)) found.push(command.replaceAll('\0', ' '));
  }
  return found;
}

describe('the demo', () => {
  it('writes files through a bucket, finds every byte after a restart, and leaves the bucket alone', async () => {
    const { status, stdout, stderr } = await cli(['demo', '--dir', dir]);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/✔ ext4 on \/dev\/blockgate\/demo: 204 files, .* written at /);
    expect(stderr).toMatch(/✔ New S3 server, new gateway: all 204 files are the same, read at /);
    expect(stdout).toMatch(/^In the bucket: \d+ objects, .* for a disk of 1GiB$/m);
    expect(stdout).toMatch(/^disks\/demo\/volume\.json +1 /m);
    expect((await readdir(dir)).sort()).toEqual(['README', 'demo.log', 'keys', 'plugins.json', 'store']);
    expect(await processesOf(dir)).toEqual([]);
  });

  it('cleans up when it is interrupted', async () => {
    const demo = new CliProcess(['demo', '--dir', dir]);
    await eventually(async () =>
      (await readFile(join(dir, 'demo.log'), 'utf8').catch(() => '')).includes('@phase writing'),
    );
    demo.kill('SIGINT');
    expect(await demo.ended).toMatchObject({ status: 130 });
    await expect(stat(join(dir, 'work'))).rejects.toMatchObject({ code: 'ENOENT' });
    await eventually(async () => (await processesOf(dir)).length === 0);
  });
});
