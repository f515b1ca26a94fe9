import type { ErrorDocs } from './error-docs.ts';

/** The configuration file and the command line. */
export const CONFIGURATION_ERRORS: ErrorDocs = {
  'config.not-found': {
    meaning: 'The configuration file does not exist.',
    fix: 'Create it, or name another with -c.',
  },
  'config.unreadable': {
    meaning: 'The configuration file exists and cannot be read.',
    fix: 'Let the user who runs blockgate read it.',
  },
  'config.encoding': {
    meaning: 'The configuration file is not UTF-8 text.',
    fix: 'Save it as UTF-8.',
  },
  'config.syntax': {
    meaning: 'The configuration file is not JSON, even with comments and trailing commas allowed.',
    fix: 'Correct the syntax at the place shown; values are masked there, since one may be a secret.',
  },
  'config.duplicate-key': {
    meaning: 'A key stands twice in one object, so one of the two would be ignored.',
    fix: 'Remove one, or rename one.',
  },
  'config.too-new': {
    meaning: 'The configuration is of a later version than this blockgate understands.',
    fix: 'Upgrade blockgate.',
  },
  'config.unknown-key': {
    meaning: 'A key is not one that core, or the plugin it was given to, knows.',
    fix: 'Correct the spelling, or remove it.',
  },
  'config.missing-key': {
    meaning: 'A key that has no default is not there.',
    fix: 'Add it.',
  },
  'config.invalid': {
    meaning: 'A value is of the wrong type or out of range.',
    fix: 'Write a value as the message says.',
  },
  'config.literal-secret': {
    meaning: 'A password, key or token is written out in the configuration.',
    fix: 'Name an environment variable { "env": … } or a file { "file": … }, and change the secret.',
  },
  'config.unknown-backend': {
    meaning: 'No plugin provides a backend of this type.',
    fix: 'Correct the type, or list its plugin under "plugins".',
  },
  'config.unknown-filter': {
    meaning: 'No plugin provides a filter of this type.',
    fix: 'Correct the type, or list its plugin under "plugins".',
  },
  'config.unknown-frontend': {
    meaning: 'No plugin provides a frontend of this type.',
    fix: 'Correct the type, or list its plugin under "plugins".',
  },
  'config.bad-override': {
    meaning: 'A --set does not have the form path=value, or its path leads nowhere.',
    fix: 'Write --set disks.disk0.readOnly=true, with names that exist.',
  },
  'config.no-disks': {
    meaning: 'The configuration has no disks to work on.',
    fix: 'Add one below "disks".',
  },
  'config.unknown-disk': {
    meaning: 'A disk named on the command line is not in the configuration.',
    fix: 'Correct the name, or add the disk.',
  },
  'secret.missing': {
    meaning: 'A secret’s environment variable is not set, or its file cannot be read.',
    fix: 'Set the variable, or create the file readable by the gateway alone.',
  },
  'cli.usage': {
    meaning: 'The command line cannot be understood.',
    fix: 'See blockgate help.',
  },
  'cli.not-confirmed': {
    meaning: 'A command that destroys data was not confirmed.',
    fix: 'Answer "yes", or add --yes.',
  },
  'cli.command-not-run': {
    meaning: 'The command after -- cannot be started.',
    fix: 'Check its name, and that it may be executed.',
  },
  'cli.unknown-user': {
    meaning: 'The user named with --user does not exist.',
    fix: 'Create it, or correct the name.',
  },
  'cli.user-is-root': {
    meaning: 'The user named with --user is root, who keeps every privilege.',
    fix: 'Name a user without privileges, or leave --user out.',
  },
  'cli.user-needs-root': {
    meaning: 'Disks can be served as another user only by a gateway that was started by root.',
    fix: 'Run blockgate as root, or leave --user out.',
  },
  'cli.user-without-access': {
    meaning:
      'The user named with --user may not read the files of blockgate itself, which its processes load.',
    fix: 'Install blockgate where everybody may read it, such as below /opt.',
  },
  'cli.half-credentials': {
    meaning: 'Only one half of a key pair for the S3 server is set.',
    fix: 'Set both, or neither.',
  },
};
