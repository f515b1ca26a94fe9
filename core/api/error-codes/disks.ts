import type { ErrorDocs } from './error-docs.ts';

/** The life of a disk, and VDUSE. */
export const DISK_ERRORS: ErrorDocs = {
  'disk.state-folder': {
    meaning: 'The folder for the state of a disk cannot be created.',
    fix: 'Choose one with --state-dir that this user may write to.',
  },
  'disk.open-failed': {
    meaning: 'The backend of a disk cannot open its store.',
    fix: 'See the cause.',
  },
  'disk.filter-failed': {
    meaning: 'A filter of a disk cannot start.',
    fix: 'See the cause.',
  },
  'disk.attach-failed': {
    meaning: 'The frontend of a disk cannot present it.',
    fix: 'See the cause.',
  },
  'disk.held': {
    meaning: 'A disk is mounted or open and is not stopped under its users.',
    fix: 'Unmount it and end the programs that have it open, or use --force.',
  },
  'disk.stop-failed': {
    meaning: 'A disk did not stop cleanly.',
    fix: 'Check the file system on it before relying on it.',
  },
  'disk.killed': {
    meaning: 'The process of a disk did not stop in time and was killed.',
    fix: 'Check that its store works; give it more time with --grace.',
  },
  'disk.hung': {
    meaning: 'The process of a disk gave no sign of life for the time that the service’s watchdog allows.',
    fix: 'Start the disk again, and find out what keeps its process; WatchdogSec= of the unit is the limit.',
  },
  'disk.broken': {
    meaning: 'A disk broke while it was running.',
    fix: 'Unmount it, look at the log of the kernel, and start it again.',
  },
  'disk.process-died': {
    meaning: 'The process of a disk ended by itself.',
    fix: 'See its last words in the log, and start the disk again.',
  },
  'vduse.not-available': {
    meaning: 'The kernel offers no VDUSE.',
    fix: 'Load the module: modprobe vduse. blockgate doctor says what is missing.',
  },
  'vduse.module-missing': {
    meaning: 'A kernel module that VDUSE needs cannot be loaded.',
    fix: 'Use a kernel that has it; blockgate doctor says which modules are missing.',
  },
  'vduse.permission': {
    meaning: 'This user may not create VDUSE devices.',
    fix: 'Run the gateway as root.',
  },
  'vduse.helper-ended': {
    meaning: 'The process that does what takes root for an unprivileged disk is gone.',
    fix: 'End the process of the disk and start the disk again.',
  },
  'vduse.device-exists': {
    meaning: 'A VDUSE device of this name exists and belongs to something else.',
    fix: 'Rename the disk, or remove the device if nobody needs it.',
  },
  'vduse.device-differs': {
    meaning: 'A device left by an earlier process was created with another configuration.',
    fix: 'Restore the configuration, or detach the device and start the disk again.',
  },
  'vduse.device-busy': {
    meaning: 'Another process serves the VDUSE device.',
    fix: 'Stop that process.',
  },
  'vduse.device-broken': {
    meaning: 'The kernel gave up the device because its messages were not answered in time.',
    fix: 'Stop the disk and start it again; find out what delayed its process.',
  },
  'vduse.requests-outstanding': {
    meaning: 'An earlier process left requests unanswered that nobody can answer now.',
    fix: 'Detach the device and start the disk again.',
  },
  'vduse.driver-refused': {
    meaning: 'The driver in the kernel cannot use the device.',
    fix: 'Look at the log of the kernel.',
  },
  'vduse.attach-failed': {
    meaning: 'The device cannot be attached to the vDPA bus.',
    fix: 'Look at the log of the kernel; virtio_vdpa has to be loaded.',
  },
  'vduse.attach-timeout': {
    meaning:
      'The driver was not done with the new disk in time, because the store did not answer its first reads.',
    fix: 'Find out why the store does not answer.',
  },
  'vduse.detach-failed': {
    meaning: 'The device cannot be detached from the vDPA bus.',
    fix: 'Look at the log of the kernel, and who uses the device.',
  },
  'vduse.detach-timeout': {
    meaning: 'The device could not be taken off the vDPA bus in time, because requests are still unanswered.',
    fix: 'Find out why the store does not answer.',
  },
  'vduse.detached': {
    meaning: 'Somebody else took the device off the vDPA bus.',
    fix: 'Start the disk again.',
  },
  'vduse.destroy-failed': {
    meaning: 'The VDUSE device cannot be destroyed.',
    fix: 'Look who has it open.',
  },
  'vduse.no-disk': {
    meaning: 'The device was attached, but no block device appeared.',
    fix: 'Look at the log of the kernel.',
  },
  'vduse.link-failed': {
    meaning: 'The link below /dev/blockgate cannot be made.',
    fix: 'Remove what is in its place.',
  },
  'vduse.messages-failed': {
    meaning: 'The messages of the kernel cannot be handled.',
    fix: 'Start the disk again.',
  },
  'virtio.bad-ring': {
    meaning: 'The driver set up a virtqueue that breaks the virtio specification.',
    fix: 'Report it with the version of the kernel.',
  },
  'virtio.block-size': {
    meaning: 'The block size of a disk is not one that virtio-blk can present.',
    fix: 'Choose a power of two from 512 to 4096.',
  },
};
