import { type BlockDevice, GatewayError, type OpenContext } from '../../core/plugin.ts';
import { RedisClients } from './clients.ts';
import type { RedisConfig } from './config.ts';
import { RedisDevice } from './device.ts';
import { Durability } from './durability.ts';
import { unavailable, volumeLost } from './errors.ts';
import { assertLasting } from './expiry.ts';
import { RedisLink } from './link.ts';
import { Ownership } from './ownership.ts';
import { loadPresence } from './presence.ts';
import { readOnlyDevice } from './read-only-device.ts';
import { rememberVolume, seenVolume } from './seen-volume.ts';
import { assertSafe, serverFacts } from './server-facts.ts';
import { ServerWatch } from './server-watch.ts';
import { createVolume, findVolume, readVolume } from './volume-record.ts';
import { WriteMemory } from './write-memory.ts';

export async function openVolume(config: RedisConfig, ctx: OpenContext): Promise<BlockDevice> {
  await using owned = new AsyncDisposableStack();
  const clients = owned.use(await RedisClients.connect(config, ctx));
  return await explained(clients, async () => {
    if (ctx.readOnly) {
      const device = readOnlyDevice(clients, await findVolume(clients, config), ctx.signal);
      owned.move();
      return device;
    }
    const facts = await serverFacts(clients);
    assertSafe(clients, facts);
    const durability = Durability.choose(config, facts);
    const { disk, takeOver, logger, signal } = ctx;
    const seen = await seenVolume(ctx);
    if (seen?.volume === config.volume && (await readVolume(clients, config.volume)) === undefined)
      throw volumeLost(config.volume, disk);
    if (config.size !== undefined) await createVolume(clients, config, config.size);
    const volume = await findVolume(clients, config);
    await assertLasting(clients, volume.keys);
    if (seen?.uuid !== volume.uuid) {
      if (seen?.volume === config.volume)
        logger.warn('the volume is another one than it was: it was made anew', { volume: config.volume });
      await rememberVolume(ctx, volume).catch((error: Error) =>
        logger.warn('the disk will not know this volume again', { reason: error.message }),
      );
    }
    const ownership = owned.use(await Ownership.acquire(clients, volume.keys, { disk, takeOver, logger }));
    // Whoever takes over has to find us there.
    await durability.flush(clients);
    const present = await loadPresence(clients, volume);
    const { window, giveUpAfter } = config;
    const giveUpMs = giveUpAfter === undefined ? undefined : giveUpAfter * 1000;
    // A flush is due when half of the window is full.
    const memory = new WriteMemory(window / 2);
    const link = owned.use(
      new RedisLink({
        clients,
        keys: volume.keys,
        ownership,
        durability,
        present,
        memory,
        logger,
        signal,
        window,
        giveUpMs,
      }),
    );
    const onLooked = (danger: string | undefined): void => {
      link.danger = danger;
    };
    const watch = owned.use(new ServerWatch({ clients, durability, logger, onLooked }));
    link.onFound = () => watch.look();
    const report = { volume: config.volume, durability: durability.mode, promise: durability.promise };
    if (durability.mode === 'memory')
      logger.warn('the disk is in the memory of the Redis server only', report);
    else logger.info('the volume is open', report);
    const stack = owned.move();
    return new RedisDevice({ clients, volume, present, link, memory, dispose: () => stack.disposeAsync() });
  });
}

/** Runs `call` and puts what the server or the connection has against it into words. */
export async function explained<T>(clients: RedisClients, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw GatewayError.is(error) ? error : unavailable(clients.where, error);
  }
}
