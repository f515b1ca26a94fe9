import { registerHooks } from 'node:module';
import { extname } from 'node:path';

const SPECIFIER = 'blockgate/plugin';

let provided = false;

/**
 * Makes `import … from 'blockgate/plugin'` mean the API of this very process, whatever is or is not installed beside
 * the plugin: a gateway installed globally serves a configuration, and plugins, that live in any folder.
 */
export function providePluginApi(): void {
  if (provided) return;
  provided = true;
  // `.ts` when running from source, `.js` when built.
  const url = new URL(`../plugin${extname(import.meta.url)}`, import.meta.url).href;
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === SPECIFIER ? { url, shortCircuit: true } : next(specifier, context),
  });
}
