import { generateKeyPairSync } from 'node:crypto';
import { formatVerifierKey, openNote, parseVerifierKey, signNote, verifierKey } from '@bailiff/policy/note';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOf, LOG, MemoryLog, ORIGIN } from '../testing.ts';
import { formatProof, parseCheckpoint, parseProof } from './checkpoint.ts';
import {
  consistencyProof,
  EMPTY_ROOT,
  inclusionProof,
  leafHash,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts';

const logOf = (size: number) => {
  const log = new MemoryLog();
  for (let index = 0; index < size; index++) log.append(Buffer.from(`entry ${index}`));
  return log;
};
const MOST = 300;
const log = logOf(MOST);
const head = (size: number) => ({ size, root: rootOf(size, log.at) });
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const sizes = fc.integer({ min: 1, max: MOST });

describe('merkle - vectors of RFC 6962', () => {
  // The inputs and roots that implementations of Certificate Transparency test with.
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'];
  const roots = [
    'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
    '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
    'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
    '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
  ];
  it('roots of zero to eight leaves', () => {
    const own = new MemoryLog();
    const seen = [hex(EMPTY_ROOT)];
    for (const input of inputs) {
      own.append(Buffer.from(input, 'hex'));
      seen.push(hex(rootOf(own.size, own.at)));
    }
    expect(seen).toEqual(roots);
  });
});

describe('merkle - proofs', () => {
  it('inclusion - every leaf of every size is proven, and no other leaf, place, size or root is', () => {
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (size, a, b) => {
        const [index, other] = [a % size, b % size];
        const proof = inclusionProof(index, size, log.at);
        const leaf = leafHash(Buffer.from(`entry ${index}`));
        expect(verifyInclusion(leaf, index, head(size), proof)).toBe(true);
        if (other !== index) {
          expect(verifyInclusion(leafHash(Buffer.from(`entry ${other}`)), index, head(size), proof)).toBe(false);
          expect(verifyInclusion(leaf, other, head(size), proof)).toBe(false);
        }
        expect(verifyInclusion(leaf, index, { ...head(size), root: EMPTY_ROOT }, proof)).toBe(false);
        expect(verifyInclusion(leaf, index, head(size), [...proof, leaf])).toBe(false);
        if (proof.length > 0) expect(verifyInclusion(leaf, index, head(size), proof.slice(1))).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });

  it('consistency - every older head is proven, and none with another root', () => {
    fc.assert(
      fc.property(sizes, sizes, (a, b) => {
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const proof = consistencyProof(from, to, log.at);
        expect(verifyConsistency(head(from), head(to), proof)).toBe(true);
        expect(verifyConsistency({ size: from, root: EMPTY_ROOT }, head(to), proof)).toBe(false);
        expect(verifyConsistency(head(from), { size: to, root: EMPTY_ROOT }, proof)).toBe(false);
        expect(verifyConsistency(head(from), head(to), [...proof, EMPTY_ROOT])).toBe(false);
        if (from < to) expect(verifyConsistency(head(to), head(from), proof)).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('notes and proofs - text', () => {
  const key = verifierKey(ORIGIN, LOG.privateKey);
  it('a verifier key is handed over as text, and a damaged one is refused', () => {
    const text = formatVerifierKey(key);
    expect(formatVerifierKey(parseVerifierKey(text))).toBe(text);
    for (const bad of ['', 'x', text.replace('bailiff', 'other'), text.slice(0, -4)]) {
      expect(() => parseVerifierKey(bad)).toThrow(/verifier key/);
    }
  });

  it('a note opens with a key that signed it, also beside unknown signatures, and with no other', () => {
    const note = log.head();
    const text = openNote(note, [key]);
    expect(parseCheckpoint(text ?? '')).toMatchObject({ origin: ORIGIN, size: MOST });
    const other = keyOf(9).privateKey;
    const witnessed = note + signNote(text ?? '', 'witness.example', other).slice(`${text}\n`.length);
    expect(openNote(witnessed, [key])).toBe(text);
    expect(openNote(note, [verifierKey(ORIGIN, other)])).toBe(null);
    expect(openNote(note, [verifierKey('other', LOG.privateKey)])).toBe(null);
    expect(openNote(signNote(text ?? '', ORIGIN, other), [key])).toBe(null);
    const rotated = generateKeyPairSync('ed25519').privateKey;
    expect(openNote(note, [verifierKey(ORIGIN, rotated), key])).toBe(text);
  });

  it('one form - what a parser accepts is what the formatter writes', () => {
    const proof = log.proof(7);
    expect(formatProof(parseProof(proof))).toBe(proof);
    for (const bad of [`${proof.slice(1)}`, proof.replace('index 7', 'index 07'), proof.replace('\n\n', '\n')]) {
      expect(() => parseProof(bad)).toThrow(/tlog-proof/);
    }
    for (const bad of ['', 'a\n1\n', `${ORIGIN}\n01\n${Buffer.alloc(32).toString('base64')}\n`]) {
      expect(() => parseCheckpoint(bad)).toThrow(/checkpoint/);
    }
  });
});
