// The decisions of a witness, in the order and with the statuses of C2SP tlog-witness.

import {
  COSIGNATURE,
  formatVerifierKey,
  openNote,
  parseVerifierKey,
  signNote,
  verifierKey,
} from '@bailiff/policy/note';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOf, LOG, MemoryLog, ORIGIN } from '../testing.ts';
import { checkpointIn, formatCheckpoint } from './checkpoint.ts';
import { cosign, cosignature } from './cosignature.ts';
import { consistencyProof, EMPTY_ROOT, type TreeHead } from './merkle.ts';
import { addCheckpoint, formatRequest, MAX_PROOF_LINES } from './witness.ts';

const NAME = 'witness.example/w1';
const KEY = keyOf(5).privateKey;
const WITNESS = verifierKey(NAME, KEY, COSIGNATURE);
const LOG_KEY = verifierKey(ORIGIN, LOG.privateKey);
const SECONDS = 1_800_000_000;

const logOf = (size: number, salt = '') => {
  const log = new MemoryLog();
  for (let index = 0; index < size; index++) log.append(Buffer.from(`entry ${index}${index >= 5 ? salt : ''}`));
  return log;
};
const log = logOf(70);
const rootAt = (size: number, of = log): TreeHead => checkpointIn(of.head(size));

/** @param last size that the witness has seen of `log` */
const decide = (body: string, last: number | null, keys = [LOG_KEY]) =>
  addCheckpoint(
    body,
    {
      name: NAME,
      key: KEY,
      logOf: (origin) => (origin === ORIGIN ? { keys, last: last === null ? null : rootAt(last) } : null),
    },
    SECONDS,
  );
const request = (old: number, size: number, of = log) =>
  formatRequest(old, consistencyProof(old, size, of.at), of.head(size));

describe('witness - honest growth', () => {
  it('from any size to any larger or the same one, it cosigns; the cosignature is of this head and time', () => {
    fc.assert(
      fc.property(fc.nat(70), fc.nat(70), (a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const decision = decide(request(from, to), from === 0 ? null : from);
        expect(decision.status).toBe(200);
        const { note, line } = decision as Extract<typeof decision, { status: 200 }>;
        expect(note).toBe(log.head(to) + line);
        expect(openNote(note, [LOG_KEY])).toBe(formatCheckpoint(checkpointIn(note)));
        expect(cosignature(note, WITNESS)).toBe(SECONDS);
        expect(cosignature(log.head(to), WITNESS)).toBeNull();
        expect(cosignature(log.head((to + 1) % 71) + line, WITNESS)).toBe('wrong');
      }),
      { numRuns: 300 },
    );
  });

  it('signatures of others, extension lines, a new key of the log beside the former one - accepted; others are not kept', () => {
    const text = `${formatCheckpoint(checkpointIn(log.head(7)))}an extension\n`;
    const rotated = keyOf(6).privateKey;
    const lineOf = (key: typeof rotated, name = ORIGIN) => signNote(text, name, key).slice(text.length + 1);
    const body = formatRequest(
      0,
      [],
      `${text}\n${lineOf(keyOf(8).privateKey, 'other.example')}${lineOf(rotated)}${lineOf(LOG.privateKey)}`,
    );
    const decision = decide(body, null, [LOG_KEY, verifierKey(ORIGIN, rotated)]);
    expect(decision).toMatchObject({ status: 200, note: expect.stringMatching(/^(?!.*other\.example)/s) });
    const { note } = decision as Extract<typeof decision, { status: 200 }>;
    expect(note.split('\n')).toHaveLength(4 + 1 + 3 + 1);
    expect(cosignature(note, WITNESS)).toBe(SECONDS);
  });
});

describe('witness - what it refuses', () => {
  const fork = logOf(70, ' forked');
  const withOrigin = (origin: string) => formatRequest(0, [], log.head(9, LOG.privateKey, origin));
  const signedBy = (seed: number) => formatRequest(0, [], log.head(9, keyOf(seed).privateKey));
  const empty = signNote(`${ORIGIN}\n0\n${Buffer.alloc(32, 7).toString('base64')}\n`, ORIGIN, LOG.privateKey);
  const damaged = request(0, 9).replace(
    /(— \S+ .{20})(.)/,
    (_, before: string, one: string) => before + (one === 'A' ? 'B' : 'A'),
  );
  const proof63 = Array.from({ length: MAX_PROOF_LINES }, () => EMPTY_ROOT);
  it.each<[what: string, status: number, body: string, last: number | null]>([
    ['another origin', 404, withOrigin('other.example'), null],
    ['another key', 403, signedBy(9), null],
    ['a damaged signature of a known key', 403, damaged, null],
    ['an old size above the new one', 400, formatRequest(20, [], log.head(9)), 20],
    ['an old head replayed', 409, request(5, 9), 30],
    ['the head of before, as if it were the first', 409, request(0, 30), 30],
    ['another old size', 409, request(30, 40), 20],
    ['no proof', 422, formatRequest(20, [], log.head(40)), 20],
    ['a proof of another size', 422, formatRequest(20, consistencyProof(19, 40, log.at), log.head(40)), 20],
    ['another history', 422, request(20, 40, fork), 20],
    ['another history of the same size', 422, request(20, 20, fork), 20],
    ['a proof although the old size is zero', 422, formatRequest(0, [EMPTY_ROOT], log.head(9)), null],
    ['an empty log with another root', 422, formatRequest(0, [], empty), null],
    ['63 lines of proof', 422, formatRequest(20, proof63, log.head(40)), 20],
    ['64 lines of proof', 400, formatRequest(20, [...proof63, EMPTY_ROOT], log.head(40)), 20],
    ['a number with a zero in front', 400, request(20, 40).replace('old 20', 'old 020'), 20],
    ['a number that is too large', 400, request(20, 40).replace('old 20', 'old 9007199254740993'), 20],
    ['no old size', 400, request(0, 9).replace('old 0\n', ''), null],
    ['a hash of another length', 400, request(20, 40).replace('\n', '\nAAAA\n'), 20],
    ['no note', 400, 'old 0\n\n', null],
    ['nothing', 400, '', null],
    ['17 signatures', 400, request(0, 9) + '— a AAAAAAAA\n'.repeat(16), null],
    [
      'an empty line in the text',
      400,
      formatRequest(0, [], signNote(`${formatCheckpoint(checkpointIn(log.head(9)))}\nx\n`, ORIGIN, LOG.privateKey)),
      null,
    ],
  ])('%s - %i', (_, status, body, last) => {
    expect(decide(body, last)).toMatchObject({ status });
    if (status === 409) expect(decide(body, last)).toMatchObject({ size: last });
  });
});

describe('cosignature - keys', () => {
  it('the key of a witness is another type: it verifies no head of a log, and a key of a log no cosignature', () => {
    const text = formatVerifierKey(WITNESS);
    expect(formatVerifierKey(parseVerifierKey(text, COSIGNATURE))).toBe(text);
    expect(() => parseVerifierKey(text)).toThrow(/not a verifier key of Ed25519/);
    expect(() => parseVerifierKey(formatVerifierKey(LOG_KEY), COSIGNATURE)).toThrow(/of a witness/);
    const note = log.head(9);
    expect(cosignature(note, { ...LOG_KEY, type: COSIGNATURE })).toBe('wrong');
    expect(openNote(note, [{ ...LOG_KEY, type: COSIGNATURE }])).toBeNull();
  });

  it('a cosignature without a time, or of another time, is not valid', () => {
    const note = log.head(9);
    const text = formatCheckpoint(checkpointIn(note));
    const at = (seconds: number) => cosign(text, NAME, KEY, seconds);
    expect(cosignature(note + at(5), WITNESS)).toBe(5);
    expect(cosignature(note + at(0), WITNESS)).toBe('wrong');
    const [, , encoded = ''] = at(5).split(' ');
    const bytes = Buffer.from(encoded.trim(), 'base64');
    bytes[11] = 6;
    expect(cosignature(`${note}— ${NAME} ${bytes.toString('base64')}\n`, WITNESS)).toBe('wrong');
  });
});
