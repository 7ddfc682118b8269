/**
 * Request and reply of a pod capture between responder and collector, as JSON. Both sides validate
 * them: a node may be compromised, so the responder rejects a reply of another shape or size as a
 * whole. It also rejects one that no response can hold: a response that cannot be encoded would
 * never end its task.
 */
import type avro from 'avsc';
import * as z from 'zod';
import { CURRENT } from '../codec/registry.ts';
import type { PodCapture } from '../generated/types.gen.ts';
import { filled, list, text } from './limited.ts';

/** Size of a capture as JSON. A response contains it beside its other fields. */
export const MAX_CAPTURE_BYTES = 64 * 1024;
export const MAX_CAPTURE_PROCESSES = 256;
export const MAX_CAPTURE_SOCKETS = 256;
/** Processes of the evidence, which a capture lists first. */
export const MAX_CAPTURE_FIRST = 32;

export const captureRequest = z.strictObject({
  podUid: filled('uid'),
  arguments: z.enum(['none', 'redacted', 'full']),
  /** Processes of the evidence, by their pids on the node. */
  first: z.array(z.number().int().positive()).max(MAX_CAPTURE_FIRST),
});
export type CaptureRequest = z.infer<typeof captureRequest>;

/** Why a collector has no capture. */
export const CAPTURE_REFUSALS = ['bad-request', 'no-cgroups', 'no-such-pod', 'too-soon', 'busy', 'unreadable'] as const;
export type CaptureRefusal = (typeof CAPTURE_REFUSALS)[number];

const id = z.number().int().nonnegative();
const process = z.strictObject({
  pid: id,
  parentPid: id,
  startedAt: id,
  uid: id,
  container: text('name'),
  comm: text('word'),
  executable: text('sentence'),
  args: list('captured', text('sentence')),
  argsCut: z.boolean(),
});
const socket = z.strictObject({
  protocol: text('word'),
  local: text('sentence'),
  remote: text('sentence'),
  state: text('word'),
  pids: list('captured', id),
});
const capture = z.strictObject({
  takenAt: id,
  arguments: text('word'),
  processes: list('captured', process),
  processesOmitted: id,
  sockets: list('captured', socket),
  socketsOmitted: id,
}) satisfies z.ZodType<PodCapture>;

export const captureAnswer = z.union([
  z.strictObject({ capture }),
  z.strictObject({ refused: z.enum(CAPTURE_REFUSALS), reason: text('reason') }),
]);
export type CaptureAnswer = z.infer<typeof captureAnswer>;

const captureType = () => (CURRENT.Response.type as avro.types.RecordType).field('capture').type;

/** @throws Error with the path: too long, not JSON, of another shape, or not part of a response */
export function parseCaptureAnswer(bytes: Uint8Array): CaptureAnswer {
  if (bytes.length > MAX_CAPTURE_BYTES) throw new Error(`${bytes.length} bytes exceed ${MAX_CAPTURE_BYTES}`);
  const result = captureAnswer.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  // The limits of texts count units in JSON and bytes in a response, whose numbers are smaller too.
  if (result.success && 'capture' in result.data) captureType().toBuffer(result.data.capture);
  if (result.success) return result.data;
  throw new Error(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
}
