import { cpus, loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { ensureDebianPackages } from '../../core/vm/debian-packages.ts';
import { Guest } from '../support/guest.ts';
import { fioCommand, JOBS, type Job, NBD_JOBS, parseFio, WARMUP } from './fio.ts';
import { count } from './numbers.ts';
import { loadBefore, putResult } from './page.ts';
import { isOnTarget, type JobResult, type Measurement, table } from './report.ts';
import { cpuTimeCommand, prepareStore, startBlockgate, startQemu, stopQemu, type Target } from './targets.ts';

const USAGE = `Usage: npm run bench -- [options]

Compares a disk with that of qemu-storage-daemon, in the test VM, on the same file or NBD export.
Ends with status 1 when a target is missed.

  --repetitions N   pairs of measurements per job (5)
  --seconds S       length of one measurement (3)
  --store NAME      file, or nbd: an export of nbdkit (file)
  --size MiB        size of it (256)
  --only TEXT       only the jobs whose title contains it
  --write           put the result into docs/benchmarks.md
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      repetitions: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      size: { type: 'string', default: '256' },
      store: { type: 'string', default: 'file' },
      only: { type: 'string', default: '' },
      write: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const lengths = {
    repetitions: count('repetitions', values.repetitions),
    seconds: count('seconds', values.seconds),
  };
  const sizeMiB = count('size', values.size);
  const load = loadBefore(say);
  const { store } = values;
  if (store !== 'file' && store !== 'nbd') throw new Error('--store takes "file" or "nbd"');
  const jobs = (store === 'file' ? JOBS : NBD_JOBS).filter(({ title }) => title.includes(values.only));
  await ensureDebianPackages(['qemu-system-common', 'iproute2', 'nbdkit'], say);
  await using guest = await Guest.start({ memoryMiB: 3072, disks: [{ sizeMiB: sizeMiB * 2 }] });
  say(`preparing the ${store}`);
  await prepareStore(guest, store, sizeMiB);
  const { gateway, target: blockgate } = await startBlockgate(guest, store);
  const qemu = await startQemu(guest, store);
  for (const target of [blockgate, qemu]) await warmUp(guest, target);
  const results: JobResult[] = [];
  for (const job of jobs) results.push(await compare(guest, job, blockgate, qemu, lengths));
  const machine = await describeMachine(guest);
  await stopQemu(guest, qemu);
  await gateway.stop();
  const settings = `${lengths.repetitions} pairs of ${lengths.seconds} s per job, ${store === 'file' ? `file of ${sizeMiB} MiB on ext4` : `${sizeMiB} MiB of nbdkit's memory`}`;
  const busy = `load of the host ${load} before, ${loadavg()[0]!.toFixed(1)} at the end (the VM itself is 2)`;
  const text = `${machine}\n- Runs: ${settings}; ${busy}\n\n${table(results)}`;
  process.stdout.write(`\n${text}\n`);
  if (values.write) await putResult(store === 'file' ? undefined : store, text);
  return results.every(isOnTarget) ? 0 : 1;
}

async function warmUp(guest: Guest, target: Target): Promise<void> {
  for (const job of WARMUP) {
    say(`warming up: ${target.name}, ${job.title}`);
    await guest.sh(`${fioCommand(job, target.device, job)} > /dev/null`, { timeoutMs: 900_000 });
  }
}

async function compare(
  guest: Guest,
  job: Job,
  blockgate: Target,
  qemu: Target,
  { repetitions, seconds }: { readonly repetitions: number; readonly seconds: number },
): Promise<JobResult> {
  const result = { job, blockgate: [] as Measurement[], qemu: [] as Measurement[] };
  for (let i = 0; i < repetitions; i++) {
    // Who goes first changes, so that neither always finds what the other one left behind.
    const order = [[blockgate, result.blockgate] as const, [qemu, result.qemu] as const];
    for (const [target, measurements] of i % 2 === 0 ? order : order.toReversed()) {
      const measurement = await measure(guest, job, target, seconds);
      measurements.push(measurement);
      say(`${job.title}: ${target.name} ${measurement.iops.toFixed(0)} IOPS`);
    }
  }
  return result;
}

async function measure(guest: Guest, job: Job, target: Target, seconds: number): Promise<Measurement> {
  const cpuTime = cpuTimeCommand(target.pid);
  const output = await guest.sh(
    `${cpuTime}; ${fioCommand(job, target.device, { seconds })}; ${cpuTime}; sync`,
  );
  const [, before, json, after] = /^(\d+)\n(.*)\n(\d+)\n$/s.exec(output) ?? [];
  if (json === undefined) throw new Error(`unexpected output of fio:\n${output}`);
  const { iops, requests } = parseFio(json);
  return { iops, cpuPerRequest: (Number(after) - Number(before)) / requests };
}

async function describeMachine(guest: Guest): Promise<string> {
  const versions = await guest.sh(`
    uname --kernel-release; fio --version; qemu-storage-daemon --version | head -n 1; node --version; nproc`);
  const [kernel, fio, qemu, node, processors] = versions.trim().split('\n');
  const { model } = cpus()[0]!;
  return [
    `- Machine: ${cpus().length} × ${model}; test VM under software emulation (TCG) with ${processors} CPUs`,
    `- Guest: Linux ${kernel}, ${fio}, ${qemu}, Node ${node}`,
  ].join('\n');
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

process.exitCode = await main();
