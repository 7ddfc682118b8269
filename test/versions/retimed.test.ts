/** Recordings do not expire: at any date, each end in a retimed recording is as far away as it was. */
import type { Response } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { ofStream, readerOf } from './readers.ts';
import { type RecordedMessage, readMessages, recordedVersions } from './recording.ts';
import { ageMsOf, retimed } from './retimed.ts';

const DAY_MS = 86_400_000;
/** Times in documents and Avro fields, as ISO 8601, microseconds or milliseconds of this century. */
const TIMES = /\d{4}-\d\d-\d\dT[\d:.]+Z|\b[1-4]\d{15}\b|\b[1-4]\d{12}\b/g;

const msOf = (time: string) => (time.includes('T') ? Date.parse(time) : Number(time.slice(0, 13)));
const timesOf = ({ data, value, headers }: RecordedMessage) =>
  [data.toString('latin1'), JSON.stringify([value, headers])].flatMap((text) => (text.match(TIMES) ?? []).map(msOf));
/**
 * Subjects with times after the newest message, and how long after. No program of Bailiff reads
 * SIEM's events.
 */
function endsOf(messages: readonly RecordedMessage[], nowMs: number): string[] {
  const read = messages.filter(({ stream }) => stream !== 'SIEM');
  const ends = read.flatMap((message) =>
    timesOf(message).flatMap((ms) => (ms > nowMs ? [`${message.stream} ${message.subject} ${ms - nowMs}`] : [])),
  );
  return [...new Set(ends)].sort();
}

describe.each(recordedVersions())('ends in %s', (version) => {
  const messages = readMessages(version);
  const recordedMs = -ageMsOf(messages, 0);
  const ends = endsOf(messages, recordedMs);

  it('a recording has ends of labels, quarantines and disarms', () => {
    const streams = new Set(ends.map((end) => end.split(' ', 1)[0]));
    expect([...streams].sort()).toEqual(['CONFIG_LOG', 'KV_bailiff_config', 'KV_bailiff_quarantine', 'RESPONSES']);
  });

  it.each([0, 1, 40, 400, 4_000])('after %d days each end is as far away as it was', (days) => {
    const nowMs = recordedMs + days * DAY_MS;
    expect(endsOf(retimed(messages, ageMsOf(messages, nowMs)), nowMs)).toEqual(ends);
    if (days >= 1) expect(endsOf(messages, nowMs), 'control').not.toEqual(ends);
  });

  it('all other fields are read as they were', async () => {
    const later = retimed(messages, DAY_MS);
    const read = readerOf(later);
    const responses = ofStream(messages, 'RESPONSES').map(({ value }) => value as Response);
    // Later versions may add fields.
    expect(await Promise.all(ofStream(later, 'RESPONSES').map(read))).toMatchObject(
      responses.map(({ expiresAt, ...same }) => {
        return { ...same, expiresAt: expiresAt === null ? null : expiresAt + DAY_MS * 1000 };
      }),
    );
    const withEnds = new Set(ends.map((end) => end.split(' ', 1)[0]));
    for (const [index, message] of later.entries())
      if (!withEnds.has(message.stream)) expect(message).toEqual(messages[index]);
  });
});
