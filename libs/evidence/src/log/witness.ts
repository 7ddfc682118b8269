/**
 * The decision of a witness about a checkpoint (C2SP tlog-witness, add-checkpoint). Pure: the caller stores the note
 * before it sends the response, and no other request is decided in between.
 */
import type { KeyObject } from 'node:crypto';
import { isBy, openNote, parseNote, signatureLine, type VerifierKey } from '@bailiff/policy/note';
import { EvidenceError } from '../error.ts';
import { type Checkpoint, hashIn, NUMBER, witnessedIn } from './checkpoint.ts';
import { cosign } from './cosignature.ts';
import { EMPTY_ROOT, type TreeHead, verifyConsistency } from './merkle.ts';

/** Above any proof, and a checkpoint with 16 signatures of any type. */
export const MAX_REQUEST_BYTES = 128 * 1024;
export const MAX_PROOF_LINES = 63;
export const SIZE_TYPE = 'text/x.tlog.size';

/** What a witness knows of a log. */
export interface WitnessedLog {
  keys: readonly VerifierKey[];
  /** The newest checkpoint that it cosigned; null: none. */
  last: TreeHead | null;
}

export interface Witness {
  name: string;
  key: KeyObject;
  /** @returns null: no log of this origin is configured */
  logOf: (origin: string) => WitnessedLog | null;
}

export type Decision =
  /** To be stored, then answered with the line. */
  | { status: 200; line: string; note: string; head: Checkpoint }
  | { status: 409; size: number; why: string }
  /** isFork: the log signed two heads of one size. Otherwise anyone may have sent its head without the proof. */
  | { status: 422; isFork: boolean; why: string }
  | { status: 400 | 403 | 404; why: string };

interface Request {
  old: number;
  proof: Buffer[];
  note: string;
}

function parseRequest(body: string): Request | null {
  const end = body.indexOf('\n\n');
  const [first = '', ...lines] = end < 0 ? [] : body.slice(0, end).split('\n');
  const old = first.replace(/^old /, '');
  const proof = lines.map(hashIn);
  if (!first.startsWith('old ') || !NUMBER.test(old) || proof.includes(null) || proof.length > MAX_PROOF_LINES)
    return null;
  return { old: Number(old), proof: proof as Buffer[], note: body.slice(end + 2) };
}

/** The body of a request. @param proof from the old size to that of the note */
export const formatRequest = (old: number, proof: readonly Uint8Array[], note: string): string =>
  `${[`old ${old}`, ...proof.map((hash) => Buffer.from(hash).toString('base64'))].join('\n')}\n\n${note}`;

function headIn(note: string): Checkpoint | null {
  const parsed = parseNote(note);
  try {
    return parsed && witnessedIn(parsed.text);
  } catch (error) {
    if (error instanceof EvidenceError) return null;
    throw error;
  }
}

/** @param seconds since 1970 */
export function addCheckpoint(body: string, witness: Witness, seconds: number): Decision {
  const request = parseRequest(body);
  const head = request && headIn(request.note);
  if (!request || !head) return { status: 400, why: 'not an old size, a proof and a checkpoint' };
  const { old, proof, note } = request;
  const log = witness.logOf(head.origin);
  if (!log) return { status: 404, why: 'no such log is configured here' };
  const text = openNote(note, log.keys);
  if (text === null) return { status: 403, why: 'no key of the log signed it' };
  if (old > head.size) return { status: 400, why: 'the old size is above that of the checkpoint' };
  const last = log.last ?? { size: 0, root: EMPTY_ROOT };
  if (old !== last.size) return { status: 409, size: last.size, why: `the last size is ${last.size}` };
  if (old === head.size && Buffer.compare(last.root, head.root) !== 0)
    return { status: 422, isFork: log.last !== null, why: `${head.origin} signed two heads of size ${old}` };
  if (!verifyConsistency(last, head, proof))
    return { status: 422, isFork: false, why: `no proof shows that size ${head.size} continues size ${old}` };
  const line = cosign(text, witness.name, witness.key, seconds);
  const own = parseNote(note)?.signatures.filter((signature) => log.keys.some((key) => isBy(signature, key))) ?? [];
  const signed = own.map((signature) => signatureLine(signature, signature.bytes));
  return { status: 200, line, note: `${text}\n${signed.join('')}${line}`, head };
}
