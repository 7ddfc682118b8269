/** The outputs that the configuration asks for. */
import type { RelayConfig } from './config.ts';
import type { Output } from './outputs/output.ts';
import { parseAddress } from './syslog/connection.ts';
import { SyslogOutput } from './syslog/output.ts';

export function outputsOf(config: RelayConfig, version: string): Output[] {
  return config.syslogAddress === '' ? [] : [syslogOutput(config, version)];
}

function syslogOutput(config: RelayConfig, version: string): SyslogOutput {
  return new SyslogOutput({
    format: config.syslogFormat,
    facility: config.syslogFacility,
    receiver: {
      ...parseAddress(config.syslogAddress),
      transport: config.syslogTransport,
      caFile: config.syslogCaFile,
      certFile: config.syslogCertFile,
      keyFile: config.syslogKeyFile,
      serverName: config.syslogServerName,
    },
    confirmMs: config.syslogConfirmMs,
    confirmTimeoutMs: config.syslogConfirmTimeoutMs,
    version,
  });
}
