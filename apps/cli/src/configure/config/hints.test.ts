import { ConfigError, parseConfigKey, parseConfigValue } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { suggestedKey } from '../../shared/config/suggestions.ts';
import { builtIn, parseKey, similarKey } from '../../shared/config-keys/keys.ts';
import { describeError } from '../../shared/errors.ts';

function refusal(key: string, patch: (value: Record<string, never>) => object): string[] {
  const parsed = parseConfigKey(key);
  try {
    parseConfigValue(parsed, JSON.stringify(patch(structuredClone((builtIn(parsed) ?? {}) as Record<string, never>))));
  } catch (error) {
    if (error instanceof ConfigError) return describeError(error, false).lines;
    throw error;
  }
  throw new Error('the value was accepted');
}

const HIGH = 'response.cluster._.answer-high';

describe('hints of a refused value', () => {
  it('example key - is the written key, or a built-in key of its kind', () => {
    expect(refusal(HIGH, (value) => ({ ...value, dryRun: 'no' })).at(-1)).toBe(
      `  \`bailiff config get ${HIGH}\` shows a valid value`,
    );
    expect(refusal('spoof.namespace.shop.default', () => ({ modes: { tunnel: 'x' } })).at(-1)).toBe(
      '  `bailiff config get spoof.cluster._.default` shows a valid value',
    );
    expect(refusal('runtime.cluster._.mine', () => ({})).join('\n')).not.toMatch(/config get/);
  });

  it('field - a similar name is suggested with its path; a known name is not', () => {
    const near = refusal(HIGH, (value) => ({ ...value, dryRum: false })).join('\n');
    expect(near).toMatch(/\n {2}did you mean dryRun\?\n/);
    const within = refusal(HIGH, (value) => ({ ...value, guards: { budget: { maxPod: 1 } } })).join('\n');
    expect(within).toMatch(/did you mean guards\.budget\.maxPods\?/);
    // Suggestions come from the schema, also for fields and kinds without a built-in value.
    const optional = refusal(HIGH, (value) => ({ ...value, steps: [{ action: 'label', expirs: '1h' }] })).join('\n');
    expect(optional).toMatch(/did you mean steps\.0\.expires\?/);
    const runtime = refusal('runtime.cluster._.x', () => ({ selecter: {}, mode: 'audit', rules: [] })).join('\n');
    expect(runtime).toMatch(/did you mean selector\?/);
    expect(refusal(HIGH, (value) => ({ ...value, dryRun: 'no' })).join('\n')).not.toMatch(/did you mean/);
  });

  it('list - the syntax is explained', () => {
    const report = refusal(HIGH, (value) => ({ ...value, match: { namespaces: '[kube-system]' } })).join('\n');
    expect(report).toMatch(/write a list as JSON, quoted for the shell: '\["kube-system"\]'/);
  });
});

describe('suggested keys', () => {
  it.each([
    ['response.cluster._.answer-hihg', HIGH],
    ['correlation.cluster._.repeated-spoofin', 'correlation.cluster._.repeated-spoofing'],
    ['response.cluster._.watch-alls', 'response.cluster._.watch-all'],
    ['response.cluster._.something-new', null],
    // A name is not suggested across kinds.
    ['correlation.cluster._.answer-high', null],
  ])('%s - %s', (text, meant) => {
    expect(suggestedKey(parseConfigKey(text), ['response.cluster._.watch-all'])).toBe(meant);
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
  ])('%s is malformed - %s', (text, meant) => {
    expect(similarKey(text)).toBe(meant);
    const words = meant === null ? /<name>$/ : new RegExp(`did you mean ${meant.replaceAll('.', '\\.')}\\?$`);
    expect(() => parseKey(text)).toThrow(words);
  });
});
