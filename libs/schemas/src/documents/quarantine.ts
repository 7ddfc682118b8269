/**
 * The quarantine list of a node, which the responder writes under `bailiff_quarantine/<node>`. A
 * collector writes it into kernel maps.
 *
 * Writers must satisfy the schema. Collectors read with `readQuarantineList`: an invalid entry does not
 * affect the others. For the same reason, addresses, prefixes and MACs in pods.ts are plain strings.
 */
import * as z from 'zod';
import { filled, list, text } from './limited.ts';

const isoTime = z.iso.datetime({ offset: true });

/** An ISO 8601 time with zone; '' = until it is lifted. */
export const quarantineUntil = text('word').refine((until) => until === '' || isoTime.safeParse(until).success, {
  error: "neither an ISO time nor ''",
});

export const quarantineEntry = z.object({
  podUid: filled('uid'),
  podNamespace: text('name'),
  podName: text('name'),
  verdictId: text('uid'),
  /** ISO time at which the kernel ends the quarantine; '' = until it is lifted. */
  until: quarantineUntil,
  reason: text('reason'),
});
export type QuarantineEntry = z.infer<typeof quarantineEntry>;

/** A person ended the quarantine of a verdict. No component adds an entry of this verdict again. */
export const quarantineRelease = z.object({
  podUid: filled('uid'),
  verdictId: filled('uid'),
  /** When the quarantine would have ended. The release expires then. */
  until: quarantineUntil,
});

export const quarantineList = z.object({
  nodeName: text('name'),
  revision: z.number().int().nonnegative(),
  entries: list('quarantined', quarantineEntry),
  /** Not used for enforcement. Absent: none, or written by an older version. */
  released: list('quarantined', quarantineRelease).optional(),
});
export type QuarantineList = z.infer<typeof quarantineList>;

/** End of an entry in Date.now() milliseconds; Infinity = until it is lifted. */
export function quarantineEndMs({ until }: Pick<QuarantineEntry, 'until'>): number {
  return until === '' ? Number.POSITIVE_INFINITY : Date.parse(until);
}

/** `problems`: invalid parts with their paths; empty for a valid list. */
export interface QuarantineReading extends QuarantineList {
  problems: string[];
}

/** Lenient schema: missing fields of an entry, except its pod, become ''. An `until` of '' never ends. */
const tolerantEntry = quarantineEntry.extend({
  podNamespace: quarantineEntry.shape.podNamespace.catch(''),
  podName: quarantineEntry.shape.podName.catch(''),
  verdictId: quarantineEntry.shape.verdictId.catch(''),
  until: quarantineUntil.catch(''),
  reason: quarantineEntry.shape.reason.catch(''),
});
const envelope = quarantineList.extend({
  entries: list('quarantined', z.unknown()),
  // A field without effect on enforcement must not make a list unreadable.
  released: quarantineList.shape.released.catch(undefined),
});

/**
 * Reads the valid part of a list. An entry with an invalid `until` stays until it is lifted. One without
 * a pod uid is omitted. Both are in `problems`.
 * @throws Error with the path: not JSON, or without node, revision or entries
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
