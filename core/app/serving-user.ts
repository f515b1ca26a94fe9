import { GatewayError } from '../api/errors.ts';
import { findUser, type User } from '../system/user.ts';

/** The user as whom disks are to be served. Throws `cli.unknown-user`, `cli.user-is-root` or `cli.user-needs-root`. */
export function servingUser(name: string, uid: number | undefined = process.getuid?.()): User {
  const user = findUser(name);
  if (user === undefined) {
    throw new GatewayError('cli.unknown-user', `There is no user "${name}" on this machine.`, {
      fix: `Create it: "useradd --system --user-group ${name}", or systemd-sysusers with the file in packaging/.`,
    });
  }
  if (user.uid === 0) {
    throw new GatewayError('cli.user-is-root', `"${name}" is root, which is what --user is to avoid.`, {
      fix: 'Name a user without privileges, or leave --user out.',
    });
  }
  if (uid !== 0) {
    throw new GatewayError('cli.user-needs-root', `Only root can serve disks as "${name}".`, {
      why: 'The gateway starts as root, and gives that up in the processes that serve.',
      fix: 'Run blockgate as root.',
    });
  }
  return user;
}
