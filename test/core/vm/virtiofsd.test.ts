import { describe, expect, it } from 'vitest';
import { serverScript, submounts } from '../../../core/vm/virtiofsd.ts';

const MOUNTINFO = [
  '22 1 254:0 / / rw,relatime - ext4 /dev/vda rw',
  '23 22 0:21 / /proc rw - proc proc rw',
  '24 22 0:22 / /dev/shm rw - tmpfs tmpfs rw',
  '25 22 0:23 / /run/user/0 rw - tmpfs tmpfs rw',
  '26 22 8:1 / /home/my\\040files rw - ext4 /dev/sdb rw',
  '27 22 0:24 / /home rw - ext4 /dev/sda rw',
  '28 22 0:25 / /runner rw - tmpfs tmpfs rw',
  '',
].join('\n');

describe('submounts', () => {
  it("lists what is mounted below, outermost first, without the kernel's own file systems", () => {
    expect(submounts(MOUNTINFO, '/')).toEqual(['/home', '/runner', '/home/my files']);
  });

  it('stays below the folder', () => {
    expect(submounts(MOUNTINFO, '/home')).toEqual(['/home/my files']);
  });
});

describe('serverScript', () => {
  const share = { tag: 'root', path: '/', readOnly: true, socket: '/tmp/s/root.sock', view: '/tmp/s/view' };

  it('serves a read-only view of a read-only folder and of what is mounted in it', () => {
    const script = serverScript(share, true, ['/home/my files']);
    expect(script).toContain('mount --bind / /tmp/s/view && mount -o remount,bind,ro /tmp/s/view');
    expect(script).toContain("mount -o remount,bind,ro '/tmp/s/view/home/my files'");
    expect(script).toContain('-o source=/tmp/s/view -o cache=always -o sandbox=namespace');
  });

  it('serves the folder itself where mounting is forbidden', () => {
    const script = serverScript(share, false, []);
    expect(script).not.toContain('mount');
    expect(script).toContain('-o source=/ -o cache=always -o sandbox=chroot');
  });

  it('does not let the guest keep what others may change in a writable folder', () => {
    expect(serverScript({ ...share, readOnly: false, path: '/r' }, true, [])).toContain(
      'source=/r -o cache=auto',
    );
  });
});
