import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { ExitCode } from '../../../../core/app/cli/exit-code.ts';
import { createProgram, runCli } from '../../../../core/app/cli/program.ts';
import { fakeTerminal } from './fake-terminal.ts';

const PAGE = readFileSync(new URL('../../../../docs/cli.md', import.meta.url), 'utf8');

/** `run`, `volume create`, …: every command that has a help of its own. */
function commandNames(command: Command, path: readonly string[] = []): string[] {
  return command.commands.flatMap((child) => {
    const name = [...path, child.name()];
    return [name.join(' '), ...commandNames(child, name)];
  });
}

async function help(name: string): Promise<string> {
  const { terminal, stdout } = fakeTerminal();
  await runCli([...name.split(' ').filter(Boolean), '--help'], terminal);
  return stdout.text.trimEnd();
}

const { terminal } = fakeTerminal();
const names = commandNames(createProgram({ terminal, captive: undefined, exitCode: 0 }));

describe('docs/cli.md', () => {
  it.each(['', ...names])('has the help of "blockgate %s" as it is', async (name) => {
    const section = `## blockgate${name && ` ${name}`}\n\n\`\`\`text\n${await help(name)}\n\`\`\`\n`;
    expect(PAGE).toContain(section);
  });

  it('has no command that does not exist', () => {
    const documented = [...PAGE.matchAll(/^## blockgate ?(.*)$/gm)].map(([, name]) => name);
    expect(documented.sort()).toEqual(['', ...names].sort());
  });

  it('has every exit status', () => {
    for (const status of [...Object.values(ExitCode), 130, 143])
      expect(PAGE).toMatch(new RegExp(`^\\| ${status} \\|`, 'm'));
  });
});
