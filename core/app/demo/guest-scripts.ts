/**
 * What runs beside the disk, in bash: `$BLOCKGATE_DEVICE` is the disk, `$1` the folder with the samples. Lines that
 * start with `@` are for `ScriptReport`; everything else goes to the log.
 */

const MOUNT = `set -euo pipefail
samples=$1
mnt=$(mktemp -d)
unmount() {
  cd /
  if mountpoint -q "$mnt"; then umount "$mnt" || umount --lazy "$mnt"; fi
  rmdir "$mnt"
}
trap unmount EXIT
now() { date +%s%N; }
`;

/** Makes a file system, copies the samples to it, and unmounts it: then everything is in the store. */
export const WRITE_SCRIPT = `${MOUNT}
echo "@device $BLOCKGATE_DEVICE"
mkfs.ext4 -q -F "$BLOCKGATE_DEVICE"
mount "$BLOCKGATE_DEVICE" "$mnt"
echo "@mounted"
total=$(du --bytes --summarize "$samples" | cut -f 1)
started=$(now)
for part in "$samples"/*; do
  cp -r "$part" "$mnt/"
  echo "@progress $(du --bytes --summarize "$mnt" | cut -f 1) $total"
done
sync --file-system "$mnt"
umount "$mnt"
echo "@nanoseconds $(($(now) - started))"
`;

/** Compares every byte of every file, and the lists of files. */
export const VERIFY_SCRIPT = `${MOUNT}
echo "@device $BLOCKGATE_DEVICE"
mount -o ro "$BLOCKGATE_DEVICE" "$mnt"
echo "@mounted"
names() { (cd "$1" && find . -type f | sort); }
diff <(names "$samples") <(names "$mnt")
total=$(names "$samples" | wc -l)
done=0
started=$(now)
while read -r name; do
  cmp "$samples/$name" "$mnt/$name"
  done=$((done + 1))
  if ((done % 20 == 0)); then echo "@progress $done $total"; fi
done < <(names "$samples")
echo "@nanoseconds $(($(now) - started))"
`;

/** A shell of the user's with the disk mounted. */
export const SHELL_SCRIPT = `${MOUNT}
mount "$BLOCKGATE_DEVICE" "$mnt"
cd "$mnt"
df --human-readable .
printf '\\nThis folder is the disk %s. Leave the shell to end the demo.\\n' "$BLOCKGATE_DEVICE"
bash -i || true
`;
