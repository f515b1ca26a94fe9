import { describe, expect, it } from 'vitest';
import { LineSplitter } from '../../../core/vm/line-splitter.ts';

function linesOf(chunks: readonly Uint8Array[]): string[] {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.finish();
  return lines;
}

describe('LineSplitter', () => {
  it('gives the same lines however the bytes arrive', () => {
    const bytes = Buffer.from('first\n\nzażółć gęślą\nlast');
    const one = [...bytes].map((byte) => Buffer.of(byte));
    expect(linesOf([bytes])).toEqual(['first', '', 'zażółć gęślą', 'last']);
    expect(linesOf(one)).toEqual(linesOf([bytes]));
  });

  it('keeps its lines when the caller reuses the buffer', () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    const buffer = Buffer.from('ab');
    splitter.push(buffer);
    buffer.fill('x');
    splitter.push(Buffer.from('\n'));
    expect(lines).toEqual(['ab']);
  });

  it('hands out no empty line for a text that ends with its line end', () => {
    expect(linesOf([Buffer.from('only\n')])).toEqual(['only']);
  });
});
