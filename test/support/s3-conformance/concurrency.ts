import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { expect } from 'vitest';
import { type Check, pattern } from './context.ts';

export const concurrencyChecks: readonly Check[] = [
  {
    name: 'a PUT cut off in the middle leaves the old object',
    run: async (s3) => {
      await s3.put('object', 'old');
      const url = new URL(s3.raw.presign('PUT', `/${s3.bucket}/object`));
      await new Promise<void>((resolve, reject) => {
        const socket = connect(Number(url.port), url.hostname, () => {
          const head = `PUT ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Length: 1048576\r\n\r\n`;
          socket.write(head);
          socket.write(pattern(524288), () => socket.destroy());
        });
        socket.once('error', reject).once('close', () => resolve());
      });
      expect(await s3.text('object')).toBe('old');
    },
  },
  {
    name: '32 clients write and read objects of their own',
    run: async (s3) => {
      await Promise.all(
        Array.from({ length: 32 }, async (_, i) => {
          for (let round = 0; round < 4; round++) {
            const data = pattern(10_000 + i, i * 4 + round);
            await s3.put(`own-${i}`, data);
            expect((await s3.bytes(`own-${i}`)).equals(data)).toBe(true);
          }
        }),
      );
    },
  },
  {
    name: '16 writers and 16 readers on one key never see a torn object',
    run: async (s3) => {
      // Of different lengths, so that bytes of one version under the headers of another show too.
      const version = (seed: number) => pattern(100_000 + seed * 1000, seed);
      const whole = new Set(Array.from({ length: 16 }, (_, i) => md5(version(i))));
      await s3.put('shared', version(0));
      const writers = Array.from({ length: 16 }, async (_, i) => {
        for (let round = 0; round < 3; round++) await s3.put('shared', version(i));
      });
      const readers = Array.from({ length: 16 }, async () => {
        for (let round = 0; round < 4; round++) {
          const response = await s3.raw.send({ method: 'GET', path: `/${s3.bucket}/shared` });
          expect(whole).toContain(md5(response.body));
          expect(response.headers.etag).toBe(`"${md5(response.body)}"`);
        }
      });
      await Promise.all([...writers, ...readers]);
    },
  },
];

function md5(data: Buffer): string {
  return createHash('md5').update(data).digest('hex');
}
