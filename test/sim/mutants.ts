import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';

/** A mistake in the engine that the simulation has to find. */
export interface Mutant {
  readonly name: string;
  /** Of `backends/s3/`. */
  readonly file: string;
  /** Occurs once in it. */
  readonly find: string;
  readonly replace: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'no contiguity check',
    file: 'log/appender.ts',
    find: "    sending.state = 'stored';",
    replace: "    sending.state = 'stored'; for (const { resolve } of sending.flushes.splice(0)) resolve();",
  },
  {
    name: 'fence deletable',
    file: 'log/map/checkpointer.ts',
    find: '        plan = this.#condemnation.plan({ ...current, points }, dead?.ours, cut, ref);',
    replace: `        plan = this.#condemnation.plan({ ...current, points }, dead?.ours, cut, ref);
        for (const { epoch, end } of current.epochs)
          if (end !== undefined) plan.condemned.push(names.object({ epoch, seq: end + 1 }));`,
  },
  {
    name: 'a point does not pin',
    file: 'log/points/held.ts',
    find: '    return { ...unneeded, until: needing?.order };',
    replace: '    return { ...unneeded, until: undefined };',
  },
  {
    name: 'what points held is freed although a snapshot needs it',
    file: 'log/map/condemnation.ts',
    find: '        if (isNeeded(key)) continue;',
    replace: '',
  },
  {
    name: 'what points held is freed although the disk went back to it',
    file: 'log/map/condemnation.ts',
    find: 'pins.objects.has(key) || this.#stored.table.find(names, place) !== undefined',
    replace: 'pins.objects.has(key)',
  },
  {
    name: 'what a point holds is freed with the oldest point',
    file: 'log/points/held.ts',
    find: '    return { ...unneeded, until: needing?.order };',
    replace: '    return { ...unneeded, until: needing && newestFirst.at(-1)!.order };',
  },
  {
    name: 'copies of the collector count always',
    file: 'log/map/apply.ts',
    find: 'map.move(lba, blocks, object.id, block, from.id, source!.block)',
    replace: 'map.set(lba, blocks, object.id, block)',
  },
  {
    name: 'a flattened copy undoes a newer write',
    file: 'log/volume/flattening.ts',
    find: '      if (found.id !== 0) continue;',
    replace: '',
  },
  {
    name: 'a flattened copy undoes what has become durable since',
    file: 'log/volume/flattening.ts',
    find: 'if (found.id === object.id && found.block === block + at)',
    replace: '',
  },
  {
    name: 'checkpoint beyond durable',
    file: 'log/appender.ts',
    find: '    const sealed = this.#sealer.seal(batch);',
    replace: `    const sealed = this.#sealer.seal(batch);
    applyToMap(this.#options.map, this.#options.table, batch.object, batch.extents);`,
  },
  {
    name: 'flush answered early',
    file: 'log/appender.ts',
    find: '    const sealed = this.#sealer.seal(batch);',
    replace:
      '    const sealed = this.#sealer.seal(batch); for (const { resolve } of flushes.splice(0)) resolve();',
  },
  {
    name: 'headers in the order in which data is encoded',
    file: 'log/sealer.ts',
    find: '    while (this.#open[0]?.frames !== undefined) {\n      const { sealed, cipher, frames } = this.#open.shift()!;',
    replace: `    for (const open of this.#open.filter((one) => one.frames !== undefined)) {
      const { sealed, cipher, frames } = this.#open.splice(this.#open.indexOf(open), 1)[0]!;`,
  },
  {
    name: 'a fence is taken for success',
    file: 'log/appender.ts',
    find: 'if (isOurs && info.size === object!.body.length) return true;',
    replace: 'if (info !== undefined) return true;',
  },
  {
    name: 'objects deleted before they are condemned',
    file: 'log/map/checkpointer.ts',
    find: '      await store.put(ref.key, cut.body, { condition: ',
    replace: `      if (dead?.ours.length > 0) await store.deleteMany(dead.ours.map((object) => names.object(object.place!)));
      await store.put(ref.key, cut.body, { condition: `,
  },
  {
    name: 'objects lose twice what they lose by changes of pages that are not in memory',
    file: 'log/map/map-page.ts',
    find: '      unresolved: isResolved ? 0 : this.#unresolved + (added === undefined ? 0 : 1),',
    replace: '      unresolved: 0,',
  },
  {
    name: 'a page that is being loaded misses what a checkpoint stores meanwhile',
    file: 'log/map/map-page.ts',
    find: '      if (this.loading !== undefined) this.#late.push(this.#cut!);',
    replace: '',
  },
  {
    name: 'conditions are not tried',
    file: 'log/take-volume.ts',
    find: 'if (!(await conditionsHold(options.starting, options.names, file))) throw noConditions();',
    replace: '',
  },
  {
    name: 'a part of an object is taken for all of it',
    file: 'store/retrying-store.ts',
    find: 'if (info.size === body.length) return info.etag;',
    replace: 'return info.etag;',
  },
  {
    name: 'an object that is cut short is opened',
    file: 'log/scan.ts',
    find: 'if (wrong !== undefined) throw corrupt(name, wrong);',
    replace: '',
  },
  {
    name: 'only If-None-Match is tried',
    file: 'log/take-volume.ts',
    find: '    WRONG_CONDITIONS.map((',
    replace: '    WRONG_CONDITIONS.slice(0, 1).map((',
  },
];

const ENGINE = new URL('../../backends/s3/', import.meta.url);

/** From now on the module is loaded with the mistake in it. Throws when it is not where it should be. */
export function introduce({ name, file, find, replace }: Mutant): void {
  const { href } = new URL(file, ENGINE);
  if (readFileSync(new URL(href), 'utf8').split(find).length !== 2)
    throw new Error(`${file} does not have the place of "${name}" once`);
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      return url === href
        ? { ...loaded, source: String(loaded.source).replace(find, () => replace) }
        : loaded;
    },
  });
}
