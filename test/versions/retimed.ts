/**
 * A recording as if its version had written it a moment ago.
 *
 * Services compare ends with the present: the end of a label, a quarantine or a disarm, and the due
 * time of a job in Redis. These move by the age of the recording, so that the outcome of a test does
 * not depend on its date. All other times stay: verdict and response ids derive from event times,
 * and the messages of a test's bus have the server's time.
 */
import { schemaKey } from '@bailiff/bus';
import { fingerprintIn, type Response } from '@bailiff/schemas';
import { headOf } from '@bailiff/schemas/testing';
import avro from 'avsc';
import type { Redis } from 'ioredis';
import { ofStream, plain } from './readers.ts';
import { REDIS, type RecordedMessage } from './recording.ts';

/** Streams whose JSON documents have an end. */
const WITH_END = ['KV_bailiff_config', 'CONFIG_LOG', 'KV_bailiff_quarantine'];
const ISO_TIME = /"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"/g;
/** BullMQ's score of a delayed job: due time in milliseconds times this, plus a counter. */
const SCORE_PER_MS = 0x1000;

/** Time from the newest message to the present. */
export function ageMsOf(messages: readonly RecordedMessage[], nowMs = Date.now()): number {
  return nowMs - Math.floor(Math.max(...messages.map(({ timestampMicros }) => timestampMicros)) / 1000);
}

/** The messages with their ends moved. restoreJobs() moves those of Redis. */
export function retimed(messages: readonly RecordedMessage[], ageMs = ageMsOf(messages)): RecordedMessage[] {
  return messages.map((message) => {
    if (message.stream === 'RESPONSES') return laterResponse(messages, message, ageMs);
    if (!WITH_END.includes(message.stream)) return message;
    const data = Buffer.from(laterText(message.data.toString('utf8'), ageMs));
    return { ...message, data, value: JSON.parse(laterText(JSON.stringify(message.value), ageMs)) as unknown };
  });
}

/** Restores the keys of a recording, with the due times of their jobs moved. */
export async function restoreJobs(redis: Redis, messages: readonly RecordedMessage[]): Promise<void> {
  const ageMs = ageMsOf(messages);
  for (const { subject, data } of ofStream(messages, REDIS)) {
    // A lock with an end, which Redis' DUMP does not contain.
    const lifeMs = subject.endsWith(':stalled-check') ? 1 : 0;
    await redis.restore(subject, lifeMs, data);
    if (!subject.endsWith(':delayed')) continue;
    for (const job of await redis.zrange(subject, 0, '-1'))
      await redis.zincrby(subject, String(ageMs * SCORE_PER_MS), job);
  }
}

const laterText = (json: string, ageMs: number) =>
  json.replaceAll(ISO_TIME, (time) => JSON.stringify(new Date(Date.parse(time.slice(1, -1)) + ageMs).toISOString()));

/** Encodes a response again, by the schema of its writer. Its id does not depend on times. */
function laterResponse(messages: readonly RecordedMessage[], message: RecordedMessage, ageMs: number): RecordedMessage {
  const fingerprint = fingerprintIn(message.data);
  const key = `.${schemaKey(fingerprint)}`;
  const stored = ofStream(messages, 'KV_bailiff_schemas').find(({ subject }) => subject.endsWith(key));
  const options = { wrapUnions: 'never' } as Partial<avro.ForSchemaOptions>;
  const type = avro.Type.forSchema(JSON.parse(stored?.data.toString('utf8') ?? '') as avro.Schema, options);
  const head = headOf(fingerprint);
  const value = type.fromBuffer(message.data.subarray(head.length)) as Pick<Response, 'expiresAt'>;
  if (value.expiresAt === null) return message;
  const later = { ...value, expiresAt: value.expiresAt + ageMs * 1000 };
  return { ...message, data: Buffer.concat([head, type.toBuffer(later)]), value: plain(later) };
}
