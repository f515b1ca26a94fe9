import { NBD_FLAG_SEND_FLUSH } from '../../core/nbd/protocol.ts';
import { type Finding, formatSize, GatewayError, type PluginContext } from '../../core/plugin.ts';
import type { NbdConfig } from './config.ts';
import { exportFacts } from './open.ts';

/** Asks the server for the export, and leaves. */
export async function checkExport(config: NbdConfig, ctx: PluginContext): Promise<readonly Finding[]> {
  try {
    const { size, flags } = await exportFacts(config, ctx);
    const findings: Finding[] = [{ severity: 'ok', summary: `${config.uri}: ${formatSize(size)}` }];
    if ((flags & NBD_FLAG_SEND_FLUSH) === 0)
      findings.push({
        severity: 'warning',
        summary: `${config.uri}: the server cannot flush`,
        fix: 'Use a server that can: what it has answered may be lost when it dies.',
      });
    return findings;
  } catch (error) {
    if (!GatewayError.is(error)) throw error;
    return [
      {
        severity: 'error',
        summary: `${error.message} ${error.why ?? ''}`,
        ...(error.fix && { fix: error.fix }),
      },
    ];
  }
}
