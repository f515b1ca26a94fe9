import { describe, expect, it } from 'vitest';
import { lastWords } from '../../../core/vm/console-tail.ts';

const numbered = (count: number) => Array.from({ length: count }, (_, i) => `line ${i}`);

describe('the last words of a console', () => {
  it('are all of a short one, without carriage returns', () => {
    expect(lastWords('a\r\nb\r\n')).toBe('a\nb');
  });

  it('are the last 40 lines of a long one', () => {
    expect(lastWords(numbered(100).join('\n'))).toBe(numbered(100).slice(60).join('\n'));
  });

  it('say what the matter is, however long the call trace after it', () => {
    const text = ['Kernel panic - not syncing: sysrq triggered crash', ...numbered(50)].join('\n');
    const words = lastWords(text).split('\n');
    expect(words.slice(0, 3)).toEqual(['Kernel panic - not syncing: sysrq triggered crash', '…', 'line 10']);
    expect(words.at(-1)).toBe('line 49');
  });

  it('do not say it twice when it is among the last lines', () => {
    const text = [...numbered(50), 'BUG: something', 'end'].join('\n');
    expect(lastWords(text).match(/BUG/g)).toHaveLength(1);
  });
});
