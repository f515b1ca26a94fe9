import type { ErrorDocs } from './error-docs.ts';

/** Finding, loading and checking plugins. */
export const PLUGIN_ERRORS: ErrorDocs = {
  'plugin.bad-name': {
    meaning: 'A new backend cannot have that name.',
    fix: 'Choose one of lower-case letters, digits and hyphens.',
  },
  'plugin.cannot-create': {
    meaning: 'The folder of a new plugin cannot be made.',
    fix: 'Choose another name, or another place with --dir.',
  },
  'plugin.not-found': {
    meaning: 'An entry of "plugins" is neither an installed package nor a path that exists.',
    fix: 'Install the package beside the configuration, or correct the path.',
  },
  'plugin.no-manifest': {
    meaning: 'A package or folder exists and is not a plugin: its package.json has no "blockgate" field.',
    fix: 'Check the name; in a plugin of your own add the field.',
  },
  'plugin.bad-manifest': {
    meaning: 'The manifest of a plugin cannot be read, or breaks the rules of the plugin guide.',
    fix: 'Correct it, or install another release.',
  },
  'plugin.api-too-new': {
    meaning: 'A plugin was written for a later plugin API than this blockgate has.',
    fix: 'Upgrade blockgate, or use an older release of the plugin.',
  },
  'plugin.api-too-old': {
    meaning: 'A plugin was written for a plugin API that this blockgate no longer has.',
    fix: 'Use a newer release of the plugin, or an older blockgate.',
  },
  'plugin.duplicate-name': {
    meaning: 'Two plugins provide the same name, so that neither can be used.',
    fix: 'Remove one of them from "plugins".',
  },
  'plugin.import-failed': {
    meaning: 'The module of a plugin does not exist, or failed while it was imported.',
    fix: 'Build the plugin, correct it, or install another release.',
  },
  'plugin.missing-dependency': {
    meaning: 'A plugin imports a package that is not installed.',
    fix: 'Install the dependencies of the plugin.',
  },
  'plugin.import-timeout': {
    meaning: 'The import of a plugin did not settle in time.',
    fix: 'Move slow work from the top level of the module into open().',
  },
  'plugin.typescript-in-node-modules': {
    meaning: 'A plugin installed under node_modules is TypeScript, which Node runs from other folders only.',
    fix: 'Publish JavaScript, or list the folder of the plugin by its path.',
  },
  'plugin.bad-shape': {
    meaning: 'What a module exports by default is not a plugin, or not the one its manifest promises.',
    fix: 'Export what defineBackend, defineFilter or defineFrontend returns.',
  },
  'plugin.unknown': {
    meaning: 'A plugin named on the command line is not known.',
    fix: 'Correct the name, or list the plugin under "plugins".',
  },
  'backend.bad-device': {
    meaning: 'A backend returned a device that breaks the plugin contract.',
    fix: 'Report it to the author of the plugin.',
  },
};
