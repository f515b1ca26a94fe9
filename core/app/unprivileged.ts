import { lchown, lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GatewayError } from '../api/errors.ts';
import type { FrontendPlugin } from '../api/frontend.ts';
import type { PreparedDisk } from '../plugins/registry.ts';
import { becomeUser, type User } from '../system/user.ts';
import { type DiskOrder, frontendOf, prepareOrder } from './disk-order.ts';

/**
 * Prepares a disk in a process that is root and that stops being so on the way, for good. Of its plugins only the
 * frontend is loaded before: it may have to start something that stays root.
 */
export async function prepareAsUser(order: DiskOrder, user: User, stateDir: string): Promise<PreparedDisk> {
  await handOver(stateDir, order.disk.name, user);
  const frontend = await frontendOf(order);
  const attach = await frontend?.attachUnprivileged?.(order.disk.name, user);
  becomeUser(user);
  const plan = await prepareOrder(order);
  if (attach === undefined) return plan;
  const { plugin, config } = plan.frontend;
  const unprivileged = Object.assign(Object.create(plugin) as FrontendPlugin, { attach });
  return { ...plan, frontend: { plugin: unprivileged, config } };
}

/** Makes the folder of the disk's state, or gives the user one that was root's until now, with what is in it. */
async function handOver(stateDir: string, disk: string, user: User): Promise<void> {
  const folder = join(stateDir, disk);
  await mkdir(stateDir, { recursive: true, mode: 0o755 });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { uid: owner } = await lstat(folder);
  if (owner === user.uid) return;
  // In a folder of somebody else's, names can come to mean other files while one looks.
  if (owner !== 0) throw foreign(folder, owner, user);
  for (const path of await readdir(folder, { recursive: true }))
    await lchown(join(folder, path), user.uid, user.gid);
  await lchown(folder, user.uid, user.gid);
}

function foreign(folder: string, owner: number, { name }: User): GatewayError {
  return new GatewayError('disk.state-folder', `The folder ${folder} is not ${name}’s.`, {
    why: `It belongs to the user with the id ${owner}, for whom the disk was served before.`,
    fix: `When no gateway runs: "chown -R ${name}: ${folder}".`,
  });
}
