/**
 * A capture as it is asked for and answered between responder and collector: JSON over request and reply. Both sides check it, the
 * responder because a node may be in other hands: what does not keep to the shape and its bounds is refused whole.
 */
import * as z from 'zod';
import type { PodCapture } from './types.gen.ts';

/** Of a capture as JSON: what a record on the bus can carry beside the rest, many times below the largest message. */
export const MAX_CAPTURE_BYTES = 64 * 1024;
export const MAX_CAPTURE_PROCESSES = 256;
export const MAX_CAPTURE_SOCKETS = 256;
/** Of the evidence of one verdict: its processes are told first. */
export const MAX_CAPTURE_FIRST = 32;

export const captureRequest = z.strictObject({
  podUid: z.string().min(1).max(64),
  arguments: z.enum(['none', 'redacted', 'full']),
  /** Processes of the evidence, by their pids on the node. */
  first: z.array(z.number().int().positive()).max(MAX_CAPTURE_FIRST),
});
export type CaptureRequest = z.infer<typeof captureRequest>;

/** Why a collector has nothing to tell. */
export const CAPTURE_REFUSALS = ['bad-request', 'no-cgroups', 'no-such-pod', 'too-soon', 'busy', 'unreadable'] as const;
export type CaptureRefusal = (typeof CAPTURE_REFUSALS)[number];

const text = z.string().max(4096);
const id = z.number().int().nonnegative();
const process = z.strictObject({
  pid: id,
  parentPid: id,
  startedAt: id,
  uid: id,
  container: text,
  comm: text,
  executable: text,
  args: z.array(text).max(256),
  argsCut: z.boolean(),
});
const socket = z.strictObject({
  protocol: text,
  local: text,
  remote: text,
  state: text,
  pids: z.array(id).max(MAX_CAPTURE_PROCESSES),
});
const capture = z.strictObject({
  takenAt: id,
  arguments: text,
  processes: z.array(process).max(MAX_CAPTURE_PROCESSES),
  processesOmitted: id,
  sockets: z.array(socket).max(MAX_CAPTURE_SOCKETS),
  socketsOmitted: id,
}) satisfies z.ZodType<PodCapture>;

const answer = z.union([
  z.strictObject({ capture }),
  z.strictObject({ refused: z.enum(CAPTURE_REFUSALS), reason: text }),
]);
export type CaptureAnswer = z.infer<typeof answer>;

/** @throws Error with the place: too long, no JSON, or not of this shape */
export function parseCaptureAnswer(bytes: Uint8Array): CaptureAnswer {
  if (bytes.length > MAX_CAPTURE_BYTES) throw new Error(`${bytes.length} bytes are more than ${MAX_CAPTURE_BYTES}`);
  const result = answer.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  if (result.success) return result.data;
  throw new Error(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '));
}
