import { registerHooks } from 'node:module';

/** A mistake in the engine that the simulation has to find. */
export interface Mutant {
  readonly name: string;
  /** Of `backends/s3/log/`. */
  readonly file: string;
  /** Occurs once in it. */
  readonly find: string;
  readonly replace: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'no contiguity check',
    file: 'appender.ts',
    find: "    sending.state = 'stored';",
    replace: "    sending.state = 'stored'; for (const { resolve } of sending.flushes.splice(0)) resolve();",
  },
  {
    name: 'fence deletable',
    file: 'map/checkpointer.ts',
    find: '        condemned = this.#condemned(current, dead?.ours ?? [], cut, ref);',
    replace: `        condemned = this.#condemned(current, dead?.ours ?? [], cut, ref);
        for (const { epoch, end } of current.epochs)
          if (end !== undefined) condemned.push(names.object({ epoch, seq: end + 1 }));`,
  },
  {
    name: 'copies of the collector count always',
    file: 'map/apply.ts',
    find: 'map.move(lba, blocks, object.id, block, from.id, source!.block)',
    replace: 'map.set(lba, blocks, object.id, block)',
  },
  {
    name: 'checkpoint beyond durable',
    file: 'appender.ts',
    find: '    const sealed = this.#sealer.seal(batch);',
    replace: `    const sealed = this.#sealer.seal(batch);
    applyToMap(this.#options.map, this.#options.table, batch.object, batch.extents);`,
  },
  {
    name: 'flush answered early',
    file: 'appender.ts',
    find: '    const sealed = this.#sealer.seal(batch);',
    replace:
      '    const sealed = this.#sealer.seal(batch); for (const { resolve } of flushes.splice(0)) resolve();',
  },
  {
    name: 'headers in the order in which data is encoded',
    file: 'sealer.ts',
    find: '    while (this.#open[0]?.frames !== undefined) {\n      const { sealed, cipher, frames } = this.#open.shift()!;',
    replace: `    for (const open of this.#open.filter((one) => one.frames !== undefined)) {
      const { sealed, cipher, frames } = this.#open.splice(this.#open.indexOf(open), 1)[0]!;`,
  },
  {
    name: 'a fence is taken for success',
    file: 'appender.ts',
    find: 'if (info !== undefined && found.equals(header)) return true;',
    replace: 'if (info !== undefined) return true;',
  },
  {
    name: 'objects deleted before they are condemned',
    file: 'map/checkpointer.ts',
    find: '      await store.put(ref.key, body, { condition: ',
    replace: `      if (dead?.ours.length > 0) await store.deleteMany(dead.ours.map((object) => names.object(object.place!)));
      await store.put(ref.key, body, { condition: `,
  },
  {
    name: 'objects lose twice what they lose by changes of pages that are not in memory',
    file: 'map/map-page.ts',
    find: '      unresolved: isResolved ? 0 : this.#unresolved + (added === undefined ? 0 : 1),',
    replace: '      unresolved: 0,',
  },
  {
    name: 'what a failed checkpoint had of a page is forgotten',
    file: 'map/map-page.ts',
    find: '      if (!this.#isWhole) this.#changes = all;',
    replace: '',
  },
  {
    name: 'a page that is being loaded misses what a checkpoint stores meanwhile',
    file: 'map/map-page.ts',
    find: '      if (this.loading !== undefined) this.#late.push(this.#cut!);',
    replace: '',
  },
];

/** From now on the module is loaded with the mistake in it. Throws when it is not where it should be. */
export function introduce({ name, file, find, replace }: Mutant): void {
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (!url.endsWith(`/backends/s3/log/${file}`)) return loaded;
      const source = String(loaded.source);
      if (source.split(find).length !== 2)
        throw new Error(`${file} does not have the place of "${name}" once`);
      return { ...loaded, source: source.replace(find, () => replace) };
    },
  });
}
