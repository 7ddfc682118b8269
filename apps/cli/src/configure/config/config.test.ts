import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { configRefusal, formatConfigKey, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { temporaryDirectory } from '@bailiff/service/testing';
import { describe, expect, it, test } from 'vitest';
import { assign, parseAssignment } from '../../shared/config/assignments.ts';
import { effectiveFrom } from '../../shared/config/change.ts';
import { changeOf, type Revision, rollbackTarget } from '../../shared/config/history.ts';
import { builtIn, builtInKeys, initialValue, parseKey } from '../../shared/config-keys/keys.ts';
import { readDocument } from '../../shared/files.ts';

describe('keys', () => {
  it.each([
    'spoof.cluster._.default',
    'spoof.namespace.shop.default',
    'spoof.workload.shop.web',
    'correlation.cluster._.anything',
    'response.cluster._.anything',
    'disarm.cluster._.all',
    'disarm.node._.node-1_example',
    'disarm.namespace.shop.all',
  ])('%s is valid', (text) => {
    expect(formatConfigKey(parseKey(text))).toBe(text);
  });

  it.each([
    ['spoof.cluster._.other', 'spoof.cluster._.default'],
    ['spoof.namespace.shop.web', 'spoof.namespace.shop.default'],
    ['disarm.namespace.shop.x', 'disarm.namespace.shop.all'],
  ])('%s is refused with a suggestion', (text, right) => {
    expect(() => parseKey(text)).toThrow(
      expect.objectContaining({ code: 'CONFIG_KEY', message: expect.stringContaining(right) }),
    );
  });

  it('built in - every such key has a valid value and a valid initial value', () => {
    for (const text of builtInKeys()) {
      const key = parseKey(text);
      expect(parseConfigValue(key, JSON.stringify(builtIn(key)))).toBeTruthy();
      expect(parseConfigValue(key, JSON.stringify(initialValue(key)))).toBeTruthy();
    }
    expect(builtIn(parseConfigKey('spoof.namespace.shop.default'))).toBeUndefined();
    expect(initialValue(parseConfigKey('spoof.cluster._.default'))).toEqual({});
  });
});

describe('fields', () => {
  it.each([
    ['modes.tunnel=audit', { path: ['modes', 'tunnel'], value: 'audit' }],
    ['condition.gte=20', { path: ['condition', 'gte'], value: 20 }],
    ['dryRun=false', { path: ['dryRun'], value: false }],
    ['match.levels=["high"]', { path: ['match', 'levels'], value: ['high'] }],
    ['group-by=pod', { path: ['group-by'], value: 'pod' }],
    ['description=a=b c', { path: ['description'], value: 'a=b c' }],
    ['modes.tunnel-', { path: ['modes', 'tunnel'], value: undefined }],
  ])('%s', (text, expected) => {
    expect(parseAssignment(text)).toEqual(expected);
  });

  it.each(['', 'x', '=1', 'a..b=1', '.a=1', '__proto__.x=1', 'a b=1'])('"%s" is refused', (text) => {
    expect(() => parseAssignment(text)).toThrow(expect.objectContaining({ code: 'CLI_USAGE' }));
  });

  it('assign - copies, creates missing fields, removes named ones', () => {
    const base = { modes: { tunnel: 'audit' }, list: [1] };
    const set = (...texts: string[]) => assign(base, texts.map(parseAssignment));
    expect(set('modes.redirect=off', 'new.deep=1')).toEqual({
      modes: { tunnel: 'audit', redirect: 'off' },
      list: [1],
      new: { deep: 1 },
    });
    expect(set('modes.tunnel-', 'not.there-')).toEqual({ modes: {}, list: [1] });
    expect(base).toEqual({ modes: { tunnel: 'audit' }, list: [1] });
    expect(() => set('list.0=2')).toThrow(/"list" has no fields/);
    expect(() => set('constructor.prototype=1')).not.toThrow();
    expect(({} as Record<string, unknown>)['prototype']).toBeUndefined();
  });
});

describe('documents', () => {
  const dir = temporaryDirectory();
  const read = async (text: string) => {
    const file = path.join(dir, 'value');
    writeFileSync(file, text);
    return readDocument(file, { readStdin: async () => '' });
  };

  it('JSON, YAML and stdin', async () => {
    expect(await read('{"a": 1}')).toEqual({ a: 1 });
    expect(await read('a: 1\nb:\n  - x\n')).toEqual({ a: 1, b: ['x'] });
    expect(await readDocument('-', { readStdin: async () => '{"b": 2}' })).toEqual({ b: 2 });
  });

  it('malformed documents are refused with the reason', async () => {
    await expect(read('{"a": }')).rejects.toMatchObject({
      code: 'CLI_CONFIG',
      message: expect.stringMatching(/value: not JSON/),
    });
    await expect(read('a: b: c')).rejects.toMatchObject({ code: 'CLI_CONFIG', exitCode: 6 });
    await expect(read(' \n')).rejects.toThrow(/is empty/);
    await expect(readDocument(path.join(dir, 'none'), { readStdin: async () => '' })).rejects.toMatchObject({
      code: 'ENOENT',
    });
    rmSync(dir, { recursive: true });
  });
});

describe('history', () => {
  const revision = (number: number, value: unknown): Revision => ({
    sequence: number * 10,
    storedAtMicros: number,
    revision: number,
    value,
    text: '',
    by: '',
    why: '',
    owner: null,
    released: false,
    signature: '',
  });
  const a = revision(1, { x: 1, revision: 1 });
  const b = revision(2, { x: 2, revision: 2 });
  const again = revision(3, { x: 2, revision: 3 });
  const gone = revision(3, undefined);

  it('change - lines since the previous revision', () => {
    expect([
      changeOf(undefined, a),
      changeOf(a, b),
      changeOf(b, again),
      changeOf(again, gone),
      changeOf(gone, a),
    ]).toEqual(['created', '+1 -1', '+0 -0', 'deleted', 'created']);
  });

  it('rollback - to the last different value, or to a revision', () => {
    expect(rollbackTarget([a, b, again], null)).toBe(a);
    expect(rollbackTarget([a, b, gone], null)).toBe(b);
    expect(rollbackTarget([a, b], 2)).toBe(b);
    expect(rollbackTarget([a], null).value).toBeUndefined();
    expect(rollbackTarget([gone, a], null)).toBe(gone);
  });

  it('rollback - an unknown revision is refused with the known ones', () => {
    expect(() => rollbackTarget([], null)).toThrow(/no history/);
    expect(() => rollbackTarget([a, b], 7)).toThrow(
      expect.objectContaining({ code: 'CLI_NOT_FOUND', remedy: 'known revisions: 1, 2' }),
    );
    expect(() => rollbackTarget([gone], null)).toThrow(/no earlier value/);
  });

  it('refusal - of an invalid value names the reason', () => {
    expect(configRefusal('spoof.cluster._.default', '{}')).toBe('');
    expect(configRefusal('spoof.cluster._.default', '{"modes":{"tunnel":"maybe"}}')).toMatch(/^modes\.tunnel: /);
    expect(configRefusal('spoof.cluster._.default', '{')).toMatch(/not JSON/);
    expect(configRefusal('hello', '{}')).toMatch(/is not <kind>/);
  });
});

test.each([
  ['correlation.cluster._.a', /^applies to violations .* one second after/],
  ['response.cluster._.a', /^applies to verdicts .* one second after/],
])('config - a change of %s reports when it takes effect', (key, expected) => {
  expect(effectiveFrom(key)).toMatch(expected);
});
test('config - a change that applies at once reports no time', () => {
  for (const key of ['spoof.cluster._.default', 'runtime.cluster._.a', 'disarm.cluster._.all']) {
    expect(effectiveFrom(key)).toBeNull();
  }
});
