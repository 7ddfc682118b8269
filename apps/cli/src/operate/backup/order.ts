/**
 * Order in which streams are backed up and restored. Pure.
 *
 * The streams of a running bus are copied one after the other. A derived stream is copied before its
 * source, so a correlator on a restored bus publishes a missing verdict again under the same id, and
 * a responder finds a record of each of its actions. A restore creates a stream before the streams
 * whose readers need it: pods before violations (otherwise the reports of nodes on their pods are
 * refused), responses before verdicts (otherwise actions are repeated).
 */
import { latestStream, streamConfigs } from '@bailiff/bus';

const all = streamConfigs().map(({ name }) => name);
/** Copies that the server makes of buckets, for nodes. */
const LATEST = all.filter((name) => name.startsWith(latestStream('')));

const COPY_FIRST = [
  // The server completes a copy that lacks revisions, but not one that is ahead of its bucket.
  ...LATEST,
  'CONFIG_LOG',
  // An old position only repeats events, with the same ids.
  'KV_bailiff_siem',
  'VERDICTS',
  'VIOLATIONS',
  // The responder writes the list before the record.
  'KV_bailiff_quarantine',
  'RESPONSES',
  'SIEM',
  'DEAD_LETTERS',
];

/** Other streams come first, because these refer to them. A copy comes after its bucket. */
const RESTORE_LAST = [...LATEST, 'CONFIG_LOG', 'DEAD_LETTERS', 'SIEM', 'RESPONSES', 'VERDICTS', 'VIOLATIONS'];

export const COPY_ORDER: readonly string[] = [...COPY_FIRST, ...all.filter((name) => !COPY_FIRST.includes(name))];
export const RESTORE_ORDER: readonly string[] = [
  ...all.filter((name) => !RESTORE_LAST.includes(name)),
  ...RESTORE_LAST,
];
