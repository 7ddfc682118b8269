/** The outputs that the configuration asks for, and the formats of SIEM that they read. */
import type { SiemFormat } from '@bailiff/bus';
import type { RelayConfig } from './config.ts';
import type { Output } from './outputs/output.ts';
import { parseAddress } from './syslog/connection.ts';
import { SyslogOutput } from './syslog/output.ts';
import { WebhookOutput } from './webhook/output.ts';

export function outputsOf(config: RelayConfig, version: string, nowMs: () => number): Output[] {
  return [
    ...(config.syslogAddress === '' ? [] : [syslogOutput(config, version)]),
    ...Object.entries(config.webhooks).map(([name, webhook]) => new WebhookOutput(name, webhook, nowMs)),
  ];
}

/** The configured formats, and those that outputs read. */
export function formatsOf({ formats, webhooks }: RelayConfig): SiemFormat[] {
  const read: SiemFormat[] = Object.keys(webhooks).length > 0 ? ['ocsf'] : [];
  return [...new Set([...formats, ...read])];
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
