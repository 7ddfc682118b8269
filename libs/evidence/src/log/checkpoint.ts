/**
 * Heads of a log (C2SP tlog-checkpoint), and proofs that a log contains an entry (C2SP tlog-proof). Pure.
 *
 * Both are text. A parser accepts only what the formatter writes, so one value has one form.
 */
import type { KeyObject } from 'node:crypto';
import { signNote } from '@bailiff/policy/note';
import { EvidenceError } from '../error.ts';
import { HASH_BYTES, type NodeReader, rootOf, type TreeHead } from './merkle.ts';

export interface Checkpoint extends TreeHead {
  /** Name of the log. */
  origin: string;
}

/** Of a log, and of its key. */
export const LOG_NAME = /^[!-*,-~]{1,253}$/;
export const NUMBER = /^(0|[1-9]\d{0,14})$/;
const PROOF_HEAD = 'c2sp.org/tlog-proof@v1';

/** A hash in base64; null if it is none. */
export const hashIn = (text: string): Buffer | null => {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === HASH_BYTES && bytes.toString('base64') === text ? bytes : null;
};

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** The text that the log signs. */
export const formatCheckpoint = ({ origin, size, root }: Checkpoint): string => `${origin}\n${size}\n${base64(root)}\n`;

/** @throws EvidenceError EVIDENCE_FORMAT */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', encoded = '', ...rest] = text.split('\n');
  const root = hashIn(encoded);
  if (origin === '' || !NUMBER.test(size) || !root || rest.length !== 1 || rest[0] !== '') {
    throw new EvidenceError('EVIDENCE_FORMAT', 'not a checkpoint: origin, size and root, a line each');
  }
  return { origin, size: Number(size), root };
}

/** Of any log: with extension lines, about which a witness makes no statement. @throws EvidenceError EVIDENCE_FORMAT */
export function witnessedIn(text: string): Checkpoint {
  const [origin = '', size = '', root = '', ...extensions] = text.slice(0, -1).split('\n');
  if (extensions.includes('')) throw new EvidenceError('EVIDENCE_FORMAT', 'an extension line is empty');
  return parseCheckpoint(`${origin}\n${size}\n${root}\n`);
}

/** The head in a signed note, without a check of its signatures. @throws EvidenceError EVIDENCE_FORMAT */
export const checkpointIn = (note: string): Checkpoint => parseCheckpoint(note.slice(0, note.lastIndexOf('\n\n') + 1));

/** As checkpointIn, of any log that a witness cosigns. @throws EvidenceError EVIDENCE_FORMAT */
export const witnessedHeadIn = (note: string): Checkpoint => witnessedIn(note.slice(0, note.lastIndexOf('\n\n') + 1));

/** The signed head of a size. */
export function signHead(
  { origin, size }: Pick<Checkpoint, 'origin' | 'size'>,
  at: NodeReader,
  key: KeyObject,
): string {
  return signNote(formatCheckpoint({ origin, size, root: rootOf(size, at) }), origin, key);
}

export interface LogProof {
  /** Of the entry in the log. */
  index: number;
  hashes: readonly Uint8Array[];
  /** A signed note. */
  checkpoint: string;
}

export const formatProof = ({ index, hashes, checkpoint }: LogProof): string =>
  `${[PROOF_HEAD, `index ${index}`, ...hashes.map(base64)].join('\n')}\n\n${checkpoint}`;

/** @throws EvidenceError EVIDENCE_FORMAT */
export function parseProof(text: string): LogProof {
  const end = text.indexOf('\n\n');
  const [head, index = '', ...lines] = text.slice(0, Math.max(0, end)).split('\n');
  const hashes = lines.map(hashIn);
  const number = index.replace(/^index /, '');
  if (head !== PROOF_HEAD || !index.startsWith('index ') || !NUMBER.test(number) || hashes.includes(null)) {
    throw new EvidenceError('EVIDENCE_FORMAT', `not a ${PROOF_HEAD}`);
  }
  return { index: Number(number), hashes: hashes as Buffer[], checkpoint: text.slice(end + 2) };
}
