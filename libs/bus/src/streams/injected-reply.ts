/**
 * Detects messages that no Bailiff client stored: injected replies, and messages with a header block
 * that cannot be read.
 *
 * An injected reply is a server response stored in a stream because a request named its subject as
 * the reply subject. Accounts (accounts.ts) keep clients outside the core account from injecting.
 * What remains are identities inside it, and messages from before the accounts. An injected reply
 * has the source headers of a direct get, a status line such as `404 No Messages`, or neither
 * headers nor data (2.14 and later). Other responses are JSON that matches no schema. Readers get
 * such a message without content, refuse it and continue.
 */
import type { Incoming } from '../connection/incoming.ts';

/** The server appends it to direct gets and pushes, after the headers of the stored message. */
const SOURCE = 'Nats-Stream';

/**
 * Whether a message was not stored by a Bailiff client. `appended`: the server added its own headers, as it does
 * for direct gets and pushes but not for consumer deliveries.
 */
export function isInjectedReply({ headers, data }: Pick<Incoming, 'headers' | 'data'>, appended: boolean): boolean {
  if (!headers) return data.length === 0;
  if (!headers.isReadable || headers.code !== 0 || headers.occurrences(SOURCE) > (appended ? 1 : 0)) return true;
  // A headers-only consumer receives the size. A deleted key has an operation and no value.
  const isEmpty = data.length === 0 && Number(headers.get('Nats-Msg-Size')) === 0;
  return isEmpty && !headers.has('KV-Operation');
}

const NOTHING = new Uint8Array();

/** The part of a message that readers get. */
export function contentOf(message: Pick<Incoming, 'headers' | 'data'>, appended: boolean) {
  if (isInjectedReply(message, appended)) return { headers: undefined, data: NOTHING, injected: true };
  return { headers: message.headers, data: message.data, injected: false };
}
