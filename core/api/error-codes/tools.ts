import type { ErrorDocs } from './error-docs.ts';

/** The embedded S3 server and the test VM. */
export const TOOL_ERRORS: ErrorDocs = {
  's3-server.listen-failed': {
    meaning: 'The S3 server cannot listen where it was told to.',
    fix: 'Choose another port; 0 takes a free one.',
  },
  's3-server.data-in-use': {
    meaning: 'Another S3 server uses the data folder.',
    fix: 'Stop it, or choose another folder.',
  },
  's3-server.data-unusable': {
    meaning: 'The data folder cannot be created or written.',
    fix: 'Choose another folder.',
  },
  's3-server.not-a-data-folder': {
    meaning: 'The folder holds something that is not the S3 server’s.',
    fix: 'Choose an empty folder.',
  },
  's3-server.unknown-format': {
    meaning: 'The data folder was written by another version.',
    fix: 'Use that version, or an empty folder.',
  },
  'demo.folder-taken': {
    meaning: 'The folder for the demo holds something that is not the demo’s.',
    fix: 'Name another one with --dir, or empty it.',
  },
  'demo.step-failed': {
    meaning: 'A step of the demo failed.',
    fix: 'See its output, and the log in the folder of the demo.',
  },
  'packages.not-debian': {
    meaning: 'This machine is not Debian, whose packages the test VM is made of.',
    fix: 'Run it in a container with Debian 12.',
  },
  'packages.missing': {
    meaning: 'Debian packages are missing, and only root can install them.',
    fix: 'Run the apt-get command shown.',
  },
  'packages.install-failed': {
    meaning: 'apt-get could not install a package.',
    fix: 'Run it by hand to see all of its output.',
  },
  'vm.needs-root': {
    meaning: 'The test VM can only be started by root.',
    fix: 'Use sudo, or a container.',
  },
  'vm.unsupported-machine': {
    meaning: 'The test VM runs on x86-64 only.',
    fix: 'Use such a machine.',
  },
  'vm.no-kernel': {
    meaning: 'The kernel of the test VM cannot be found or unpacked.',
    fix: 'Enable the security archive of Debian 12 in the apt sources.',
  },
  'vm.virtiofsd-failed': {
    meaning: 'virtiofsd, which shares the root folder with the test VM, does not run.',
    fix: 'See its output.',
  },
  'vm.boot-failed': {
    meaning: 'The test VM did not boot.',
    fix: 'See the end of its console.',
  },
  'vm.died': {
    meaning: 'The test VM ended by itself.',
    fix: 'See the end of its console.',
  },
  'vm.stuck': {
    meaning: 'A script in the test VM cannot be stopped.',
    fix: 'End the session.',
  },
  'vm.stopped': {
    meaning: 'The test VM was stopped while it was in use.',
    fix: 'Start it again.',
  },
};
