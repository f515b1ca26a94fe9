import { parseArgs } from 'node:util';
import { GatewayError } from '../api/errors.ts';
import { runInVm } from './vm.ts';

const USAGE = `Usage: npm run vm -- [options] -- command [argument…]
       npm run vm -- [options] --shell

Boots the test VM, runs the command in it, in this folder, and exits with its status.

  --cpus N         virtual CPUs (2)
  --memory MiB     memory (2048)
  --timeout S      stop the command after S seconds (600)
  --results DIR    folder of the host that the command sees as $VM_RESULTS
  --disk MiB       adds an empty scratch disk, /dev/vda, /dev/vdb…; may be repeated
  --console        also print what the guest's kernel printed
  --shell          give me a shell in the VM instead
  --help           print this
`;

/** Exit status for a mistake on the command line, and for a VM that did not do its part. */
const EXIT_USAGE = 2;
const EXIT_VM_FAILED = 125;
const EXIT_TIMED_OUT = 124;
const EXIT_INTERRUPTED = 130;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      cpus: { type: 'string', default: '2' },
      memory: { type: 'string', default: '2048' },
      timeout: { type: 'string', default: '600' },
      results: { type: 'string' },
      disk: { type: 'string', multiple: true, default: [] },
      console: { type: 'boolean', default: false },
      shell: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (values.shell === positionals.length > 0) throw new UsageError('Give either a command or --shell.');
  const terminal = values.shell;
  if (terminal && !process.stdin.isTTY) throw new UsageError('--shell needs a terminal.');

  if (terminal) process.stderr.write('vm: booting; `exit` ends the VM and all that was written in it\n');
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => interrupted.abort());
  try {
    const result = await runInVm({
      // Not the .bashrc of the host's root: it may take long under emulation, and hide our Node.js.
      script: terminal ? ['/bin/bash', '--norc', '-i'] : positionals,
      env: terminal ? { PS1: 'vm:\\w# ' } : {},
      cpus: count('cpus', values.cpus),
      memoryMiB: count('memory', values.memory),
      timeoutMs: terminal ? 2 ** 31 - 1 : count('timeout', values.timeout) * 1000,
      disks: values.disk.map((size) => ({ sizeMiB: count('disk', size) })),
      ...(values.results !== undefined && { results: values.results }),
      terminal,
      signal: interrupted.signal,
      onProgress: (line) => process.stderr.write(`vm: ${line}\n`),
      onOutput: (line, stream) => process[stream].write(`${line}\n`),
    });
    if (values.console) process.stderr.write(result.console);
    if (!result.timedOut) return result.exitCode;
    process.stderr.write(`vm: the command was stopped after ${values.timeout} s\n`);
    return EXIT_TIMED_OUT;
  } catch (error) {
    if (interrupted.signal.aborted) return EXIT_INTERRUPTED;
    throw error;
  }
}

class UsageError extends Error {}

function count(option: string, text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new UsageError(`--${option} takes a whole number above 0, not "${text}".`);
}

function report(error: unknown): number {
  if (error instanceof UsageError || (error instanceof TypeError && 'code' in error)) {
    process.stderr.write(`${error.message}\n\n${USAGE}`);
    return EXIT_USAGE;
  }
  if (GatewayError.is(error)) {
    process.stderr.write(`${error.message} [${error.code}]\n`);
    if (error.why) process.stderr.write(`${error.why}\n`);
    if (error.fix) process.stderr.write(`Fix: ${error.fix}\n`);
  } else {
    process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  }
  return EXIT_VM_FAILED;
}

process.exitCode = await main().catch(report);
