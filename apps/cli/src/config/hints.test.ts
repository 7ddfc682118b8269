import { ConfigError, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { meantKey } from '../shared/config/new-key.ts';
import { builtIn, nearKey, parseKey } from '../shared/config-keys/keys.ts';
import { tell } from '../shared/errors.ts';

function refusal(key: string, patch: (value: Record<string, never>) => object): string[] {
  const parsed = parseConfigKey(key);
  try {
    parseConfigValue(parsed, JSON.stringify(patch(structuredClone((builtIn(parsed) ?? {}) as Record<string, never>))));
  } catch (error) {
    if (error instanceof ConfigError) return tell(error, false).lines;
    throw error;
  }
  throw new Error('it was taken');
}

const HIGH = 'response.cluster._.answer-high';

describe('hints of a refused value', () => {
  it('a key that is right - is the one that was written, or a built-in one of its kind', () => {
    // What no built-in value has is known all the same, also of a kind of which none is built in.
    const optional = refusal(HIGH, (value) => ({ ...value, steps: [{ action: 'label', expirs: '1h' }] })).join('\n');
    expect(optional).toMatch(/did you mean steps\.0\.expires\?/);
    const runtime = refusal('runtime.cluster._.x', () => ({ selecter: {}, mode: 'audit', rules: [] })).join('\n');
    expect(runtime).toMatch(/did you mean selector\?/);
    expect(refusal(HIGH, (value) => ({ ...value, dryRun: 'no' })).at(-1)).toBe(
      `  \`bailiff config get ${HIGH}\` shows one that is right`,
    );
    expect(refusal('spoof.namespace.shop.default', () => ({ modes: { tunnel: 'x' } })).at(-1)).toBe(
      '  `bailiff config get spoof.cluster._.default` shows one that is right',
    );
    expect(refusal('runtime.cluster._.mine', () => ({})).join('\n')).not.toMatch(/config get/);
  });

  it('a field - the near one is named with its path; a known field that is wrong is not', () => {
    const near = refusal(HIGH, (value) => ({ ...value, dryRum: false })).join('\n');
    expect(near).toMatch(/\n {2}did you mean dryRun\?\n/);
    const within = refusal(HIGH, (value) => ({ ...value, guards: { budget: { maxPod: 1 } } })).join('\n');
    expect(within).toMatch(/did you mean guards\.budget\.maxPods\?/);
    // What no built-in value has is known all the same, also of a kind of which none is built in.
    const optional = refusal(HIGH, (value) => ({ ...value, steps: [{ action: 'label', expirs: '1h' }] })).join('\n');
    expect(optional).toMatch(/did you mean steps\.0\.expires\?/);
    const runtime = refusal('runtime.cluster._.x', () => ({ selecter: {}, mode: 'audit', rules: [] })).join('\n');
    expect(runtime).toMatch(/did you mean selector\?/);
    expect(refusal(HIGH, (value) => ({ ...value, dryRun: 'no' })).join('\n')).not.toMatch(/did you mean/);
  });

  it('a list - how it is written is said', () => {
    const told = refusal(HIGH, (value) => ({ ...value, match: { namespaces: '[kube-system]' } })).join('\n');
    expect(told).toMatch(/a list is JSON, quoted from the shell: '\["kube-system"\]'/);
  });
});

describe('the key that was meant', () => {
  it.each([
    ['response.cluster._.answer-hihg', HIGH],
    ['correlation.cluster._.repeated-spoofin', 'correlation.cluster._.repeated-spoofing'],
    ['response.cluster._.watch-alls', 'response.cluster._.watch-all'],
    ['response.cluster._.something-new', null],
    // The same name under another kind is another thing.
    ['correlation.cluster._.answer-high', null],
  ])('%s - %s', (text, meant) => {
    expect(meantKey(parseConfigKey(text), ['response.cluster._.watch-all'])).toBe(meant);
  });

  it.each([
    ['spof.cluster._.default', 'spoof.cluster._.default'],
    ['spoof.clustr._.default', 'spoof.cluster._.default'],
    ['Response.Cluster._.answer-high', HIGH],
    ['spoof.cluster.default', 'spoof.cluster._.default'],
    ['response.cluster.answer-high', HIGH],
    ['runtime.namespaces.shop.no-shell', 'runtime.namespace.shop.no-shell'],
    ['nothing.like.it', null],
    ['answer-high', null],
  ])('%s is no key - %s', (text, meant) => {
    expect(nearKey(text)).toBe(meant);
    const words = meant === null ? /<name>$/ : new RegExp(`did you mean ${meant.replaceAll('.', '\\.')}\\?$`);
    expect(() => parseKey(text)).toThrow(words);
  });
});
