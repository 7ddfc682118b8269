import { FOLD_VERSION } from '@bailiff/correlation';
import { BUILT_IN_RULES, parseSigners, SignedConfig } from '@bailiff/policy';
import { signNote, verifierKey } from '@bailiff/policy/note';
import { newSigner, signerLine } from '@bailiff/policy/testing';
import { encodeVerdict, type Verdict, type VerdictPod } from '@bailiff/schemas';
import { describe, expect, it } from 'vitest';
import { CLASSES, contentOf, isWhole, makeRecord, parseRecord, recordHash, redact } from '../format/record.ts';
import { consistencyProof } from '../log/merkle.ts';
import { bundleOf, forge, MANIPULATIONS } from '../testing/manipulations.ts';
import { movedSalt, sealed, UNKNOWN_FRAMES, UNKNOWN_SCHEMA, variantsOf } from '../testing/variants.ts';
import { EXPORTER, incident, keyOf, LOG, linesOf, logged, MemoryLog, ORIGIN, WITNESS_KEY } from '../testing.ts';
import { type VerifyOptions, verifyBundle } from './verify.ts';

const LOG_KEY = verifierKey(ORIGIN, LOG.privateKey);
const trusted: VerifyOptions = {
  key: EXPORTER.publicKey,
  logKeys: [LOG_KEY],
  witnessKeys: [WITNESS_KEY],
  knownHead: null,
};
const outcomes = async (lines: readonly string[], options: Partial<VerifyOptions> = {}) => {
  const { checks } = await verifyBundle(lines, { ...trusted, ...options });
  return Object.fromEntries(checks.map(({ name, outcome }) => [name, outcome]));
};
/** For files that were exported without a log. */
const UNLOGGED = { logKeys: [] };
const failed = (all: Record<string, string>) => Object.keys(all).filter((name) => all[name] === 'FAIL');
const ALL_PASS = {
  format: 'PASS',
  signature: 'PASS',
  records: 'PASS',
  content: 'PASS',
  digest: 'PASS',
  'log-head': 'PASS',
  witness: 'PASS',
  inclusion: 'PASS',
  consistency: 'PASS',
  verdict: 'PASS',
  evidence: 'PASS',
  judged: 'PASS',
  responses: 'PASS',
};
/** Manipulations of all kinds, and a tenth as many honest bundles. CONTRIBUTING.md has a longer run. */
const RUNS = Number(process.env['BAILIFF_EVIDENCE_RUNS'] ?? 300);
const HONEST = Math.ceil(RUNS / 10);
const FORGED = Math.ceil(RUNS / MANIPULATIONS.length);
const seedOf = Number(process.env['BAILIFF_SEED'] ?? 1);

describe('verify - an honest bundle', () => {
  const bundle = bundleOf(1);
  it('every check passes with the keys and the head that it needs', async () => {
    expect(await outcomes(bundle.lines, { knownHead: bundle.log.head() })).toEqual(ALL_PASS);
  });

  it('SKIP - without a key, a log or a head the check says what it needs, and does not pass', async () => {
    const { checks } = await verifyBundle(linesOf(incident(1)), { key: null, logKeys: [], knownHead: null });
    expect(checks.filter(({ outcome }) => outcome !== 'PASS')).toEqual([
      { name: 'signature', outcome: 'SKIP', detail: "needs the exporter's public key" },
      ...['log-head', 'witness', 'inclusion', 'consistency'].map((name) => ({
        name,
        outcome: 'SKIP',
        detail: 'needs a log: this bundle has no proofs',
      })),
    ]);
    expect(await outcomes(bundle.lines, { logKeys: [] })).toMatchObject({ 'log-head': 'SKIP', inclusion: 'PASS' });
    expect(await outcomes(linesOf(incident(1), null, null), { ...UNLOGGED, key: null })).toMatchObject({
      signature: 'SKIP',
      digest: 'PASS',
    });
  });

  it('a key whose owner signed nothing in the file fails: signature or proofs can be removed, and the rest made to fit', async () => {
    const unsigned = await outcomes(
      linesOf({ ...bundle, header: { ...bundle.header, exporter: 'x' } }, bundle.log.stated(), null),
    );
    expect([failed(unsigned), unsigned['digest']]).toEqual([['signature'], 'PASS']);
    const unproven = await outcomes(linesOf(incident(1)), { key: null });
    expect([failed(unproven), unproven['inclusion']]).toEqual([['log-head'], 'SKIP']);
  });

  it('signed rules - judged by the signers that the correlator had: a change that it refused is refused again', async () => {
    const made = incident(1);
    const rule = { ...BUILT_IN_RULES[made.verdict.rule], revision: 1, enabled: false };
    const subject = `bailiff.v1.config.correlation.cluster._.${made.verdict.rule}`;
    const storedAtMicros = made.header.from - 60_000_000;
    const place = { stream: 'CONFIG_LOG', sequence: 1, storedAtMicros, subject, headers: undefined };
    const attack = makeRecord({ ...place, data: Buffer.from(JSON.stringify(rule)) }, [], Buffer.alloc(32));
    const first = made.records.findIndex(({ stream }) => stream === 'KV_bailiff_pods');
    const lines = linesOf({ ...made, records: made.records.toSpliced(first, 0, attack) });
    const signed = new SignedConfig(parseSigners(signerLine(newSigner('anna'))));
    expect(failed(await outcomes(lines, UNLOGGED))).toEqual(['judged']);
    expect(failed(await outcomes(lines, { ...UNLOGGED, signed }))).toEqual([]);
  });

  it.each([
    ['control: it has the changes of that time', false, 10, 'PASS'],
    ['it was made again later, from a bucket in which the rule of that time remains', true, 10, 'PASS'],
    ['control: the rule of that time gives no such verdict', false, 5_000, 'FAIL'],
    ['it was made again later, and the rule of that time is not known', true, 5_000, 'SKIP'],
  ] as const)('CONFIG_LOG - %s', async (_, isMadeAgain, gte, judged) => {
    const made = incident(1);
    const rule = { ...BUILT_IN_RULES[made.verdict.rule], revision: 1, condition: { gte } };
    const off = { ...rule, enabled: false };
    const at = isMadeAgain ? made.header.until + 1_000_000 : made.header.from - 60_000_000;
    const subject = (name: string) => `bailiff.v1.config.correlation.cluster._.${name}`;
    const stored = [off, rule].map((value, index) => {
      const place = { sequence: index + 1, storedAtMicros: at + index, subject: subject(made.verdict.rule) };
      const data = Buffer.from(JSON.stringify(value));
      return makeRecord({ stream: 'CONFIG_LOG', headers: undefined, ...place, data }, [], Buffer.alloc(32));
    });
    const first = made.records.findIndex(({ stream }) => stream === 'KV_bailiff_pods');
    const created = { ...made.header.created, ...(isMadeAgain ? { CONFIG_LOG: at } : {}) };
    const records = made.records.toSpliced(first, 0, ...stored);
    const { checks } = await verifyBundle(linesOf({ header: { ...made.header, created }, records }), {
      ...trusted,
      ...UNLOGGED,
    });
    const begin = isMadeAgain ? new Date(at / 1000).toISOString() : 'frames';
    expect(checks.filter(({ name }) => name === 'judged')).toEqual([
      { name: 'judged', outcome: judged, detail: expect.stringContaining(begin) },
    ]);
  });

  it('consistency - another head of the same size fails; one of another size is skipped', async () => {
    const forked = new MemoryLog();
    while (forked.size < bundle.log.size) forked.append(Buffer.from('other'));
    expect(await outcomes(bundle.lines, { knownHead: forked.head() })).toMatchObject({ consistency: 'FAIL' });
    expect(await outcomes(bundle.lines, { knownHead: bundle.log.head(3) })).toMatchObject({ consistency: 'SKIP' });
    const foreign = bundle.log.head(bundle.log.size, keyOf(5).privateKey);
    expect(await outcomes(bundle.lines, { knownHead: foreign })).toMatchObject({ consistency: 'FAIL' });
  });

  it('consistency - a signed note that is no head fails; a copy of the log that is too short is skipped', async () => {
    const { at, size } = bundle.log;
    const note = signNote(`${ORIGIN}\n3\nx\n`, ORIGIN, LOG.privateKey);
    expect(await outcomes(bundle.lines, { knownHead: note })).toMatchObject({ consistency: 'FAIL', inclusion: 'PASS' });
    const of = async (most: number) => {
      const proofBetween = (older: number, newer: number) =>
        newer <= most ? consistencyProof(older, newer, at) : null;
      return (await outcomes(bundle.lines, { knownHead: bundle.log.head(3), proofBetween }))['consistency'];
    };
    expect([await of(size), await of(size - 1)]).toEqual(['PASS', 'SKIP']);
  });

  it('rotation - a head of a former key stays valid beside a new one', async () => {
    const logKeys = [verifierKey(ORIGIN, keyOf(7).privateKey), LOG_KEY];
    expect(await outcomes(bundle.lines, { logKeys })).toMatchObject({ 'log-head': 'PASS' });
    expect(await outcomes(bundle.lines, { logKeys: logKeys.slice(0, 1) })).toMatchObject({ 'log-head': 'FAIL' });
  });

  it('another fold - honestly exported, it is not judged again, and nothing else fails', async () => {
    const { log, header, ...rest } = bundle;
    const lines = linesOf({ ...rest, header: { ...header, fold: FOLD_VERSION + 1 } }, log.stated());
    expect(failed(await outcomes(lines))).toEqual([]);
    expect(await outcomes(lines)).toMatchObject({ judged: 'SKIP' });
  });

  it('judged - frames that do not give the verdict fail, also if the exporter signed them', async () => {
    const { log, ...rest } = bundle;
    const records = bundle.records.filter(({ stream, sequence }) => stream !== 'VIOLATIONS' || sequence > 90);
    expect(await outcomes(linesOf({ ...rest, records }, log.stated()))).toMatchObject({
      digest: 'PASS',
      signature: 'PASS',
      evidence: 'FAIL',
      judged: 'FAIL',
    });
  });

  it.each<[string, (verdict: Verdict) => Partial<Verdict>, string]>([
    ['control: another reason', () => ({ reason: 'another' }), 'PASS'],
    [
      'another pod of its node',
      ({ pod }) => ({ pod: { ...(pod as VerdictPod), uid: 'uid-of-victim', name: 'victim' } }),
      'FAIL',
    ],
    ['another name of its pod', ({ pod }) => ({ pod: { ...(pod as VerdictPod), name: 'victim' } }), 'FAIL'],
    ['no pod', () => ({ pod: null }), 'FAIL'],
    ['another group', () => ({ groupKey: 'uid-of-victim' }), 'FAIL'],
  ])('judged - a verdict of the id that the frames give, but about %s', async (_, change, judged) => {
    const made = incident(1);
    const records = made.records.map((record) => {
      if (record.stream !== 'VERDICTS') return record;
      const { stream, sequence, storedAt: storedAtMicros, subject } = record;
      const data = encodeVerdict({ ...made.verdict, ...change(made.verdict) });
      return makeRecord({ stream, sequence, storedAtMicros, subject, headers: undefined, data }, [], Buffer.alloc(32));
    });
    const all = await outcomes(linesOf({ ...made, records }), UNLOGGED);
    expect([all['judged'], failed(all)]).toEqual([judged, judged === 'FAIL' ? ['judged'] : []]);
  });

  it('redacted - its signature, its digest and its verdict are the same, and its addresses are gone', async () => {
    const lines = bundle.lines.map((line, index) =>
      index === 0 || index === bundle.lines.length - 1 ? line : JSON.stringify(redact(parseRecord(line), CLASSES)),
    );
    const text = (of: readonly string[]) =>
      of.flatMap((line) =>
        (line.match(/"[A-Za-z0-9+/=]{4,}"/g) ?? []).map((word) => Buffer.from(word, 'base64').toString('latin1')),
      );
    expect(text(bundle.lines).join()).toContain('10.0.0.3');
    expect(text(lines).join()).not.toContain('10.0.0.3');
    expect(failed(await outcomes(lines))).toEqual([]);
    expect(await outcomes(lines)).toMatchObject({
      digest: 'PASS',
      signature: 'PASS',
      judged: 'PASS',
      inclusion: 'PASS',
    });
    expect((await verifyBundle(lines, trusted)).limits.at(-1)).toMatch(/redacted content/);
  });

  it.each([
    ['nothing', []],
    ['an empty line', ['']],
    ['not JSON', ['{']],
    ['a list', ['[]']],
    ['a header alone', [bundle.lines[0] as string]],
    ['a statement alone', [bundle.lines.at(-1) as string]],
    ['deep JSON', ['['.repeat(100_000)]],
    ['a second statement', [...bundle.lines, bundle.lines.at(-1) as string]],
  ])('a file with %s is a report with a failure', async (_name, lines) => {
    expect(failed(await outcomes(lines))).toContain('format');
  });
});

describe('verify - other forms, which the exporter signed', () => {
  const own = incident(1);
  const variants = variantsOf(own, linesOf(own).slice(0, -1));
  it.each(variants)('$name', async ({ lines, found }) => {
    const result = await outcomes(lines, UNLOGGED);
    expect(failed(result)).toEqual(found === null ? [] : [found]);
    if (found !== null) expect(result).not.toMatchObject({ digest: 'PASS', verdict: 'PASS' });
  });

  it.each([
    [UNKNOWN_SCHEMA, ['verdict', 'evidence', 'judged']],
    [UNKNOWN_FRAMES, ['judged']],
    ['honest', []],
  ])(
    '%s - a schema that this version does not know is read, and what depends on it is skipped',
    async (name, dependent) => {
      const { lines = [] } = variants.find((one) => one.name === name) ?? {};
      const skipped = Object.entries(await outcomes(lines, { ...UNLOGGED, witnessKeys: [] }));
      expect(skipped.filter(([, outcome]) => outcome === 'SKIP').map(([check]) => check)).toEqual([
        ...['log-head', 'witness', 'inclusion', 'consistency'],
        ...dependent,
      ]);
    },
  );

  it('a salt of another length - changes an address that the hashes of the record do not show', async () => {
    const frame = own.records.find(({ stream }) => stream === 'VIOLATIONS');
    if (!frame) throw new Error('no frame');
    // Anyone can redact the other parts, so that the content has no hash of its own.
    const at = frame.parts.findLastIndex((part) => typeof part !== 'string');
    const held = { ...frame, parts: frame.parts.map((part, n) => (n === at ? redactedPart(part) : part)) };
    const moved = movedSalt(held);
    expect(recordHash(moved, 1)).toEqual(recordHash(frame, 1));
    expect([isWhole(moved), contentOf(moved).equals(contentOf(held))]).toEqual([null, false]);
    const withFrame = (record: typeof frame) =>
      linesOf(own).map((line) =>
        line.startsWith('{"stream":"VIOLATIONS","sequence":1,') ? JSON.stringify(record) : line,
      );
    expect(failed(await outcomes(withFrame(held), UNLOGGED))).toEqual([]);
    expect(failed(await outcomes(withFrame(moved), UNLOGGED))).toEqual(['format']);
  });

  it('more records of a stream than the bus keeps - are not read', async () => {
    const [head = '', ...rest] = linesOf(own).slice(0, -1);
    const schemas = (count: number) => Array.from({ length: count }, () => rest[0] as string);
    const count = own.records.filter(({ stream }) => stream === 'KV_bailiff_schemas').length;
    expect(failed(await outcomes(sealed([head, ...schemas(512 - count), ...rest]), UNLOGGED))).toEqual([]);
    expect(failed(await outcomes(sealed([head, ...schemas(513 - count), ...rest]), UNLOGGED))).toEqual(['records']);
  });
});

const redactedPart = (part: Parameters<typeof redact>[0]['parts'][number]) =>
  redact({ ...(incident(1).records[0] as Parameters<typeof redact>[0]), parts: [part] }, CLASSES)
    .parts[0] as typeof part;

describe('verify - many bundles', () => {
  it(`${HONEST} honest bundles - no check fails`, async () => {
    for (let seed = 0; seed < HONEST; seed++) {
      const own = logged(incident(seedOf * 100_000 + seed));
      const result = await outcomes(linesOf(own, own.log.stated()), { knownHead: own.log.head() });
      expect({ seed, result }).toEqual({ seed, result: ALL_PASS });
    }
  });

  it.each(MANIPULATIONS)(`%s - found and named, ${FORGED} of ${FORGED}`, async (kind) => {
    let random = seedOf + MANIPULATIONS.indexOf(kind);
    const pick = (most: number) => {
      random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((random / 2 ** 32) * most);
    };
    let bundle = bundleOf(seedOf);
    for (let run = 0; run < FORGED; run++) {
      if (run % 25 === 0) bundle = bundleOf(seedOf * 1_000 + run);
      const { lines, found } = forge(kind, bundle, pick);
      expect(lines).not.toEqual(bundle.lines);
      const result = failed(await outcomes(lines));
      expect({ run, result, isNamed: result.some((name) => (found as readonly string[]).includes(name)) }).toEqual({
        run,
        result,
        isNamed: true,
      });
    }
  });
});
