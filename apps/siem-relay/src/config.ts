/** Configuration of the siem-relay: the formats on the bus, and the optional syslog receiver. */
import { SIEM_FORMATS } from '@bailiff/bus';
import { busShape, type FrameConfig } from '@bailiff/service';
import * as z from 'zod';
import { FACILITIES } from './syslog/message.ts';

export const configSchema = z
  .strictObject({
    ...busShape,
    formats: z
      .array(z.enum(SIEM_FORMATS))
      .min(1)
      .default(['ocsf'])
      .describe('formats of the events on the bus: ocsf, ecs, cef, several separated by commas'),
    startAt: z
      .enum(['all', 'new'])
      .default('all')
      .describe('where the first start begins: with everything in the streams, or with new messages'),
    syslogAddress: z
      .string()
      .regex(/^((\[[0-9a-fA-F:.]+\]|[^:[\]\s]+):\d{1,5})?$/, { error: 'must be host:port, or empty for none' })
      .default('')
      .describe('syslog receiver (RFC 5424, octet counting); empty for none'),
    syslogTransport: z.enum(['tcp', 'tls']).default('tls').describe('tls (RFC 5425) or plain tcp (RFC 6587)'),
    syslogFormat: z
      .enum(SIEM_FORMATS)
      .default('cef')
      .describe('format of the events in syslog; must be one of formats'),
    syslogFacility: z.enum(FACILITIES).default('local0').describe('facility of the messages'),
    syslogCaFile: z
      .string()
      .default('')
      .describe('CA certificates (PEM) that verify the receiver; empty: those of the system'),
    syslogCertFile: z.string().default('').describe('client certificate (PEM) for the receiver'),
    syslogKeyFile: z.string().default('').describe('key of the client certificate (PEM)'),
    syslogServerName: z.string().default('').describe('name in the receiver’s certificate, if it is not the host'),
    syslogConfirmMs: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(5_000)
      .describe('how often a connection is closed to confirm delivery; unconfirmed events are sent again'),
    syslogConfirmTimeoutMs: z
      .number()
      .int()
      .min(100)
      .max(600_000)
      .default(60_000)
      .describe('how long the receiver may take to read everything and close'),
  })
  .refine((config) => config.syslogAddress === '' || config.formats.includes(config.syslogFormat), {
    path: ['syslogFormat'],
    error: 'is not among formats, so there are no such events',
  });

export type RelayConfig = z.output<typeof configSchema> & FrameConfig;
