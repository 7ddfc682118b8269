/**
 * Asks witnesses to cosign the newest head of a log (C2SP tlog-witness), and adds their cosignatures to it.
 *
 * A head is on disk before a witness sees it (log-files.ts), so a restart never shows a witness another tree. A witness
 * that does not respond delays heads by ASK_MS at most. Its failures are kept by reason; the next interval asks again.
 */

import { isBy, parseNote, parseSignatures, signatureLine, type VerifierKey } from '@bailiff/policy/note';
import { timeLimit } from '@bailiff/service/retry';
import { checkpointIn } from '../log/checkpoint.ts';
import { cosignature } from '../log/cosignature.ts';
import { consistencyProof } from '../log/merkle.ts';
import { formatRequest } from '../log/witness.ts';
import type { LogWriter } from './log-files.ts';

const ASK_MS = 3_000;
const MAX_RESPONSE_BYTES = 64 * 1024;

/**
 * WITNESS_UNREACHABLE: no response. WITNESS_REFUSED: it does not know the log, or not its key. WITNESS_AHEAD: it has
 * cosigned a larger head, so this log went back. WITNESS_CONFLICT: it has cosigned another history. WITNESS_RESPONSE: its
 * response is not one.
 */
export type WitnessErrorCode =
  | 'WITNESS_UNREACHABLE'
  | 'WITNESS_REFUSED'
  | 'WITNESS_AHEAD'
  | 'WITNESS_CONFLICT'
  | 'WITNESS_RESPONSE';

export interface WitnessAddress {
  key: VerifierKey;
  /** Without `/add-checkpoint`. */
  url: string;
}

export interface WitnessState {
  name: string;
  /** Of the newest cosigned head; 0: none since the start. */
  size: number;
  /** When it was cosigned, by the witness's clock; 0: never. */
  seconds: number;
  failing: { code: WitnessErrorCode; reason: string; sinceMs: number } | null;
}

interface Asked {
  address: WitnessAddress;
  state: WitnessState;
  /** The size that it has seen, as far as is known. */
  old: number;
}

class WitnessError extends Error {
  readonly code: WitnessErrorCode;
  constructor(code: WitnessErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export class Witnesses {
  readonly #log: LogWriter;
  readonly #all: Asked[];
  readonly #nowMs: () => number;

  constructor(log: LogWriter, addresses: readonly WitnessAddress[], nowMs: () => number) {
    this.#log = log;
    this.#nowMs = nowMs;
    this.#all = addresses.map((address) => ({
      address,
      state: { name: address.key.name, size: 0, seconds: 0, failing: null },
      old: 0,
    }));
  }

  get states(): readonly WitnessState[] {
    return this.#all.map(({ state }) => state);
  }

  /** Asks all witnesses that have not cosigned the newest head. Never throws, except for errors of the file system. */
  async ask(signal: AbortSignal): Promise<void> {
    const note = this.#log.note;
    const { size } = checkpointIn(note);
    const lines = await Promise.all(
      this.#all.map(async (witness) => {
        const known = cosignature(note, witness.address.key);
        if (typeof known === 'number') return this.#cosigned(witness, size, known, '');
        using own = timeLimit(ASK_MS, signal);
        try {
          const line = await this.#askOne(witness, note, size, own.signal);
          return this.#cosigned(witness, size, cosignature(note + line, witness.address.key) as number, line);
        } catch (error) {
          if (!signal.aborted) this.#failed(witness.state, error as Error);
          return '';
        }
      }),
    );
    // A burst of messages may have caused another head meanwhile.
    if (lines.some((line) => line !== '') && this.#log.note === note) this.#log.storeHead(note + lines.join(''));
  }

  #cosigned({ state }: { state: WitnessState }, size: number, seconds: number, line: string): string {
    state.size = size;
    state.seconds = seconds;
    state.failing = null;
    return line;
  }

  #failed(state: WitnessState, error: Error): void {
    const code = error instanceof WitnessError ? error.code : 'WITNESS_UNREACHABLE';
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    state.failing = { code, reason: error.message + cause, sinceMs: state.failing?.sinceMs ?? this.#nowMs() };
  }

  async #askOne(witness: Asked, note: string, size: number, signal: AbortSignal): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const { old, address } = witness;
      const proof = consistencyProof(old, size, this.#log.at);
      const { status, body } = await post(`${address.url}/add-checkpoint`, formatRequest(old, proof, note), signal);
      if (status === 200) {
        witness.old = size;
        return cosignatureOf(note, body, address.key);
      }
      if (status !== 409) throw refusal(status, body);
      const known = /^(0|[1-9]\d{0,14})\n$/.exec(body)?.[1];
      if (known === undefined || attempt > 0)
        throw new WitnessError('WITNESS_RESPONSE', 'it names no size that it has seen');
      if (Number(known) > size)
        throw new WitnessError(
          'WITNESS_AHEAD',
          `it has seen ${known} messages, and the log has ${size}: the log went back`,
        );
      witness.old = Number(known);
    }
  }
}

/** The line of the witness in its response. Those of other keys are ignored. */
function cosignatureOf(note: string, body: string, key: VerifierKey): string {
  const own = parseSignatures(body)?.filter((signature) => isBy(signature, key)) ?? [];
  const line = own[0] ? signatureLine(key, own[0].bytes) : '';
  if (line === '' || typeof cosignature(note + line, key) !== 'number' || !parseNote(note + line))
    throw new WitnessError('WITNESS_RESPONSE', `its response has no valid cosignature of ${key.name}`);
  return line;
}

function refusal(status: number, body: string): WitnessError {
  const why = body.split('\n')[0]?.slice(0, 200) ?? '';
  if (status === 422) return new WitnessError('WITNESS_CONFLICT', `it has seen another history of the log: ${why}`);
  if (status === 403 || status === 404 || status === 400)
    return new WitnessError('WITNESS_REFUSED', `status ${status}: ${why}`);
  return new WitnessError('WITNESS_UNREACHABLE', `status ${status}`);
}

async function post(url: string, body: string, signal: AbortSignal): Promise<{ status: number; body: string }> {
  const response = await fetch(url, { method: 'POST', body, redirect: 'error', signal });
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > MAX_RESPONSE_BYTES) throw new WitnessError('WITNESS_RESPONSE', 'its response is too large');
    parts.push(Buffer.from(part));
  }
  return { status: response.status, body: Buffer.concat(parts).toString() };
}

/** `<verifier key> <url>`. @returns null: it has another form */
export function splitWitness(text: string): [key: string, url: string] | null {
  const [, key = '', url = ''] = /^(\S+) (https?:\/\/\S+?)\/*$/.exec(text) ?? [];
  return key === '' || !URL.canParse(url) ? null : [key, url];
}
