import { writeFileSync } from 'node:fs';
import { GatewayError } from '../../core/api/errors.ts';
import { inspectConfig } from '../../core/config/load.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { Random } from './random.ts';
import { type FuzzTarget, violated } from './target.ts';

const SOUND = `{
  // A disk of every kind.
  "$schema": "./plugins.schema.json",
  "version": 1,
  "plugins": ["./mine.ts", "a-package"],
  "disks": {
    "disk0": {
      "readOnly": false,
      "frontend": { "type": "vduse", "queues": 4, "queueSize": 256, "serial": "abc" },
      "filters": [{ "type": "throttle", "bytesPerSecond": "10MiB" }, { "type": "latency", "ms": 5 }],
      "backend": { "type": "memory", "size": "64MiB" },
    },
    "s": { "backend": { "type": "s3", "bucket": "b", "credentials": { "accessKeyId": { "env": "X" } } } }
  }
}
`;
/** What a hand or a broken program puts into such a file. */
const BITS: readonly string[] = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '//',
  '/*',
  '*/',
  'null',
  'true',
  '-0',
  '1e999',
  '99999999999999999999',
  '"__proto__"',
  '"constructor"',
  '"\\ud800"',
  '\u0000',
  '\ufeff',
  '\u2028',
  '"type"',
  '"disks"',
  '{"a":',
  '[[',
  '\t\n\r',
];
const OVERRIDES: readonly string[] = [
  'version=1',
  'version=2',
  'disks.disk0.readOnly=true',
  'disks.disk0.backend.size=1GiB',
  'disks.disk0.filters.0.ms=7',
  'disks.__proto__.x=1',
  'disks.disk0.backend={"type":"file"}',
  'a.b.c.d=e',
  '=',
  '',
  '...',
  'disks.=3',
  'plugins.99999999999=x',
];

/** The reader of plugins.json: whatever the file holds, it says what is wrong and where, and never throws. */
export class ConfigTarget implements FuzzTarget {
  readonly name = 'config';
  readonly #random = new Random();
  readonly #temp = tempFolder();
  readonly #file = this.#temp.file('plugins.json');
  readonly #reached = { sound: 0, problems: 0 };

  reached(): Readonly<Record<string, number>> {
    return this.#reached;
  }

  [Symbol.dispose](): void {
    this.#temp[Symbol.dispose]();
  }

  async run(seed: number): Promise<void> {
    const random = this.#random;
    random.seed(seed);
    const text = this.#makeUp();
    if (random.oneIn(20)) writeFileSync(this.#file, Buffer.from(text, 'latin1'));
    else writeFileSync(this.#file, text);
    const overrides = random.oneIn(3) ? [random.pick(OVERRIDES), random.pick(OVERRIDES)] : [];
    const { config, problems } = await inspectConfig(this.#file, { overrides });
    if (config === undefined && problems.length === 0) violated('no configuration, and nothing wrong');
    const lines = text.split('\n');
    for (const problem of problems) {
      if (!GatewayError.is(problem)) violated(`a problem that is no error of ours: ${String(problem)}`);
      const { message, where } = problem;
      if (message === '' || problem.code === '') violated('a problem that says nothing');
      if (where?.line !== undefined && (where.line < 1 || where.line > lines.length + 1))
        violated(`line ${where.line} of ${lines.length}: ${message}`);
    }
    this.#reached.problems += problems.length;
    if (problems.length === 0) this.#reached.sound++;
    if (Object.hasOwn(Object.prototype, 'x')) violated('the prototype of all objects was changed');
  }

  #makeUp(): string {
    const random = this.#random;
    let text = SOUND;
    for (let changes = random.below(5); changes > 0; changes--) {
      const at = random.below(text.length);
      const end = Math.min(text.length, at + (random.oneIn(8) ? random.below(200) : random.below(6)));
      switch (random.below(5)) {
        case 0:
          text = text.slice(0, at) + text.slice(end);
          break;
        case 1:
          text = text.slice(0, end) + text.slice(at);
          break;
        case 2:
          text =
            text.slice(0, at) +
            String.fromCharCode(random.below(random.oneIn(4) ? 65536 : 128)) +
            text.slice(at);
          break;
        case 3:
          text = text.slice(0, at) + random.pick(BITS).repeat(random.oneIn(50) ? 20_000 : 1) + text.slice(at);
          break;
        default:
          text = text.slice(0, at) + random.pick(BITS) + text.slice(end);
      }
    }
    return text;
  }
}
