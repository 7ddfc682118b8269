/**
 * Lives of a stream that was restored from a backup. The server goes on with the sequences of the backup, so
 * that a sequence can be that of a lost message. `bailiff restore` writes the place into the metadata of the stream:
 * what is stored beyond the restored messages belongs to a life of its own. The creation time is in the metadata too,
 * because nats-server 2.15 renews it at a restore, and in a cluster each server has one of its own for a restored
 * stream (2.10, too). A restore by other tools begins no life, unless that time changes. Pure. Limit:
 * MAX_RESTORES, the newest.
 *
 * A snapshot also has messages that were stored while it was taken, beyond its state. Until the server has
 * counted them, the place is not known: the stream has a subject that nobody publishes to, and no reader opens it.
 */
import type { StreamInfo } from '@nats-io/jetstream';
import * as z from 'zod';
import { microsOf } from '../connection/server-clock.ts';
import { ROOT } from '../topology/subjects.ts';

const CREATED = 'bailiff.dev/created';
const METADATA = 'bailiff.dev/restores';
const MAX_RESTORES = 64;
/** Last restored sequence, and the time of the restore in milliseconds, by time. */
const restores = z.array(z.tuple([z.number().int().nonnegative(), z.number().int().positive()]));

export type Lives = Pick<StreamInfo, 'created'> & { config: Pick<StreamInfo['config'], 'metadata'> };

function restoresOf({ metadata }: Lives['config']): [last: number, atMs: number][] {
  try {
    return restores.parse(JSON.parse(metadata?.[METADATA] ?? '[]'));
  } catch {
    return [];
  }
}

/** The subjects of a stream whose last restored message is not known yet. */
export const subjectsOfRestoring = (stream: string): string[] => [`${ROOT}.restoring.${stream}`];

export const isRestoring = ({ name, subjects }: Pick<StreamInfo['config'], 'name' | 'subjects'>): boolean =>
  subjects?.[0] === subjectsOfRestoring(name)[0];

const createdOf = ({ created, config }: Lives): string => config.metadata?.[CREATED] ?? created;

/** When a stream was created, also before a restore: microseconds since 1970. */
export const createdMicrosOf = (stream: Lives): number => microsOf(createdOf(stream));

/** When the life of a sequence began, milliseconds since 1970: its creation or restore. */
export function lifeOf(stream: Lives, sequence: number): number {
  const restored = restoresOf(stream.config).findLast(([last]) => last < sequence);
  return restored?.[1] ?? Math.floor(createdMicrosOf(stream) / 1000);
}

/** Name of the newest life, for a reader that stores its position. */
export function lifeName(stream: Lives): string {
  const created = createdOf(stream);
  const restored = restoresOf(stream.config).at(-1);
  return restored ? `${created} restored ${restored[1]}` : created;
}

/** The metadata of a copy for a backup. */
export const metadataOfCopy = (stream: Lives): Record<string, string> => ({
  ...stream.config.metadata,
  [CREATED]: createdOf(stream),
});

/** The metadata of a stream that is restored now. */
export function metadataOfRestored(
  config: Lives['config'],
  lastSequence: number,
  nowMs: number,
): Record<string, string> {
  // A former one that ended behind this one has no message any more.
  const former = restoresOf(config).filter(([last]) => last < lastSequence);
  const all = [...former, [lastSequence, nowMs]].slice(-MAX_RESTORES);
  return { ...config.metadata, [METADATA]: JSON.stringify(all) };
}
