import { setImmediate as nextTurn } from 'node:timers/promises';
import { FrameCache } from '../../backends/s3/log/cache/frame-cache.ts';
import { inspect } from '../../backends/s3/log/check/inspect.ts';
import { KEY_BYTES, VolumeKey } from '../../backends/s3/log/encryption/volume-key.ts';
import { FrameCodec } from '../../backends/s3/log/frames/frame-codec.ts';
import { firstHead, type Head, type Point, readHead } from '../../backends/s3/log/head.ts';
import { PAGE_BLOCKS } from '../../backends/s3/log/map/page-blocks.ts';
import { StoredMap } from '../../backends/s3/log/map/stored-map.ts';
import { BLOCK } from '../../backends/s3/log/object-header.ts';
import { Overlay } from '../../backends/s3/log/overlay.ts';
import { LogReader } from '../../backends/s3/log/reader.ts';
import { encodedHead, makeClone, PARENT, removeParent } from './clone.ts';
import { type Content, contentOf, DISK, NAMES, SimGateway, type Tuning, VOLUME } from './gateway.ts';
import { pointsProblem, possibleAt } from './points.ts';
import { CALM, CONDITIONS, type Nemesis, SimBucket, SimStore } from './store.ts';
import { type Actor, randomFrom, World } from './world.ts';
import { SimZstd } from './zstd.ts';

/** What happened in one run; `problems` is empty when all went well. */
export interface Outcome {
  readonly problems: readonly string[];
  readonly events: number;
  readonly gateways: number;
  readonly changes: number;
}

/** How many of the runs have a volume that is a clone. */
const CLONES = 0.15;

/** How often the gateway of a clone is closed in place of being asked for something. */
const CLOSES = 0.03;

/** What can be left out of a run. */
export const HAZARDS = [
  ...(Object.keys(CALM) as (keyof Nemesis)[]),
  'deaths',
  'pauses',
  'moves',
  'rollbacks',
  'points',
] as const;
export type Hazard = (typeof HAZARDS)[number];

/** Makes the run of a seed smaller. */
export interface Limits {
  readonly without: readonly Hazard[];
  /** Gateways alive at once, 1 … 3. */
  readonly gateways: number;
  /** No more steps than this before everything is made to work again. */
  readonly steps: number;
  /** Steps, from 0 on, at which nobody begins anything. */
  readonly skip: readonly number[];
}

export const UNLIMITED: Limits = { without: [], gateways: 3, steps: Number.POSITIVE_INFINITY, skip: [] };

/** Gateways that write, die, stall and take the volume from each other, over a store with a nemesis; and an oracle. */
export async function runScenario(
  seed: number,
  trace: (line: string) => void = () => {},
  limits: Limits = UNLIMITED,
): Promise<Outcome> {
  using world = new World(seed);
  const scenario = new Scenario(world, seed, trace, limits);
  const outcome = await scenario.run();
  // Of promises that were rejected and that nobody looks at Node.js tells now: they belong to this run.
  await nextTurn();
  return outcome;
}

class Scenario {
  readonly #world: World;
  readonly #trace: (line: string) => void;
  readonly #limits: Limits;
  #bucket = new SimBucket();
  readonly #nemesis: Nemesis;
  readonly #tuning: Tuning;
  readonly #chance: () => number;
  readonly #gateways: SimGateway[] = [];
  readonly #judged = new Set<SimGateway>();
  readonly #snapshots: { name: string; possible: Content[] }[] = [];
  /** Where the volume begins anew, for who comes after that epoch. */
  #wentBack: { readonly epoch: number; readonly possible: Content[] } | undefined;
  readonly #problems: string[] = [];
  #version = 0;
  /** Of what only clones do: runs of others are as if there were none. */
  readonly #apart: () => number;
  /** What a clone begins with. */
  #begin: Content | undefined;
  #isChecked = false;
  #events = 0;

  constructor(world: World, seed: number, trace: (line: string) => void, limits: Limits) {
    this.#world = world;
    this.#apart = randomFrom(seed ^ 0x5eedc10e);
    this.#trace = trace;
    this.#limits = limits;
    const mild = world.chance(0.3);
    const some = (): number => (mild ? 0 : world.random() * world.random() * 0.3);
    this.#nemesis = {
      throttled: some(),
      unreachable: some(),
      lostResponse: some(),
      torn: some(),
      halved: world.chance(0.1) ? world.random() : 0,
      stalled: some(),
      duplicated: some(),
    };
    for (const hazard of limits.without)
      if (hazard in this.#nemesis) this.#nemesis[hazard as keyof Nemesis] = 0;
    const blocks = 16 + world.below(48);
    // Of its own: runs without points are what they were before there were any.
    this.#chance = randomFrom(~seed);
    this.#tuning = {
      blocks,
      first: PAGE_BLOCKS - world.below(blocks),
      checkpointEvery: 2 + world.below(8),
      muchGarbage: 1 + world.below(200),
      spaceTarget: 1.05 + world.random(),
      retention:
        !limits.without.includes('points') && this.#chance() < 0.25
          ? 1000 + Math.floor(this.#chance() ** 2 * 200_000)
          : 0,
      writeBuffer: (2 + world.below(40)) * BLOCK,
      readCache: world.below(4) * 65536,
      tables: world.chance(0.2) ? world.below(2000) : 2 ** 20,
      compression: world.chance(0.12) ? 'zstd' : 'none',
      key: world.chance(0.12) ? new VolumeKey(Buffer.alloc(KEY_BYTES, 7)) : undefined,
    };
  }

  async run(): Promise<Outcome> {
    const world = this.#world;
    if (this.#apart() < CLONES) await this.#clone();
    else this.#bucket.put(NAMES.head, encodedHead(firstHead(VOLUME, this.#diskBlocks * BLOCK)), {});
    await this.#start();
    const steps = Math.min(30 + world.below(120), this.#limits.steps);
    const moveAt = world.chance(0.06) ? world.below(steps) : -1;
    const backAt = this.#keepsPoints && this.#chance() < 0.4 ? Math.floor(this.#chance() * steps) : -1;
    for (let i = 0; i < steps && this.#problems.length === 0; i++) {
      if (i === moveAt && !this.#limits.without.includes('moves')) await this.#move();
      if (i === backAt && !this.#limits.without.includes('rollbacks')) await this.#goBack();
      if (!this.#limits.skip.includes(i)) await this.#act();
      for (let n = world.below(14); n > 0; n--) if (await world.step()) this.#events++;
      this.#judge();
    }
    if (this.#problems.length === 0) await this.#finish();
    const changes = this.#gateways.reduce((sum, gateway) => sum + gateway.changes.length, 0);
    return { problems: this.#problems, events: this.#events, gateways: this.#gateways.length, changes };
  }

  get #keepsPoints(): boolean {
    return this.#tuning.retention > 0;
  }

  get #head(): Head {
    const { body } = this.#bucket.objects.get(NAMES.head)!;
    return JSON.parse(Buffer.from(body).toString('utf8')) as Head;
  }

  get #diskBlocks(): number {
    return this.#tuning.first + this.#tuning.blocks;
  }

  async #clone(): Promise<void> {
    const report = (problem: string): void => this.#problem(problem);
    this.#begin = await makeClone(this.#world, this.#bucket, this.#tuning, this.#apart, report);
    this.#version = Math.max(...this.#begin);
    this.#say(`a clone begins as ${this.#begin.join(' ')}`);
  }

  async #start(isFlattened = this.#begin !== undefined && this.#apart() < 0.7): Promise<SimGateway> {
    const name = `gateway ${this.#gateways.length}`;
    const report = (problem: string): void => this.#problem(problem);
    const gateway = new SimGateway(this.#world, this.#bucket, this.#nemesis, this.#tuning, name, report, {
      ...DISK,
      ...(isFlattened && { parent: PARENT }),
    });
    gateway.isSuperseded = () => this.#isSuperseded(gateway);
    this.#gateways.push(gateway);
    this.#say(`${name} starts${isFlattened ? ', and flattens' : ''}`);
    await this.#world.as(gateway.actor, () => void gateway.open());
    return gateway;
  }

  /**
   * Nobody is left, and the bucket is copied to a store where conditions mean nothing, which must not change anything but
   * the head; and from there to one where they do.
   */
  async #move(): Promise<void> {
    const world = this.#world;
    const flaws = CONDITIONS.filter((conditions) => conditions !== 'kept');
    for (const gateway of this.#gateways) gateway.kill();
    const there = new SimBucket(flaws[world.below(flaws.length)], this.#bucket);
    this.#bucket = there;
    this.#say(`the volume is moved to a store with conditions ${there.conditions}`);
    const before = contentsOf(there);
    for (let n = 1 + world.below(this.#limits.gateways); n > 0; n--) {
      await this.#start();
      await world.run(world.below(200));
    }
    await world.run(100_000);
    this.#judge();
    if (contentsOf(there) !== before) this.#problem('objects were changed where conditions mean nothing');
    for (const gateway of this.#gateways) gateway.kill();
    this.#bucket = new SimBucket('kept', there);
    this.#say('the volume is moved to a store that keeps to conditions');
  }

  /** Nobody is left, and the volume becomes what it was at one of its points. */
  async #goBack(): Promise<void> {
    for (const gateway of this.#gateways) gateway.kill();
    // What they have sent arrives before.
    await this.#world.run(100_000);
    this.#judge();
    // What came of an upload that broke off is no head.
    if (this.#bucket.hasParts) return;
    const head = this.#head;
    const point = this.#choose(head.points ?? []);
    const possible = point && possibleAt(this.#gateways, point);
    if (possible === undefined) return;
    const { size, checkpoint } = point!;
    this.#say(`the volume goes back to the point of ${point!.at}`);
    const version = head.version + 1;
    const changed: Head = { ...head, version, nonce: `${version}`, size, checkpoint, epochs: [] };
    this.#bucket.put(NAMES.head, Buffer.from(JSON.stringify(changed)), {});
    this.#wentBack = { epoch: head.epoch, possible };
    await this.#start();
  }

  readonly #choose = (points: readonly Point[]): Point | undefined =>
    points[Math.floor(this.#chance() * points.length)];

  async #act(): Promise<void> {
    const world = this.#world;
    const open = this.#gateways.filter((gateway) => gateway.isOpen);
    const draw = world.random();
    if (draw < 0.03 || this.#gateways.every(({ actor, failed }) => !actor.alive || failed !== undefined)) {
      if (this.#gateways.filter(({ actor }) => actor.alive).length < this.#limits.gateways)
        await this.#start();
      return;
    }
    if (open.length === 0) return;
    const gateway = open[world.below(open.length)]!;
    const { without } = this.#limits;
    if (draw < 0.05) {
      if (without.includes('deaths')) return;
      this.#say(`${gateway.actor.name} dies`);
      gateway.kill();
    } else if (draw < 0.07) {
      if (without.includes('pauses')) return;
      const ms = world.below(200_000);
      this.#say(`${gateway.actor.name} stands still for ${ms} ms`);
      gateway.actor.pausedUntil = world.now + ms;
    } else if (gateway.actor.pausedUntil > world.now) return;
    else if (this.#begin !== undefined && this.#apart() < CLOSES && !without.includes('deaths')) {
      this.#say(
        `${gateway.actor.name} is closed, and its copying is ${gateway.flatten?.status()['flatten']}`,
      );
      await world.as(gateway.actor, () => void gateway.close());
    } else await world.as(gateway.actor, () => this.#request(gateway));
  }

  #request(gateway: SimGateway): void {
    const world = this.#world;
    const { blocks } = this.#tuning;
    if (gateway.writer!.appender.failure !== undefined) return;
    const draw = world.random();
    // A few places are written again and again.
    const lba = world.chance(0.5) ? world.below(4) : world.below(blocks);
    const count = 1 + world.below(Math.min(8, blocks - lba));
    if (draw < 0.55) {
      this.#say(`${gateway.actor.name} writes ${lba} +${count}: ${this.#version + 1}`);
      gateway.write(lba, count, ++this.#version);
    } else if (draw < 0.63) {
      this.#say(`${gateway.actor.name} zeros ${lba} +${count}`);
      gateway.zero(lba, count);
    } else if (draw < 0.85) {
      this.#say(`${gateway.actor.name} flushes`);
      gateway.flush();
    } else if (draw < 0.91) void gateway.check(lba, count);
    else if (draw < 0.97) {
      gateway.forgetMap();
      if (world.chance(0.5)) void gateway.check(lba, count);
    } else if (this.#keepsPoints && this.#snapshots.length < 2 && this.#chance() < 0.6) {
      const name = `snapshot ${this.#snapshots.length}-${this.#version}`;
      this.#say(`${gateway.actor.name} keeps a point as ${name}`);
      void gateway.keepPoint(name, this.#choose).then((point) => {
        const possible = point && possibleAt(this.#gateways, point);
        if (possible !== undefined) this.#snapshots.push({ name, possible });
      });
    } else if (this.#snapshots.length < 2 && gateway.answered === gateway.changes.length) {
      const name = `snapshot ${this.#snapshots.length}-${this.#version}`;
      this.#say(`${gateway.actor.name} makes ${name}`);
      void gateway.snapshot(name).then((possible) => {
        if (possible !== undefined) this.#snapshots.push({ name, possible });
      });
    }
  }

  #isSuperseded({ epoch }: SimGateway): boolean {
    return this.#gateways.some((other) => other.epoch !== undefined && other.epoch > (epoch ?? -1));
  }

  /** What a gateway found when it opened has to be what some prefix of its predecessor's changes makes. */
  #judge(): void {
    for (const gateway of this.#gateways) {
      const { base, epoch } = gateway;
      if (base === undefined || this.#judged.has(gateway)) continue;
      this.#judged.add(gateway);
      this.#say(`${gateway.actor.name} is open, epoch ${epoch}`);
      const before = this.#gateways
        .filter((other) => other.epoch !== undefined && other.epoch < epoch!)
        .sort((a, b) => b.epoch! - a.epoch!);
      const predecessor = before.find((other) => other.base !== undefined);
      // Those between have not changed anything, and never will.
      for (const other of before) {
        if (other === predecessor) break;
        this.#settle(other, 0);
      }
      const wentBack = this.#wentBack;
      if (wentBack !== undefined && epoch! > wentBack.epoch && (predecessor?.epoch ?? 0) <= wentBack.epoch) {
        if (!wentBack.possible.some((content) => content.join() === base.join()))
          this.#problem(`${gateway.actor.name} finds something else than the point: ${base.join(' ')}`);
        continue;
      }
      if (predecessor === undefined) {
        if (base.some((version, i) => version !== (this.#begin?.[i] ?? 0)))
          this.#problem(`${gateway.actor.name} finds what nobody wrote`);
        continue;
      }
      const prefix = longestPrefix(predecessor, base);
      if (prefix === undefined)
        this.#problem(
          `${gateway.actor.name} finds what no prefix of ${predecessor.actor.name}'s changes makes: ${base.join(' ')}`,
        );
      else this.#settle(predecessor, prefix);
    }
  }

  #settle(gateway: SimGateway, cut: number): void {
    gateway.cut = gateway.cut === undefined ? cut : Math.min(cut, gateway.cut);
    if (gateway.flushed > gateway.cut)
      this.#problem(
        `${gateway.actor.name} had ${gateway.flushed} changes flushed, and ${gateway.cut} are found`,
      );
  }

  /** When everything works again, the disk is what it should be; and an idle disk asks for nothing. */
  async #finish(): Promise<void> {
    const world = this.#world;
    Object.assign(this.#nemesis, CALM);
    for (const gateway of this.#gateways) {
      gateway.actor.pausedUntil = 0;
      if (world.chance(0.5)) gateway.kill();
    }
    await world.run(400_000);
    this.#judge();
    const last = await this.#start(this.#begin !== undefined);
    await world.run(60_000);
    this.#judge();
    if (!last.isOpen) {
      if (!this.#bucket.hasParts) this.#problem(`the last gateway does not open: ${last.failed}`);
      return;
    }
    for (let round = 0; round < 3; round++) {
      await world.as(last.actor, () => last.write(0, 4, ++this.#version));
      await world.as(last.actor, () => last.flush());
      await world.run(10_000);
      await world.as(
        last.actor,
        () => void last.writer!.checkpoint().catch((error) => this.#problem(String(error))),
      );
      await world.run(10_000);
    }
    if (last.flushed !== last.changes.length) this.#problem('the last flush was not answered');
    const before = this.#bucket.requests;
    const madeAt = Date.parse(this.#head.points?.at(-1)?.at ?? '');
    await world.run(3_600_000);
    if (this.#bucket.requests !== before)
      this.#problem(`an idle disk sent ${this.#bucket.requests - before} requests`);
    const wrong = this.#begin && removeParent(last, this.#bucket);
    if (wrong !== undefined) this.#problem(wrong);
    const problem = pointsProblem(this.#head, this.#tuning.retention, madeAt);
    if (problem !== undefined) this.#problem(problem);
    await this.#inspect(last);
    const reopened = await this.#start();
    await world.run(60_000);
    this.#judge();
    if (!reopened.isOpen) this.#problem(`the volume does not open again: ${reopened.failed}`);
    else if (reopened.base!.join() !== last.model.join()) this.#problem('opened again, it is another disk');
    // Those points have expired that were there.
    if (this.#keepsPoints) await this.#inspect(reopened);
  }

  /** Every block's object is there, and every snapshot holds what it held. */
  async #inspect(gateway: SimGateway): Promise<void> {
    const { map, table } = gateway.writer!.recovered.stored;
    await this.#world.as(
      gateway.actor,
      () =>
        void map
          .eachRun(({ id }) => {
            const { names, place } = table.get(id);
            if (!this.#bucket.objects.has(names.object(place!)))
              this.#problem(`${names.object(place!)} is needed, and not there`);
          })
          .catch((error) => this.#problem(String(error))),
    );
    await this.#world.run(10_000);
    const actor: Actor = { name: 'inspector', alive: true, pausedUntil: 0 };
    const store = new SimStore(this.#world, this.#bucket, actor, this.#nemesis);
    await this.#world.as(
      actor,
      () =>
        void this.#readSnapshots(store)
          .then(() => this.#checkVolume(store))
          .catch((error) => this.#problem(String(error))),
    );
    await this.#world.run(60_000);
    if (!this.#isChecked) this.#problem('the volume could not be checked');
  }

  /** As `blockgate volume check --data`. What nothing needs any more may be left: of gateways that died, of late requests. */
  async #checkVolume(store: SimStore): Promise<void> {
    const { head } = (await readHead(store, NAMES))!;
    const parent = this.#begin && { parent: PARENT };
    const record = { uuid: VOLUME, size: this.#diskBlocks * BLOCK, ...parent };
    const { key, compression } = this.#tuning;
    const { report } = await inspect({
      ...{ store, names: NAMES, key, record, head },
      // Of what is compressed the headers alone: the threads that decompress know nothing of the world's clock.
      data: compression === 'none',
      progress: () => undefined,
    });
    this.#isChecked = true;
    for (const { severity, what, where } of report.findings)
      if (severity === 'error') this.#problem(`the check finds of ${where}: ${what}`);
  }

  async #readSnapshots(store: SimStore): Promise<void> {
    const { head } = (await readHead(store, NAMES))!;
    for (const { name, possible } of this.#snapshots) {
      const snapshot = head.snapshots.find((other) => other.name === name);
      if (snapshot === undefined) this.#problem(`${name} is gone`);
      else await this.#readView(store, name, snapshot, possible);
    }
    for (const point of head.points ?? []) {
      const possible = possibleAt(this.#gateways, point);
      if (possible === undefined) this.#problem(`nobody has made the point of ${point.at}`);
      else await this.#readView(store, `the point of ${point.at}`, point, possible);
    }
  }

  async #readView(
    store: SimStore,
    name: string,
    { checkpoint }: Pick<Point, 'checkpoint'>,
    possible: readonly Content[],
  ): Promise<void> {
    const { key, blocks, first } = this.#tuning;
    const { map, table } = await StoredMap.open({ store, names: NAMES, key }, checkpoint);
    const codec = new FrameCodec('none', key, { zstd: new SimZstd(this.#world) });
    const reader = new LogReader(map, new Overlay(), table, new FrameCache(store, codec, 0));
    const bytes = Buffer.alloc(blocks * BLOCK);
    await reader.read(first, blocks, [bytes], this.#diskBlocks);
    const found = contentOf(bytes, 0, (problem) => this.#problem(`${name}: ${problem}`));
    if (!possible.some((content) => content.join() === found.join()))
      this.#problem(`${name} holds something else`);
  }

  #problem(problem: string): void {
    this.#say(`PROBLEM: ${problem}`);
    this.#problems.push(problem);
  }

  #say(line: string): void {
    this.#trace(`${this.#world.now.toFixed(0)} ms  ${line}`);
  }
}

/** All but the head. ETags are never used again. */
function contentsOf({ objects }: SimBucket): string {
  const others = [...objects].filter(([key]) => key !== NAMES.head);
  return others.map(([key, { info }]) => `${key} ${info.etag}`).join('\n');
}

/** How many of a gateway's changes, from the first on and not fewer than were flushed, make `content`; the most there are. */
function longestPrefix({ base, changes, flushed }: SimGateway, content: Content): number | undefined {
  const state = base!.slice();
  let longest: number | undefined;
  const isSame = (): boolean => state.every((version, i) => version === content[i]);
  for (let count = 0; ; count++) {
    if (count >= flushed && isSame()) longest = count;
    const change = changes[count];
    if (change === undefined) return longest;
    state.fill(change.version, change.lba, change.lba + change.blocks);
  }
}
