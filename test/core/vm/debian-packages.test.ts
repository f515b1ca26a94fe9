import { describe, expect, it } from 'vitest';
import { notInstalled } from '../../../core/vm/debian-packages.ts';

describe('notInstalled', () => {
  it('counts a package only when dpkg says that it is installed', () => {
    const answer = 'qemu-system-x86 installed\nfio config-files\nkmod not-installed\n';
    expect(notInstalled(['qemu-system-x86', 'fio', 'kmod'], answer)).toEqual(['fio', 'kmod']);
  });

  it('reports a package that dpkg has never heard of', () => {
    expect(notInstalled(['xfsprogs'], '')).toEqual(['xfsprogs']);
  });

  it('takes a package that is installed for two architectures as installed', () => {
    expect(notInstalled(['libc6'], 'libc6 installed\nlibc6 installed\n')).toEqual([]);
  });
});
