import type { BlockDevice } from '../../core/api/device.ts';
import type { FrontendHandle } from '../../core/api/frontend.ts';
import { adaptDevice, protect } from '../../core/block/layers.ts';
import { resolve } from '../../core/block/resolve.ts';
import { DiskVolume } from '../../core/block/volume.ts';
import { nbdServerConfig } from '../../frontends/nbd/config.ts';
import nbd from '../../frontends/nbd/index.ts';
import { openContext } from './plugin-context.ts';

export interface ServedExport extends AsyncDisposable {
  readonly handle: FrontendHandle;
  readonly volume: DiskVolume;
  readonly log: ReturnType<typeof openContext>['logger'];
}

/** `device` as the export "disk0" of our NBD server, which has its Unix socket in `folder` unless `config` says otherwise. */
export async function serveDevice(
  device: BlockDevice,
  folder: string,
  config: object = {},
  readOnly = false,
): Promise<ServedExport> {
  const ctx = openContext(folder);
  const top = protect(adaptDevice(resolve(device, 'test')).device, readOnly).device;
  const volume = new DiskVolume('disk0', top, ctx.logger);
  const handle = await nbd.attach(volume, nbdServerConfig.parse(config), ctx);
  return {
    handle,
    volume,
    log: ctx.logger,
    async [Symbol.asyncDispose]() {
      await handle.quiesce();
      await handle[Symbol.asyncDispose]();
      await device[Symbol.asyncDispose]();
    },
  };
}
