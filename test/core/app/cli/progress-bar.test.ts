import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProgressBar } from '../../../../core/app/cli/progress-bar.ts';
import { StepList } from '../../../../core/app/cli/step-list.ts';
import { fakeTerminal } from './fake-terminal.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a progress bar', () => {
  it('does not show for what is over quickly', () => {
    const { terminal, stderr } = fakeTerminal({ isTTY: true });
    const bar = new ProgressBar(terminal, 'Working');
    vi.advanceTimersByTime(400);
    bar[Symbol.dispose]();
    expect(stderr.text).toBe('');
  });

  it('is redrawn on a terminal and goes when the work is done', () => {
    const { terminal, stderr } = fakeTerminal({ isTTY: true });
    const bar = new ProgressBar(terminal, 'Working');
    bar.update(512 * 1024, 1024 * 1024);
    vi.advanceTimersByTime(1000);
    expect(stderr.text).toContain('Working ████████████░░░░░░░░░░░░ 50 % · 512 KiB of 1 MiB · 1 s');
    bar[Symbol.dispose]();
    expect(stderr.text.endsWith('\r\x1b[2K')).toBe(true);
  });

  it('makes way for lines', () => {
    const { terminal, stdout, stderr } = fakeTerminal({ isTTY: true });
    using _bar = new ProgressBar(terminal, 'Working');
    vi.advanceTimersByTime(1000);
    terminal.print('data');
    expect(stderr.text.endsWith('\r\x1b[2K')).toBe(true);
    expect(stdout.text).toBe('data\n');
  });

  it('is a line every few seconds elsewhere', () => {
    const { terminal, stderr } = fakeTerminal();
    using bar = new ProgressBar(terminal, 'Deleting', { unit: 'count' });
    bar.update(7, 10);
    vi.advanceTimersByTime(12_000);
    const line = (seconds: number) =>
      `Deleting ${'█'.repeat(17)}${'░'.repeat(7)} 70 % · 7 of 10 · ${seconds} s\n`;
    expect(stderr.text).toBe(line(5) + line(10));
  });

  it('says so when the total is not known', () => {
    const { terminal, stderr } = fakeTerminal();
    using bar = new ProgressBar(terminal, 'Reading');
    bar.update(2048);
    vi.advanceTimersByTime(5000);
    expect(stderr.text).toBe('Reading … 2 KiB, 5 s\n');
  });
});

describe('a list of steps', () => {
  it('says what came out of each', async () => {
    const { terminal, stderr } = fakeTerminal();
    const result = await new StepList(terminal).run('Counting', async () => [42, 'counted to 42']);
    expect(result).toBe(42);
    expect(stderr.text).toBe('✔ counted to 42  0.0 s\n');
  });

  it('marks the one that failed', async () => {
    const { terminal, stderr } = fakeTerminal();
    const failed = new StepList(terminal).run('Counting', () => Promise.reject(new Error('lost count')));
    await expect(failed).rejects.toThrow('lost count');
    expect(stderr.text).toBe('✖ Counting\n');
  });
});
