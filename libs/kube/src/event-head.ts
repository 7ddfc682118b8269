/**
 * The head of a watch event: its type, and the identity of its object. It is read without parsing the
 * event. Pure.
 */

/** A longer event is read by its head alone (large-objects.ts). Ordinary pods have 5 to 20 KiB. */
export const LARGE_EVENT_BYTES = 256 * 1024;

/** What identifies the object of an event. */
export interface EventHead {
  type: string;
  /** Empty: the object has none. */
  namespace: string;
  name: string;
  uid: string;
  resourceVersion: string;
}

/**
 * The first fields in the order in which API servers write them. Tenants write none before the UID but
 * the name, whose characters are limited.
 */
const HEAD = new RegExp(
  [
    '^{"type":"(?<type>[A-Z]+)","object":{"kind":"[A-Za-z]+","apiVersion":"[a-z0-9./]+"',
    ',"metadata":{"name":"(?<name>[a-z0-9.:-]+)"(?:,"generateName":"[a-z0-9.-]*")?',
    '(?:,"namespace":"(?<namespace>[a-z0-9-]+)")?',
    ',"uid":"(?<uid>[^"\\\\]+)","resourceVersion":"(?<resourceVersion>[0-9]+)"',
  ].join(''),
);
/** Longer than every head. */
const HEAD_BYTES = 4_096;

/** null: the fields are in another order, and the event has to be parsed. */
export function headOf(event: Buffer): EventHead | null {
  const found = HEAD.exec(event.toString('latin1', 0, HEAD_BYTES))?.groups;
  if (!found) return null;
  const { type = '', namespace = '', name = '', uid = '', resourceVersion = '' } = found;
  return { type, namespace, name, uid, resourceVersion };
}
