/** What a publish with acknowledgement is made of: the headers that go with it, and the answer. */
import { type MsgHdrs, headers as makeHeaders } from '@nats-io/nats-core';

export interface PublishOptions {
  msgId: string;
  headers?: Readonly<Record<string, string>>;
}

/** JetStream's answer to a publish. */
export interface PubAck {
  seq: number;
  duplicate?: boolean;
  error?: { code: number; err_code: number; description: string };
}

export function headersOf(options: PublishOptions): MsgHdrs {
  const result = makeHeaders();
  // Each name comes once, so nothing has to be looked for and taken out first, as `set` does.
  result.append('Nats-Msg-Id', options.msgId);
  for (const [name, value] of Object.entries(options.headers ?? {})) result.append(name, value);
  return result;
}
