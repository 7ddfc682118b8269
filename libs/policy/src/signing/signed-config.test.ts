import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { signerLine as lineOf, newSigner, signedBy } from '../testing.ts';
import { contentDigest, parseSignature, type SignedChange, signLater } from './signature.ts';
import { NO_SIGNERS, parseSigners, SignedConfig } from './signed-config.ts';

const anna = newSigner('anna@prod');
const ci = newSigner('ci@prod');
const signers = parseSigners(`# who may sign\n\n${lineOf(anna)}  # all kinds\n${lineOf(ci)} runtime correlation\n`);

const SPOOF = 'spoof.cluster._.default';
const POLICY = 'runtime.cluster._.no-shell';
const T0 = Date.UTC(2026, 11, 1);
const enforce = '{"modes":{"ipv4":"enforce"},"revision":1}';
const audit = '{"modes":{"ipv4":"audit"},"revision":2}';

const signed = (json: string | null, atMs = T0, key = SPOOF, signer = anna): SignedChange =>
  signedBy(signer, key, json, atMs);

describe('signed configuration - which changes are accepted', () => {
  it('without signers, every change', () => {
    const config = new SignedConfig(NO_SIGNERS);
    expect(config.refusal({ key: SPOOF, json: audit, signature: '' })).toBe('');
    expect(config.refusal({ key: SPOOF, json: null, signature: 'x' })).toBe('');
  });

  it.each<[string, SignedChange, string]>([
    ['signed value', signed(enforce), ''],
    ['signed deletion', signed(null), ''],
    ['signed by a signer of the kind', signed('{}', T0, POLICY, ci), ''],
    ['renumbered', { ...signed(enforce), json: enforce.replace('1', '77') }, ''],
    ['fields in another order', { ...signed('{"a":{"b":1,"c":[2]}}'), json: '{"revision":3,"a":{"c":[2],"b":1}}' }, ''],
    ['unsigned', { key: SPOOF, json: audit, signature: '' }, 'the value is not signed'],
    ['unsigned deletion of a key without a value', { key: SPOOF, json: null, signature: '' }, ''],
    ['signed by a signer of other kinds', signed(enforce, T0, SPOOF, ci), 'who may not sign spoof'],
    ['signed by a stranger of that name', signed(enforce, T0, SPOOF, newSigner('anna@prod')), 'is not of this key'],
    ['signed under another name', signed(enforce, T0, SPOOF, { ...anna, name: 'anna@test' }), 'may not sign spoof'],
    ['another value', { ...signed(enforce), json: audit }, 'is not of this key and the value'],
    ['the deletion of a signed value', { ...signed(enforce), json: null }, 'is not of this key and the deletion'],
    ['another key', { ...signed(enforce), key: 'spoof.namespace.shop.default' }, 'is not of this key'],
    ['not JSON', { ...signed(enforce), json: '{' }, 'not JSON'],
    ['not an object', { ...signed(enforce), json: '[]' }, 'not an object'],
    ['an infinite number', { ...signed('{"a":null}'), json: '{"a":1e400}' }, 'no infinite numbers'],
    ['deep beyond the stack', { ...signed(enforce), json: `{"a":${'['.repeat(9e4)}${']'.repeat(9e4)}}` }, 'levels'],
    ['a time in another form', { ...signed(enforce), signature: signed(enforce).signature.replace('Z', '0Z') }, 'malf'],
    ['a long signature', { ...signed(enforce), signature: 'x '.repeat(300) }, 'malformed'],
  ])('%s', (_, change, reason) => {
    const refusal = new SignedConfig(signers).refusal(change);
    if (reason === '') expect(refusal).toBe('');
    else expect(refusal).toContain(reason);
  });

  it('an old signed value or deletion does not return; the same change may', () => {
    const config = new SignedConfig(signers);
    expect(config.refusal(signed(audit, T0))).toBe('');
    expect(config.refusal(signed(enforce, T0 + 1))).toBe('');
    expect(config.refusal(signed(audit, T0))).toMatch(/^an old value: signed at 2026-12-01T00:00:00.000Z/);
    expect(config.refusal(signed(audit, T0 + 1))).toContain('an old value');
    expect(config.refusal(signed(enforce, T0 + 1))).toBe('');
    expect(config.refusal({ key: SPOOF, json: null, signature: '' })).toBe('the deletion is not signed');
    expect(config.refusal(signed(null, T0 + 2))).toBe('');
    expect(config.refusal({ key: SPOOF, json: null, signature: '' })).toBe('');
    expect(config.refusal(signed(enforce, T0 + 1))).toContain('an old value');
    expect(config.refusal(signed(null, T0))).toContain('an old deletion');
    expect(config.refusal(signed(enforce, T0, 'spoof.namespace.shop.default'))).toBe('');
  });

  it('a stated time refuses older values in a process without a memory, and names absent keys', () => {
    const since = `${lineOf(anna)}\nsince 2026-12-01T00:00:00.000Z ${SPOOF}\n`;
    const config = new SignedConfig(parseSigners(since));
    expect(config.missing(['spoof'])).toEqual([[SPOOF, expect.stringContaining('2026-12-01T00:00:00.000Z or later')]]);
    expect(config.missing(['runtime'])).toEqual([]);
    // Otherwise an administrator of the bus removes the report with the value.
    const gone = { json: null, signature: '' };
    expect(config.refusal({ key: SPOOF, ...gone })).toBe('the deletion is not signed');
    expect(config.refusal({ key: 'spoof.namespace.shop.default', ...gone })).toBe('');
    expect(config.refusal(signed(audit, T0 - 1))).toContain('the signers require 2026-12-01T00:00:00.000Z or later');
    expect(config.missing(['spoof'])).toHaveLength(1);
    expect(config.refusal(signed(enforce, T0))).toBe('');
    expect(config.missing(['spoof'])).toEqual([]);
  });

  it('a kind without a signer needs no signature', () => {
    const config = new SignedConfig(parseSigners(`${lineOf(ci)} runtime`));
    expect([config.requires('runtime'), config.requires('spoof')]).toEqual([true, false]);
    expect(config.refusal({ key: SPOOF, json: audit, signature: '' })).toBe('');
    expect(config.refusal({ key: POLICY, json: '{}', signature: '' })).toBe('the value is not signed');
  });
});

describe('signed configuration - the time of a signature', () => {
  it.each([
    ['now', '', 0],
    ['later than a stored signature of a clock that is ahead', signed(enforce, T0 + 60_000).signature, 60_001],
    ['now, if the stored signature is further ahead than clocks differ', signed(enforce, T0 + 600_000).signature, 0],
    ['now, if the stored text is no signature', 'x', 0],
  ])('%s', (_, stored, afterMs) => {
    const signature = signLater({ key: SPOOF, json: audit }, anna, T0, stored);
    expect(parseSignature(signature)?.atMs).toBe(T0 + afterMs);
  });
});

describe('signed configuration - the file of signers', () => {
  it.each([
    ['', /names no signer/],
    ['# none\n', /names no signer/],
    ['anna', /line 1 of the signers: not a verifier key/],
    [lineOf(anna).replace(/\+[0-9a-f]{8}\+/, '+00000000+'), /does not match its id/],
    [`\n${lineOf(anna)} everything`, /line 2 of the signers: "everything" is not a kind/],
    [`${lineOf(anna)}\nsince yesterday ${SPOOF}`, /not `since <time> <key>`/],
    [`${lineOf(anna)}\nsince 2026-12-01T00:00:00Z spoof.cluster`, /spoof.cluster/],
  ])('%j is refused', (text, message) => expect(() => parseSigners(text)).toThrow(message));
});

const scalar = fc.oneof(fc.string(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean());
const { value: document } = fc.letrec((tie) => ({
  value: fc.dictionary(fc.string(), fc.oneof(scalar, fc.constant(null), tie('value'), fc.array(scalar)), {
    maxKeys: 5,
  }),
}));

const reversed = (value: unknown): unknown =>
  typeof value !== 'object' || value === null || Array.isArray(value)
    ? value
    : Object.fromEntries(
        Object.entries(value)
          .reverse()
          .map(([name, field]) => [name, reversed(field)]),
      );

describe('signed configuration - properties', () => {
  it('the digest depends on the content alone', () => {
    fc.assert(
      fc.property(document, fc.integer(), (value, revision) => {
        const { revision: _, ...rest } = value as Record<string, unknown>;
        const digest = contentDigest(JSON.stringify(rest));
        expect(contentDigest(JSON.stringify({ ...(reversed(rest) as object), revision }, null, 2))).toBe(digest);
        expect(contentDigest(JSON.stringify({ ...rest, extra: { added: revision } }))).not.toBe(digest);
      }),
    );
  });

  it('every changed character of a signature is found', () => {
    const change = signed(enforce);
    fc.assert(
      fc.property(fc.nat(change.signature.length - 1), fc.integer({ min: 32, max: 126 }), (index, code) => {
        const letter = String.fromCharCode(code);
        fc.pre(letter !== change.signature[index]);
        const signature = change.signature.slice(0, index) + letter + change.signature.slice(index + 1);
        expect(new SignedConfig(signers).refusal({ ...change, signature })).not.toBe('');
      }),
      { numRuns: 1000 },
    );
  });

  it('whatever an administrator of the bus delivers, the value in force is the newest signed one', () => {
    const history = [enforce, audit, null, enforce, audit].map((json, index) => signed(json, T0 + index));
    const forged = fc
      .record({ of: fc.nat(4), json: fc.constantFrom(enforce, audit, null, '{}'), keep: fc.boolean() })
      .map(({ of, json, keep }) => ({ key: SPOOF, json, signature: keep ? (history[of]?.signature ?? '') : '' }));
    const step = fc.oneof(fc.nat(4), forged);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const config = new SignedConfig(signers);
        let newest = -1;
        let inForce: string | null | undefined;
        for (const one of steps) {
          const change = typeof one === 'number' ? (history[one] as SignedChange) : one;
          if (config.refusal(change) === '' && (change.json !== null || change.signature !== '')) inForce = change.json;
          const genuine = history.findIndex(
            ({ json, signature }) => json === change.json && signature === change.signature,
          );
          newest = Math.max(newest, genuine);
          expect(inForce).toBe(newest < 0 ? undefined : history[newest]?.json);
        }
      }),
    );
  });
});
