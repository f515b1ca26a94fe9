import { renderError } from '../../util/render-error.ts';
import type { Terminal } from './terminal.ts';

const LABEL = /^(\s*)(Where|Why|Fix|Code)(\s)/;

/** An error on standard error, its marks and labels in colour. */
export function printError(terminal: Terminal, error: unknown): void {
  const paint = (line: string) =>
    line
      .replace(/^(\s*)✖/, (_, indent: string) => `${indent}${terminal.tint(['red', 'bold'], '✖')}`)
      .replace(LABEL, (_, indent: string, label: string, gap: string) => {
        return `${indent}${terminal.tint('dim', label)}${gap}`;
      });
  terminal.say(renderError(error).trimEnd().split('\n').map(paint).join('\n'));
}
