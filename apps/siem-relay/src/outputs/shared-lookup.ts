/**
 * Looks up the names of receivers. A look-up blocks a thread of the process until it ends, even if its
 * attempt has given up: a minute if no name server responds. Attempts therefore share the running
 * look-up of a name, so a name blocks one thread at a time. Half of the threads may look up names
 * (UV_THREADPOOL_SIZE); the image sets more than there are outputs.
 */
import dns from 'node:dns';
import type { LookupFunction } from 'node:net';

type Found = (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void;

/** Attempts that wait, by name and options. Bound: outputs, and their attempts during one look-up. */
const waiting = new Map<string, Found[]>();

export function lookupAll(hostname: string, { family, hints }: dns.LookupOptions, found: Found): void {
  const key = JSON.stringify([hostname, family, hints]);
  const others = waiting.get(key);
  if (others) {
    others.push(found);
    return;
  }
  const all = [found];
  waiting.set(key, all);
  dns.lookup(hostname, { family, hints, all: true } as dns.LookupAllOptions, (error, addresses) => {
    waiting.delete(key);
    for (const one of all) one(error, addresses ?? []);
  });
}

/** Calls back with one address or all, as the options of a socket's look-up ask. */
export const respond = (
  addresses: readonly dns.LookupAddress[],
  { all }: dns.LookupOptions,
  callback: Parameters<LookupFunction>[2],
): void => {
  const [first] = addresses;
  if (all) callback(null, [...addresses], 0);
  else callback(null, first?.address ?? '', first?.family ?? 0);
};

/** `lookup` of a socket. */
export const sharedLookup: LookupFunction = (hostname, options, callback) => {
  lookupAll(hostname, options, (error, addresses) => {
    if (error) callback(error, [], 0);
    else respond(addresses, options, callback);
  });
};
