/**
 * What the responder puts under `bailiff_quarantine/<node>`: the node's whole list. A collector puts it into kernel maps.
 *
 * The schema is what writers must keep to. Who enforces a list reads it with `readQuarantineList`, for which one bad entry neither lifts
 * nor hides the others. Addresses, prefixes and MACs in pods.ts are plain strings for the same reason: who enforces drops the bad one.
 */
import * as z from 'zod';
import { filled, list, text } from './limited.ts';

const isoTime = z.iso.datetime({ offset: true });

/** An ISO 8601 time with its zone, or '' = until it is lifted. */
export const quarantineUntil = text('word').refine((until) => until === '' || isoTime.safeParse(until).success, {
  error: "neither an ISO time nor ''",
});

export const quarantineEntry = z.object({
  podUid: filled('uid'),
  podNamespace: text('name'),
  podName: text('name'),
  verdictId: text('uid'),
  /** ISO time, at which the kernel ends the quarantine by itself; '' = until it is lifted. */
  until: quarantineUntil,
  reason: text('reason'),
});
export type QuarantineEntry = z.infer<typeof quarantineEntry>;

/** A person ended what this verdict had put the pod in for: an entry of it is not put again, whoever still believes that one is owed. */
export const quarantineRelease = z.object({
  podUid: filled('uid'),
  verdictId: filled('uid'),
  /** When the quarantine would have ended, and so the release need not be known any more. */
  until: quarantineUntil,
});
export type QuarantineRelease = z.infer<typeof quarantineRelease>;

export const quarantineList = z.object({
  nodeName: text('name'),
  revision: z.number().int().nonnegative(),
  entries: list('quarantined', quarantineEntry),
  /** Of no meaning for who enforces. Absent: none, or written by a version that did not tell. */
  released: list('quarantined', quarantineRelease).optional(),
});
export type QuarantineList = z.infer<typeof quarantineList>;

/** When an entry ends, as Date.now() counts; Infinity = when it is lifted. */
export function quarantineEndMs({ until }: Pick<QuarantineEntry, 'until'>): number {
  return until === '' ? Number.POSITIVE_INFINITY : Date.parse(until);
}

/** `problems`: what could not be read, each with its place; empty for a list that keeps to the schema. */
export interface QuarantineReading extends QuarantineList {
  problems: string[];
}

/** Text that is no list at all cannot be read. What is not known of an entry beside its pod is '', and an `until` that is '' is for ever. */
const tolerantEntry = quarantineEntry.extend({
  podNamespace: quarantineEntry.shape.podNamespace.catch(''),
  podName: quarantineEntry.shape.podName.catch(''),
  verdictId: quarantineEntry.shape.verdictId.catch(''),
  until: quarantineUntil.catch(''),
  reason: quarantineEntry.shape.reason.catch(''),
});
const envelope = quarantineList.extend({
  entries: list('quarantined', z.unknown()),
  // What nobody enforces must not make a list unreadable.
  released: quarantineList.shape.released.catch(undefined),
});

/**
 * Reads a list as far as it can be read. An entry whose `until` is no time is kept for ever rather than lifted; one without a pod's uid
 * means nobody and is left out; both are in `problems`. @throws Error with the place: no JSON, no node, no revision, no entries
 */
export function readQuarantineList(json: string): QuarantineReading {
  const { nodeName, revision, entries, released } = parseEnvelope(json);
  const reading: QuarantineReading = { nodeName, revision, entries: [], problems: [] };
  if (released !== undefined) reading.released = released;
  entries.forEach((raw, index) => {
    const strict = quarantineEntry.safeParse(raw);
    if (!strict.success) {
      for (const issue of strict.error.issues) reading.problems.push(`${place(['entries', index], issue)}`);
    }
    const entry = strict.success ? strict : tolerantEntry.safeParse(raw);
    if (entry.success) reading.entries.push(entry.data);
  });
  return reading;
}

function parseEnvelope(json: string): z.infer<typeof envelope> {
  let raw: unknown;
  try {
    raw = JSON.parse(json);
  } catch (cause) {
    throw new Error(`not JSON: ${(cause as Error).message}`, { cause });
  }
  const result = envelope.safeParse(raw);
  if (result.success) return result.data;
  throw new Error(result.error.issues.map((issue) => place([], issue)).join('; '), { cause: result.error });
}

const place = (before: PropertyKey[], { path, message }: { path: PropertyKey[]; message: string }): string =>
  `${[...before, ...path].map(String).join('.')}: ${message}`;
