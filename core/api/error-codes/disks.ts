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
    meaning: 'A disk broke while it was running. It is started again by itself.',
    fix: 'Unmount it if it is mounted, and look at the log of the kernel.',
  },
  'disk.process-died': {
    meaning: 'The process of a disk ended by itself. It is started again, and whoever uses the disk waits.',
    fix: 'If it keeps dying, its last words in the log tell why.',
  },
  'disk.content-lost': {
    meaning: 'A disk whose content is in memory died, and its content with it; it is not started again.',
    fix: 'Unmount it, stop the gateway, and remove the device with blockgate destroy.',
  },
  'disk.left-behind': {
    meaning: 'A disk was down when it was told to stop, so that its device could not be detached.',
    fix: 'Start the disk again, or remove the device with blockgate destroy.',
  },
  'disk.not-running': {
    meaning: 'A disk was asked for something while it was not running.',
    fix: 'Ask again when blockgate status says that it runs.',
  },
  'disk.operation-under-way': {
    meaning: 'A disk is being upgraded or resized.',
    fix: 'Ask again in a moment.',
  },
  'disk.cannot-upgrade': {
    meaning: 'A disk cannot be handed to another process, or the new code does not fit the running gateway.',
    fix: 'Stop the disk, or the gateway, and start it again.',
  },
  'disk.cannot-snapshot': {
    meaning: 'The backend of the disk cannot keep what it holds at some moment.',
    fix: 'Use a backend that can: s3, with the layout "log".',
  },
  'disk.cannot-resize': {
    meaning: 'The backend or the frontend of a disk cannot grow it while it runs.',
    fix: 'Stop the disk, grow its store, and start it again.',
  },
  'disk.bad-size': {
    meaning: 'A disk cannot take the size that its store has: it only grows, by whole blocks.',
    fix: 'Give the store a larger size of whole blocks.',
  },
  'gateway.not-serving': {
    meaning: 'No running gateway serves the disk.',
    fix: 'Start it, or name the folder of its gateway with --state-dir.',
  },
  'gateway.no-such-disk': {
    meaning: 'The gateway that was asked does not serve the disk.',
    fix: 'Look at blockgate status.',
  },
  'gateway.no-leftover': {
    meaning: 'No device of the disk was left behind by a dead gateway.',
    fix: 'Nothing has to be done; blockgate detach stops a disk that is served.',
  },
  'gateway.no-answer': {
    meaning: 'A gateway did not answer on its control socket.',
    fix: 'See whether it still runs.',
  },
  'gateway.unreachable': {
    meaning: 'The control socket of a gateway, or its folder, may not be used by this user.',
    fix: 'Run the command as the user that runs the gateway.',
  },
  'gateway.bad-request': {
    meaning: 'A gateway got a request on its control socket that it does not understand.',
    fix: 'Use the blockgate command of the version that runs.',
  },
  'gateway.other-version': {
    meaning: 'The control socket of a gateway speaks another version of the protocol.',
    fix: 'Use the blockgate command of the version that runs, or restart the gateway.',
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
    fix: 'Rename the disk, or remove the device with blockgate destroy if nobody needs it.',
  },
  'vduse.device-differs': {
    meaning: 'A device left by an earlier process was created with another configuration.',
    fix: 'Restore the configuration and stop the disk, which detaches the device; then change it. Or remove the device with blockgate destroy.',
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
    meaning:
      'An earlier process left requests unanswered, and the file that says which (/run/blockgate/*.inflight) is gone.',
    fix: 'Restart the machine; keep that folder as long as disks are attached.',
  },
  'vduse.inflight-file': {
    meaning:
      'The file that lists the requests in flight, for when the process of the disk dies, cannot be made or read.',
    fix: 'Let the gateway’s user write to /run/blockgate, on a tmpfs with space left.',
  },
  'vduse.leftover-waits': {
    meaning: 'A device left by a dead process cannot be removed while requests wait for an answer.',
    fix: 'Start its disk, which answers them, and stop it.',
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
  'vduse.open-in-vm': {
    meaning: 'The disk was to be stopped by force while a virtual machine has it open.',
    fix: 'Start the disk again, and the virtual machine goes on; or end the virtual machine first.',
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
  'vduse.bounce-too-small': {
    meaning:
      'The largest request of a disk might find no place in the bounce memory, and would hang for ever.',
    fix: 'Raise bounceSize, or lower queueSize.',
  },
  'vduse.umem-missing': {
    meaning: 'A disk is to use memory of the gateway as bounce memory (umem), which the kernel cannot do.',
    fix: 'Leave umem out, or boot Linux 6.0 or later.',
  },
  'vduse.memory-lock': {
    meaning:
      'A disk is to use memory of the gateway as bounce memory (umem), and the process may not pin as much.',
    fix: 'Raise the limit before blockgate starts: LimitMEMLOCK= in the unit of systemd, or ulimit -l.',
  },
  'vduse.messages-failed': {
    meaning: 'The messages of the kernel cannot be handled.',
    fix: 'Start the disk again.',
  },
  'vduse.queue-stuck': {
    meaning:
      'The driver reset the device while the thread of a virtqueue waited in a system call that does not end.',
    fix: 'Find out why the file system or disk below the disk hangs. The process of the disk ends and is replaced.',
  },
  'virtio.bad-ring': {
    meaning: 'The driver set up a virtqueue that breaks the virtio specification.',
    fix: 'Report it with the version of the kernel.',
  },
  'virtio.bad-inflight-log': {
    meaning: 'The list of requests in flight that an earlier process left does not fit the virtqueue.',
    fix: 'Restore the file if you changed it; otherwise restart the machine.',
  },
  'virtio.block-size': {
    meaning: 'The block size of a disk is not one that virtio-blk can present.',
    fix: 'Choose a power of two from 512 to 4096.',
  },
};
