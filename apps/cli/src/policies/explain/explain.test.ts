import type { PlacedPod } from '@bailiff/insight';
import { explain, mergeSelected } from '@bailiff/runtime';
import { policyOf } from '@bailiff/runtime/testing';
import { describe, expect, it } from 'vitest';
import { conflictsOf } from './conflicts.ts';
import { explainedSets, shortMatches } from './container-sets.ts';
import { type OperationFlags, parseOperation } from './parse-operation.ts';

describe('policy operation', () => {
  it.each<[OperationFlags, object]>([
    [
      { operation: 'read', path: '/etc/shadow' },
      { kind: 'path', op: 'read', path: '/etc/shadow' },
    ],
    [
      { operation: 'map', path: '/x.so' },
      { kind: 'path', op: 'map-execute', path: '/x.so' },
    ],
    [
      { operation: 'connect', path: '/run/x.sock' },
      { kind: 'path', op: 'unix-connect', path: '/run/x.sock' },
    ],
    [
      { operation: 'connect', abstract: '@x' },
      { kind: 'abstract', op: 'unix-connect', name: 'x' },
    ],
    [
      { operation: 'connect', address: '10.0.0.1', port: '443' },
      { kind: 'address', op: 'connect', address: '10.0.0.1', port: 443, protocol: 6 },
    ],
    [
      { operation: 'send', address: 'fd00::1', port: '53', protocol: 'udp' },
      { kind: 'address', op: 'send', address: 'fd00::1', port: 53, protocol: 17 },
    ],
    [
      { operation: 'socket', value: 'inet/raw/icmp' },
      { kind: 'value', op: 'socket', value: 0x2_0003_0001n },
    ],
    [
      { operation: 'socket', value: 'alg/seqpacket' },
      { kind: 'value', op: 'socket', value: 0x26_0005_0000n },
    ],
    [
      { operation: 'capability', value: 'CAP_NET_RAW' },
      { kind: 'value', op: 'capability', value: 13n },
    ],
    [
      { operation: 'mount', value: 'bind' },
      { kind: 'value', op: 'mount', value: 1n },
    ],
  ])('%j', (flags, operation) => {
    expect(parseOperation({ ...flags, executable: ['/bin/a', '/bin/b'] })).toEqual({
      operation,
      task: { chain: ['/bin/a', '/bin/b'], cut: false },
    });
  });

  it.each<[OperationFlags, RegExp]>([
    [{ path: '/x' }, /--path needs an operation/],
    [{ operation: 'eat' }, /"eat" is not one of execute,/],
    [{ operation: 'read' }, /needs --path/],
    [{ operation: 'read', path: 'x' }, /does not start with "\/"/],
    [{ operation: 'read', abstract: 'x' }, /is for unix sockets/],
    [{ operation: 'connect' }, /needs --address/],
    [{ operation: 'connect', address: 'host' }, /not an IP address/],
    [{ operation: 'connect', address: '::1', port: '70000' }, /--port/],
    [{ operation: 'socket', value: 'inet' }, /needs --value/],
    [{ operation: 'socket', value: 'inet/rawer' }, /not a known type/],
    [{ operation: 'capability', value: 'all' }, /--value/],
  ])('%j - is refused', (flags, message) => {
    expect(() => parseOperation(flags)).toThrow(message);
  });

  it('without --operation - null', () => {
    expect(parseOperation({})).toBeNull();
  });
});

const SHELL = { paths: ['/bin/sh'] };
const block = policyOf({ rules: [{ name: 'sh', action: 'block', execute: SHELL }] }, 'guard');
const allow = policyOf(
  {
    defaultPosture: { execute: 'block' },
    rules: [
      { name: 'sh', action: 'allow', execute: SHELL },
      { name: 'ls', action: 'allow', execute: { paths: ['/bin/ls'] } },
    ],
  },
  'web',
);

describe('policy conflicts', () => {
  it('an allow that another policy denies is reported with the deciding rule; others are not', () => {
    const { conflicts } = conflictsOf(mergeSelected([block, allow]));
    expect(conflicts).toMatchObject([{ rule: 'web/sh', decidedBy: 'guard/sh', operations: 2 }]);
    expect(conflicts[0]?.text).toMatch(/^execute of \/bin\/sh is blocked: .* although web\/sh allows it/);
    expect(conflictsOf(mergeSelected([allow])).conflicts).toEqual([]);
  });

  it('kill over block is reported; a denied part of an allowed range is not', () => {
    const kill = policyOf({ rules: [{ name: 'any', action: 'kill', execute: { directories: ['/bin'] } }] }, 'strict');
    const conflicts = conflictsOf(mergeSelected([block, kill])).conflicts;
    expect(conflicts).toMatchObject([{ rule: 'guard/sh', decidedBy: 'strict/any' }]);
    const wide = policyOf(
      {
        defaultPosture: { execute: 'block' },
        rules: [{ name: 'bin', action: 'allow', execute: { directories: ['/bin'] } }],
      },
      'wide',
    );
    const set = mergeSelected([block, wide]);
    expect(conflictsOf(set).conflicts).toEqual([]);
    const at = (path: string) => explain(set, { kind: 'path', op: 'execute', path }, { chain: [], cut: false }).outcome;
    expect([at('/bin/sh'), at('/bin/ls')]).toEqual(['block', 'pass']);
  });

  it('more rules than are tried - reported as incomplete', () => {
    const paths = (n: number) => Array.from({ length: 250 }, (_, index) => `/d${n}/f${index}`);
    const rules = Array.from({ length: 10 }, (_, n) => ({
      name: `r${n}`,
      action: 'block' as const,
      file: { paths: paths(n), operations: ['read' as const] },
    }));
    expect(conflictsOf(mergeSelected([policyOf({ rules })])).complete).toBe(false);
  });
});

const POD = { namespace: 'shop', labels: { app: 'web' }, containers: [{ name: 'app' }, { name: 'side' }] };

describe('policy explained', () => {
  it('containers - equal policies share a set; unknown names get the policies of all containers', () => {
    const mine = policyOf({ selector: { containers: ['app'] }, rules: [{ name: 'm', action: 'block', mount: {} }] });
    const init = policyOf(
      { selector: { containers: ['setup'] }, rules: [{ name: 'd', action: 'block', drift: {} }] },
      'init',
    );
    const sets = explainedSets([block, mine, init], POD as unknown as PlacedPod);
    expect(sets.map(({ containers, policies }) => [containers, policies.map(({ name }) => name)])).toEqual([
      [['app'], ['guard', 'test']],
      [['side', null], ['guard']],
      [['setup'], ['guard', 'init']],
    ]);
    expect(explainedSets([], POD as unknown as PlacedPod)).toMatchObject([
      { containers: ['app', 'side', null], set: null },
    ]);
  });

  it('short matches - grouped by operation, protocols by name, the rest counted', () => {
    const texts = [
      'read,write /a',
      'read,write /b',
      'connect any ports 0-65535 protocol 6',
      'send 10.0.0.0/8 ports 53 protocol any',
    ];
    expect(shortMatches(texts, [['both', ['write', 'read']]], 3)).toBe('both /a, /b; connect any tcp; and 1 more');
    expect(shortMatches(texts.slice(3), [], 3)).toBe('send 10.0.0.0/8 ports 53');
  });
});
