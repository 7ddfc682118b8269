/**
 * Look-ups of the names of receivers. A look-up takes a thread of the process until it ends, a minute
 * if no name server responds, also when the attempt that needed it has given up. So attempts share the
 * look-up of a name that is under way: a name takes one thread, however often it is tried. The image
 * sets the number of threads (UV_THREADPOOL_SIZE), half of which may look up names: more than outputs.
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

/** Responds as a socket expects it. */
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
