import type { ErrorDocs } from './error-docs.ts';

/** Files, S3 and the volumes in them. */
export const STORE_ERRORS: ErrorDocs = {
  'file.not-found': {
    meaning: 'The file of a disk does not exist, and nothing says how big to create it.',
    fix: 'Give a size, or correct the path.',
  },
  'file.folder-not-found': {
    meaning: 'The folder of a disk’s file does not exist.',
    fix: 'Create the folder, or correct the path.',
  },
  'file.size-required': {
    meaning: 'A file has to be created, and its size is not configured.',
    fix: 'Give the backend a "size".',
  },
  'file.size-mismatch': {
    meaning: 'The file has another size than the configuration says.',
    fix: 'Correct "size", or resize with blockgate volume resize.',
  },
  'file.size-unaligned': {
    meaning: 'The file does not consist of whole blocks.',
    fix: 'Correct its size.',
  },
  'file.unsupported-type': {
    meaning: 'The path is neither a file nor a block device.',
    fix: 'Name another path.',
  },
  'file.direct-unsupported': {
    meaning: 'The file system of the file has no direct I/O.',
    fix: 'Leave out "direct", or use another file system.',
  },
  'file.no-permission': {
    meaning: 'The file may not be opened by this user.',
    fix: 'Change its permissions, or the user.',
  },
  'file.device-busy': {
    meaning: 'The block device is mounted or part of something else.',
    fix: 'Release it first; lsblk shows what uses it.',
  },
  'file.too-big': {
    meaning: 'The file system does not hold files of that size.',
    fix: 'Choose a smaller size, or another file system.',
  },
  'file.no-space': {
    meaning: 'The file system is full.',
    fix: 'Free some space.',
  },
  'file.open-failed': {
    meaning: 'The file cannot be opened, for another reason.',
    fix: 'See the cause.',
  },
  's3.unavailable': {
    meaning: 'The S3 store does not answer, or not properly.',
    fix: 'Check the endpoint, the network and the store.',
  },
  's3.untrusted-certificate': {
    meaning: 'The certificate of the S3 store is not trusted.',
    fix: 'Name the file of its certificate authority in "tls.ca".',
  },
  's3.bucket-not-found': {
    meaning: 'The bucket does not exist.',
    fix: 'Correct its name, or create it.',
  },
  's3.wrong-region': {
    meaning: 'The bucket is in another region.',
    fix: 'Set "region" to the region of the bucket.',
  },
  's3.bad-credentials': {
    meaning: 'The store does not accept the credentials.',
    fix: 'Correct them.',
  },
  's3.access-denied': {
    meaning: 'The credentials do not allow what a disk needs.',
    fix: 'Allow s3:GetObject, PutObject, DeleteObject and ListBucket.',
  },
  's3.clock-skew': {
    meaning: 'The clock of this machine differs too much from the store’s.',
    fix: 'Set the clock.',
  },
  's3.refused': {
    meaning: 'The store refused a request, for another reason.',
    fix: 'See the cause.',
  },
  's3.ca-unreadable': {
    meaning: 'The file with the certificate authority cannot be read.',
    fix: 'Correct "tls.ca".',
  },
  's3.no-conditional-writes': {
    meaning: 'The store does not honour conditional writes, without which two writers cannot be told apart.',
    fix: 'Use another store.',
  },
  'image.read-only': {
    meaning: 'An image is never written, and the disk on it is not configured read-only.',
    fix: 'Set "readOnly": true for the disk, or make a volume that begins as the image.',
  },
  'image.not-found': {
    meaning: 'There is no object where the configuration says that the image is.',
    fix: 'Correct "key" (of a volume: "image"), or upload the image.',
  },
  'image.bad-size': {
    meaning: 'The image does not consist of whole blocks of 512 bytes.',
    fix: 'Upload it again, uncompressed and whole.',
  },
  'image.not-raw': {
    meaning: 'The image is in a format such as qcow2, or compressed: as a disk it would be garbage.',
    fix: 'Convert it with qemu-img convert -O raw, or import it into a volume.',
  },
  'volume.not-found': {
    meaning: 'There is no volume where the configuration says.',
    fix: 'Create it with blockgate volume create, or correct the place.',
  },
  'volume.lost': {
    meaning: 'The volume that a disk had is not in its store any more. It is not made anew by itself.',
    fix: 'Restore the store. To begin with an empty disk: blockgate volume create.',
  },
  'volume.exists': {
    meaning: 'There already is a volume in that place.',
    fix: 'Use it, choose another place, or delete it first.',
  },
  'volume.not-a-volume': {
    meaning: 'Something else lies where the volume should be.',
    fix: 'Choose another place.',
  },
  'volume.unfinished': {
    meaning: 'The creation or deletion of the volume was interrupted.',
    fix: 'Run the command again; it continues.',
  },
  'volume.corrupt': {
    meaning: 'The description of the volume is damaged.',
    fix: 'Restore it from a backup or an older version.',
  },
  'volume.map-unreadable': {
    meaning: 'The record of which chunks were written is damaged or missing.',
    fix: 'Restore it from a backup or an older version.',
  },
  'volume.unsupported-version': {
    meaning: 'The volume has a format that this blockgate does not know.',
    fix: 'Use the blockgate that wrote it, or a newer one.',
  },
  'volume.unsupported-feature': {
    meaning: 'The volume uses features that this blockgate lacks.',
    fix: 'Use the blockgate that wrote it, or a newer one.',
  },
  'volume.size-mismatch': {
    meaning: 'The volume has another size than the configuration says.',
    fix: 'Correct "size", or grow with blockgate volume resize.',
  },
  'volume.size-missing': {
    meaning: 'A volume cannot be created without a size.',
    fix: 'Give the backend a "size".',
  },
  'volume.bad-size': {
    meaning: 'A volume cannot have this size.',
    fix: 'Choose a multiple of 512 bytes in the allowed range.',
  },
  'volume.chunk-size-mismatch': {
    meaning: 'The volume has another chunk size than the configuration says; it is fixed at creation.',
    fix: 'Correct or leave out "chunkSize".',
  },
  'volume.snapshot-exists': {
    meaning: 'There is a snapshot of that name already.',
    fix: 'Choose another name.',
  },
  'volume.snapshot-not-found': {
    meaning: 'There is no snapshot of that name.',
    fix: 'List those there are: blockgate volume snapshots <target>.',
  },
  'volume.no-point': {
    meaning: 'What the volume was at that time is not known: it has no point of then, or none at all.',
    fix: 'List those there are: blockgate volume points <target>. The s3 backend keeps them for its "retention".',
  },
  'volume.has-clones': {
    meaning: 'Another volume needs what was to be deleted: it was cloned from it.',
    fix: 'Delete the clone first, or flatten it: blockgate volume flatten <target>.',
  },
  'volume.needs-parent': {
    meaning: 'Snapshots of a clone need the volume that it was cloned from.',
    fix: 'Delete these snapshots first, or keep the parent.',
  },
  'volume.layout-mismatch': {
    meaning: 'The volume has another layout than the configuration says; it is fixed at creation.',
    fix: 'Correct or leave out "layout".',
  },
  'volume.image-mismatch': {
    meaning:
      'The volume began as another image than the configuration says, or as none; it is fixed at creation.',
    fix: 'Correct or leave out "image", or create another volume.',
  },
  'volume.image-changed': {
    meaning:
      'The image that the volume began as is missing, or another object is in its place: from there comes what was not written since.',
    fix: 'Put the object back as it was, with the same content, uploaded in the same way.',
  },
  'volume.key-missing': {
    meaning: 'The volume is encrypted, and the configuration names no key.',
    fix: 'Set "encryption" of the backend.',
  },
  'volume.wrong-key': {
    meaning: 'The key of the configuration does not open the volume.',
    fix: 'Correct "encryption" of the backend.',
  },
  'volume.bad-key': {
    meaning: 'What the configuration names as the key of a volume cannot be read, or is no key.',
    fix: 'Make one with openssl rand -base64 32, or correct the path or the command.',
  },
  'volume.not-encrypted': {
    meaning: 'There is a key for a volume that is not encrypted.',
    fix: 'Leave out "encryption", or copy the data into a volume that is created with it.',
  },
  'volume.cannot-shrink': {
    meaning: 'A volume only grows.',
    fix: 'Create a smaller one and copy.',
  },
  'volume.delete-incomplete': {
    meaning: 'Some objects of a volume could not be deleted.',
    fix: 'Allow deletion, and run the command again.',
  },
  'volume.owned': {
    meaning: 'Another gateway uses the volume.',
    fix: 'Stop it; if it is gone for good, use --take-over.',
  },
  'volume.owner-contended': {
    meaning: 'Several gateways want the volume at the same time.',
    fix: 'Leave it to one of them.',
  },
  'volume.journal-unusable': {
    meaning: 'The journal of a volume cannot be opened, or something else is in its place.',
    fix: 'Correct "journal", or free the file.',
  },
  'volume.journal-missing': {
    meaning: 'The end of a volume is in a journal that is not here.',
    fix: 'Start the disk once where its journal is; if that is lost, use --take-over, which gives up what was in it.',
  },
  'volume.journal-diverged': {
    meaning:
      'A journal holds changes that are not in the store, and another gateway has changed the volume since.',
    fix: 'Move the journal away to go on without what is in it.',
  },
  'volume.owner-unreadable': {
    meaning: 'The record of who uses the volume is damaged.',
    fix: 'Make sure that nobody uses it, then delete the record.',
  },
  'volume.in-use': {
    meaning: 'Another process has the file of the volume locked.',
    fix: 'Stop that process.',
  },
  'volume.unsupported': {
    meaning: 'The store has no volumes to work on in this way.',
    fix: 'Use the tools of the store.',
  },
};
