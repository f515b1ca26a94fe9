import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { receive } from '../../../../backends/s3/store/receive.ts';

function segments(...lengths: number[]): Uint8Array[] {
  return lengths.map((length) => new Uint8Array(length));
}

describe('receive', () => {
  it('fills segments whatever pieces the body comes in', async () => {
    const body = new PassThrough();
    const into = segments(3, 1, 4);
    const received = receive(body, into);
    for (const piece of [[1], [2, 3, 4, 5], [6, 7], [8]]) body.write(Buffer.from(piece));
    body.end();
    expect(await received).toBe(8);
    expect(into.map((segment) => [...segment])).toEqual([[1, 2, 3], [4], [5, 6, 7, 8]]);
  });

  it('counts what there is no room for', async () => {
    const body = new PassThrough();
    const received = receive(body, segments(2));
    body.end(Buffer.alloc(5));
    expect(await received).toBe(5);
  });

  it('stands it that the memory is taken away in the middle of a body', async () => {
    const body = new PassThrough();
    const into = segments(4, 4);
    const received = receive(body, into);
    body.write(Buffer.alloc(2));
    await new Promise((resolve) => setImmediate(resolve));
    for (const { buffer } of into) (buffer as ArrayBuffer).transfer(0);
    body.end(Buffer.alloc(6));
    expect(await received).toBe(8);
  });

  it('fails when the connection breaks', async () => {
    const body = new PassThrough();
    const received = receive(body, segments(2));
    body.destroy();
    await expect(received).rejects.toMatchObject({ kind: 'unreachable' });
  });

  it('does not wait for a body that stalls longer than the attempt may take', async () => {
    const body = new PassThrough();
    const attempt = new AbortController();
    const into = segments(4);
    const received = receive(body, into, attempt.signal);
    body.write(Buffer.from([1]));
    await new Promise((resolve) => setImmediate(resolve));
    attempt.abort();
    await expect(received).rejects.toMatchObject({ kind: 'timeout' });
    expect(body.destroyed).toBe(true);
    expect([...into[0]!]).toEqual([1, 0, 0, 0]);
  });
});
