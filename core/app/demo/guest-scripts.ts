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
echo "@phase making ext4"
mkfs.ext4 -q -F "$BLOCKGATE_DEVICE"
mount "$BLOCKGATE_DEVICE" "$mnt"
total=$(du --bytes --summarize "$samples" | cut -f 1)
echo "@phase writing files"
started=$(now)
for folder in "$samples"/*; do
  cp -r "$folder" "$mnt/"
  echo "@progress $(du --bytes --summarize "$mnt" | cut -f 1) $total"
done
echo "@phase writing files: the last of them reach the bucket"
sync --file-system "$mnt"
umount "$mnt"
echo "@nanoseconds $(($(now) - started))"
echo "@phase stopping the disk"
`;

/** Compares every byte of every file, and the lists of files. */
export const VERIFY_SCRIPT = `${MOUNT}
echo "@device $BLOCKGATE_DEVICE"
mount -o ro "$BLOCKGATE_DEVICE" "$mnt"
names() { (cd "$1" && find . -type f | sort); }
diff <(names "$samples") <(names "$mnt")
total=$(du --bytes --summarize "$samples" | cut -f 1)
done=0
echo "@phase comparing every byte"
started=$(now)
for folder in "$samples"/*; do
  diff -r "$folder" "$mnt/$(basename "$folder")"
  done=$((done + $(du --bytes --summarize "$folder" | cut -f 1)))
  echo "@progress $done $total"
done
echo "@nanoseconds $(($(now) - started))"
umount "$mnt"
echo "@phase stopping the disk"
`;

/** A shell of the user's with the disk mounted. */
export const SHELL_SCRIPT = `${MOUNT}
mount "$BLOCKGATE_DEVICE" "$mnt"
cd "$mnt"
df --human-readable .
printf '\\nThis folder is the disk %s. Leave the shell to end the demo.\\n' "$BLOCKGATE_DEVICE"
bash -i || true
`;
