/** Headers of an acknowledged publish, and the acknowledgement. */
import { type MsgHdrs, headers as makeHeaders } from '@nats-io/nats-core';

export interface PublishOptions {
  msgId: string;
  headers?: Readonly<Record<string, string>>;
}

/** JetStream's response to a publish. */
export interface PubAck {
  seq: number;
  duplicate?: boolean;
  error?: { code: number; err_code: number; description: string };
}

export function headersOf(options: PublishOptions): MsgHdrs {
  const result = makeHeaders();
  // Each name occurs once, so `append` suffices. `set` would search for and remove earlier values.
  result.append('Nats-Msg-Id', options.msgId);
  for (const [name, value] of Object.entries(options.headers ?? {})) result.append(name, value);
  return result;
}
