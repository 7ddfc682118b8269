/**
 * The checks of a bundle against the log: its head is signed, each message is in it, and the head continues
 * one that the verifier kept. Pure.
 *
 * All proofs of a bundle have the same head, so one signature is verified. The statement names the head, so
 * proofs that were replaced by those of an older head fail.
 */

import { openNote, type VerifierKey } from '@bailiff/policy/note';
import { EvidenceError } from '../error.ts';
import type { Predicate } from '../format/bundle.ts';
import type { EvidenceRecord } from '../format/record.ts';
import { type Checkpoint, checkpointIn, parseCheckpoint, parseProof } from '../log/checkpoint.ts';
import { cosignature, cosignedDate } from '../log/cosignature.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../log/merkle.ts';
import type { Checks } from './report.ts';

/** Streams whose messages are in the log. */
export const LOGGED_STREAMS: ReadonlySet<string> = new Set(['CONFIG_LOG', 'VIOLATIONS', 'VERDICTS', 'RESPONSES']);

/** Null: the copy does not reach to the newer size. */
export type ProofBetween = (olderSize: number, newerSize: number) => readonly Uint8Array[] | null;

interface LogTrust {
  logKeys: readonly VerifierKey[];
  witnessKeys?: readonly VerifierKey[];
  knownHead: string | null;
  proofBetween?: ProofBetween;
}

const ALONE = 'without one, the producer of the log alone vouches that all readers see the same log';

export class LogChecks {
  readonly #checks: Checks;
  readonly #keys: readonly VerifierKey[];
  readonly #witnesses: readonly VerifierKey[];
  readonly #knownHead: string | null;
  readonly #proofBetween: ProofBetween | null;
  #note: string | null = null;
  #head: Checkpoint | null = null;
  #proven = 0;
  #without = 0;

  constructor(checks: Checks, { logKeys, witnessKeys = [], knownHead, proofBetween }: LogTrust) {
    this.#checks = checks;
    this.#keys = logKeys;
    this.#witnesses = witnessKeys;
    this.#knownHead = knownHead;
    this.#proofBetween = proofBetween ?? null;
  }

  /** @param entry of the record in the log */
  add(record: EvidenceRecord, entry: Uint8Array): void {
    const { stream, sequence, proof } = record;
    if (!LOGGED_STREAMS.has(stream)) {
      if (proof !== undefined) throw new EvidenceError('EVIDENCE_FORMAT', `${stream} ${sequence} has a proof`);
      return;
    }
    if (proof === undefined) {
      this.#without++;
      return;
    }
    const { index, hashes, checkpoint } = parseProof(proof);
    if (this.#note === null) {
      this.#note = checkpoint;
      this.#head = checkpointIn(checkpoint);
    }
    if (checkpoint !== this.#note) {
      this.#checks.fail('log-head', `${stream} ${sequence}: its proof has another head than the first one`);
    } else if (!this.#head || !verifyInclusion(leafHash(entry), index, this.#head, hashes)) {
      this.#checks.fail('inclusion', `${stream} ${sequence} is not in the log at index ${index}`);
    } else this.#proven++;
  }

  end(stated: Predicate['log']): void {
    if (!stated && this.#note === null) {
      if (this.#keys.length > 0)
        this.#checks.fail(
          'log-head',
          'no record has a proof: it was exported without a log, or its proofs were removed',
        );
      for (const name of ['log-head', 'witness', 'inclusion', 'consistency'] as const)
        this.#checks.skip(name, 'a log: this bundle has no proofs');
      return;
    }
    const head = this.#head;
    if (!stated || !head) {
      this.#checks.fail(
        'log-head',
        stated ? 'the statement names a log, and no record has a proof' : 'the statement names no log',
      );
      return;
    }
    if (this.#without > 0) this.#checks.fail('inclusion', `${this.#without} records have no proof`);
    const isStated =
      head.origin === stated.origin &&
      head.size === stated.size &&
      Buffer.from(head.root).toString('base64') === stated.root;
    if (!isStated) {
      this.#checks.fail(
        'log-head',
        `the proofs are of a head of size ${head.size}, the statement names one of size ${stated.size}`,
      );
    }
    this.#checkSignature(head);
    this.#checkWitnesses(head);
    this.#checks.pass('inclusion', `${this.#proven} messages are in the log of size ${head.size}`);
    this.#checkKnown(head);
  }

  #checkSignature(head: Checkpoint): void {
    const keys = this.#keys.filter(({ name }) => name === head.origin);
    if (this.#keys.length === 0) this.#checks.skip('log-head', `the verifier key of the log ${head.origin}`);
    else if (openNote(this.#note ?? '', keys) === null)
      this.#checks.fail('log-head', 'no key of the log signed the head');
    else this.#checks.pass('log-head', `${head.origin} signed the head of size ${head.size}`);
  }

  /** Every witness that the verifier knows cosigned the head. */
  #checkWitnesses(head: Checkpoint): void {
    const found = this.#witnesses.map((key) => ({ name: key.name, at: cosignature(this.#note ?? '', key) }));
    const names = (of: typeof found) => of.map(({ name }) => name).join(', ');
    const wrong = found.filter(({ at }) => at === 'wrong');
    const missing = found.filter(({ at }) => at === null);
    if (wrong.length > 0) this.#checks.fail('witness', `the cosignature of ${names(wrong)} is not valid`);
    else if (missing.length > 0 || found.length === 0)
      this.#checks.skip(
        'witness',
        `${found.length === 0 ? 'the key of a witness' : `a cosignature of ${names(missing)}`}: ${ALONE}`,
      );
    else {
      const times = found.map(({ name, at }) => `${name} at ${cosignedDate(Number(at))}`);
      this.#checks.pass('witness', `size ${head.size} is the largest that was seen: ${times.join(', ')}`);
    }
  }

  #checkKnown(head: Checkpoint): void {
    if (this.#knownHead === null) {
      this.#checks.skip('consistency', 'a head of the log that you kept');
      return;
    }
    const known = this.#known(this.#knownHead);
    if (!known) this.#checks.fail('consistency', 'no key of the log signed the known head');
    else if (known.origin !== head.origin) this.#checks.fail('consistency', `the known head is of ${known.origin}`);
    else this.#checkContinues(...(known.size <= head.size ? ([known, head] as const) : ([head, known] as const)));
  }

  /** The known head; null if no key of the log signed one. */
  #known(note: string): Checkpoint | null {
    const text = openNote(note, this.#keys);
    try {
      return text === null ? null : parseCheckpoint(text);
    } catch (error) {
      if (error instanceof EvidenceError) return null;
      throw error;
    }
  }

  #checkContinues(older: Checkpoint, newer: Checkpoint): void {
    const isSame = older.size === newer.size;
    const proof = isSame ? [] : (this.#proofBetween?.(older.size, newer.size) ?? null);
    if (proof === null) {
      this.#checks.skip('consistency', `a copy of the log, for a proof from size ${older.size} to ${newer.size}`);
      return;
    }
    if (verifyConsistency(older, newer, proof)) {
      this.#checks.pass('consistency', `the head of size ${newer.size} continues the one of size ${older.size}`);
    } else if (isSame) this.#checks.fail('consistency', `the log has two heads of size ${newer.size}`);
    else this.#checks.fail('consistency', `no proof shows that size ${newer.size} continues size ${older.size}`);
  }
}
