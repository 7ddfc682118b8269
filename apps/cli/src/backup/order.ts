/**
 * In which order streams are copied out and back. Pure.
 *
 * A running bus is not copied at one moment, so the copies are ordered: what was derived comes
 * before what it was derived from. A correlator that starts on a restored bus then publishes a
 * missing verdict again under the same id, and a responder finds the record of everything that it
 * did. Copied back, a stream comes before its readers act on it: pods before violations (no node is
 * accused of pods that its list lacks), responses before verdicts (nothing is done twice).
 */
import { latestStream, streamConfigs } from '@bailiff/bus';

const all = streamConfigs().map(({ name }) => name);
/** Copies that the server makes of a bucket. */
const LATEST = all.filter((name) => name.startsWith(latestStream('')));

const COPY_FIRST = [
  // A copy that lacks the newest revisions continues; one that is ahead of its bucket does not.
  ...LATEST,
  'CONFIG_LOG',
  // A position that is too old repeats events, which have the same ids.
  'KV_bailiff_siem',
  'VERDICTS',
  'VIOLATIONS',
  // The responder writes the list before the record.
  'KV_bailiff_quarantine',
  'RESPONSES',
  'SIEM',
  'DEAD_LETTERS',
];

/** The others first: what the streams below refer to. A copy comes after its bucket. */
const RESTORE_LAST = [...LATEST, 'CONFIG_LOG', 'DEAD_LETTERS', 'SIEM', 'RESPONSES', 'VERDICTS', 'VIOLATIONS'];

export const COPY_ORDER: readonly string[] = [...COPY_FIRST, ...all.filter((name) => !COPY_FIRST.includes(name))];
export const RESTORE_ORDER: readonly string[] = [
  ...all.filter((name) => !RESTORE_LAST.includes(name)),
  ...RESTORE_LAST,
];
