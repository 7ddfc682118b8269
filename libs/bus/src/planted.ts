/**
 * Messages in a stream that no client wrote: answers of the server that were sent there.
 *
 * nats-server checks where a client publishes, and not which subject it names for the answer. Whoever may ask JetStream for a message can
 * therefore have it delivered to any subject, and the stream that has that subject stores it: a collector could put frames under another
 * node's name, or an entry under another's key. What it cannot do is take away the headers by which a direct get names its source, so a stored message
 * that has them was written by nobody of ours, and is not believed. An answer to anything else (a stream's state, an acknowledgement) is neither
 * a frame nor a value that any schema takes.
 */
import type { Msg, MsgHdrs } from '@nats-io/nats-core';

/** Set by the server on every answer to a direct get, behind what the message was stored with. */
const SOURCE = 'Nats-Stream';

/** Of a message as a consumer delivers it, with its stored headers alone. */
export function isPlanted(headers: MsgHdrs | undefined): boolean {
  return headers?.has(SOURCE) ?? false;
}

/** Of a message within an answer or a push, to which the server adds such headers itself. */
export function isPlantedWithin(headers: MsgHdrs | undefined): boolean {
  return (headers?.values(SOURCE).length ?? 0) > 1;
}

const NOTHING = new Uint8Array();

/** What readers get of a message. What was planted has no content: whatever reads it refuses it, and goes on behind it. */
export function contentOf(message: Msg, planted: boolean) {
  if (planted) return { headers: undefined, data: NOTHING, planted };
  return { headers: message.headers, data: message.data, planted };
}
