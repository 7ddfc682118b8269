import { describe, expect, it } from 'vitest';
import { type ConfigError, parseConfigKey } from '../configuration/keys.ts';
import { parseConfigValue } from '../configuration/values.ts';
import { parsePorts, pathProblem } from './runtime-match.ts';

const CLUSTER = parseConfigKey('runtime.cluster._.mine');
const SCOPED = parseConfigKey('runtime.namespace.shop.mine');
const errorOf = (value: unknown, key = CLUSTER): ConfigError => {
  try {
    parseConfigValue(key, JSON.stringify(value));
  } catch (error) {
    return error as ConfigError;
  }
  throw new Error(`taken: ${JSON.stringify(value)}`);
};
const block = (match: object, more: object = {}) => ({ rules: [{ name: 'r', action: 'block', ...match, ...more }] });
const allow = (match: object, posture: object = {}) => ({
  defaultPosture: posture,
  rules: [{ name: 'r', action: 'allow', ...match }],
});

describe('runtime policies', () => {
  it('defaults - audit, an empty selector selects all, unresolvable paths are blocked', () => {
    expect(parseConfigValue(CLUSTER, JSON.stringify(block({ capabilities: ['net_raw'] })))).toEqual({
      revision: 0,
      enabled: true,
      description: '',
      selector: {},
      mode: 'audit',
      severity: 'medium',
      tags: [],
      message: '',
      defaultPosture: { file: 'allow', execute: 'allow', network: 'allow', capability: 'allow', kernel: 'allow' },
      onUnresolvable: 'block',
      rules: [{ name: 'r', action: 'block', capabilities: ['net_raw'] }],
    });
  });

  it.each<[string, object]>([
    ['paths', block({ file: { paths: ['/etc/shadow'] } })],
    ['a directory with its slash', block({ file: { directories: ['/etc/'], recursive: true, operations: ['write'] } })],
    ['read-only', block({ file: { directories: ['/'], recursive: true, readOnly: true } })],
    ['a suffix', block({ execute: { suffixes: ['.so'], operations: ['map'] } })],
    ['files without a path', block({ execute: { anonymous: true } })],
    ['drift', block({ drift: {} })],
    ['every address', block({ network: {} })],
    [
      'addresses',
      block({ network: { cidrs: ['10.0.0.0/8', 'fd00::/8'], except: ['10.1.0.0/16'], ports: [443, '8000-8999'] } }),
    ],
    ['a protocol by number', block({ network: { protocols: ['tcp', 47] } })],
    ['sockets', block({ socket: { families: ['inet', 38], types: ['raw'] } })],
    ['every socket', block({ socket: {} })],
    ['unix sockets', block({ unix: { paths: ['/run/docker.sock'], abstract: ['x'], operations: ['connect'] } })],
    ['mounts', block({ mount: {} })],
    ['kernel', block({ kernel: { operations: ['ptrace', 'host-mounts'] } })],
    ['sources', block({ file: { paths: ['/x'] } }, { fromSource: [{ path: '/bin/sh', children: true }] })],
    ['a posture alone', { defaultPosture: { network: 'block' } }],
    ['allow against its posture', allow({ file: { paths: ['/x'] } }, { file: 'audit' })],
    [
      'allow of a mount that a guarded path would refuse',
      {
        rules: [
          ...block({ file: { paths: ['/x'] } }).rules,
          { name: 'm', action: 'allow', mount: { operations: ['bind'] } },
        ],
      },
    ],
    [
      'a selector',
      {
        ...block({ mount: {} }),
        selector: {
          namespaces: ['shop'],
          podLabels: {
            matchLabels: { 'example.org/tier': 'web' },
            matchExpressions: [{ key: 'app', operator: 'Exists' }],
          },
          containers: ['main'],
        },
      },
    ],
    [
      'the same match, once counted and once refused',
      {
        rules: [
          { name: 'a', action: 'audit', fromSource: [{ path: '/bin/sh' }], mount: {} },
          { name: 'b', action: 'block', fromSource: [{ path: '/bin/sh' }], mount: {} },
        ],
      },
    ],
  ])('%s - taken', (_name, value) => {
    expect(parseConfigValue(CLUSTER, JSON.stringify(value))).toMatchObject({ mode: 'audit' });
  });

  it.each<[string, object, string]>([
    ['an empty policy', {}, 'rules'],
    ['a field unknown', { ...block({ mount: {} }), postures: {} }, 'postures'],
    ['a mode unknown', { ...block({ mount: {} }), mode: 'block' }, 'mode'],
    ['an unknown severity', { ...block({ mount: {} }), severity: 'severe' }, 'severity'],
    ['no kind', block({}), 'rules.0'],
    ['two kinds', block({ mount: {}, drift: {} }), 'rules.0.mount'],
    ['a field of another kind', block({ mount: { paths: ['/'] } }), 'rules.0.mount.paths'],
    ['no subject', block({ file: { operations: ['read'] } }), 'rules.0.file.paths'],
    ['an empty list', block({ file: { paths: [] } }), 'rules.0.file.paths'],
    ['a relative path', block({ file: { paths: ['etc'] } }), 'rules.0.file.paths.0'],
    ['a wildcard', block({ file: { paths: ['/', '/etc/*'] } }), 'rules.0.file.paths.1'],
    ['a path twice', block({ file: { paths: ['/a', '/b', '/a'] } }), 'rules.0.file.paths.2'],
    ['a path with a slash at its end', block({ execute: { paths: ['/bin/'] } }), 'rules.0.execute.paths.0'],
    ['recursive without directories', block({ file: { paths: ['/a'], recursive: true } }), 'rules.0.file.recursive'],
    [
      'operations and readOnly',
      block({ file: { paths: ['/a'], operations: ['read'], readOnly: true } }),
      'rules.0.file.readOnly',
    ],
    ['an unknown operation', block({ file: { paths: ['/a'], operations: ['execute'] } }), 'rules.0.file.operations.0'],
    ['a suffix with a slash', block({ file: { suffixes: ['/x'] } }), 'rules.0.file.suffixes.0'],
    ['a suffix too long', block({ file: { suffixes: ['x'.repeat(64)] } }), 'rules.0.file.suffixes.0'],
    ['an address without a length', block({ network: { cidrs: ['10.0.0.1'] } }), 'rules.0.network.cidrs.0'],
    ['IPv4 as IPv6', block({ network: { cidrs: ['::ffff:10.0.0.0/104'] } }), 'rules.0.network.cidrs.0'],
    ['a zone', block({ network: { cidrs: ['fe80::1%eth0/128'] } }), 'rules.0.network.cidrs.0'],
    ['a port too high', block({ network: { ports: [65536] } }), 'rules.0.network.ports.0'],
    ['a range backwards', block({ network: { ports: [1, '9-8'] } }), 'rules.0.network.ports.1'],
    ['a protocol unknown', block({ network: { protocols: ['gre'] } }), 'rules.0.network.protocols.0'],
    ['a socket protocol without family', block({ socket: { protocols: ['tcp'] } }), 'rules.0.socket.families'],
    ['an abstract name with @', block({ unix: { abstract: ['@x'] } }), 'rules.0.unix.abstract.0'],
    ['a capability in capitals', block({ capabilities: ['CAP_NET_RAW'] }), 'rules.0.capabilities.0'],
    ['an unknown kernel operation', block({ kernel: { operations: ['reboot'] } }), 'rules.0.kernel.operations.0'],
    ['a source that is relative', block({ mount: {} }, { fromSource: [{ path: 'sh' }] }), 'rules.0.fromSource.0.path'],
    ['allow without posture', allow({ file: { paths: ['/x'] } }), 'rules.0.action'],
    ['allow against another posture', allow({ file: { paths: ['/x'] } }, { network: 'block' }), 'rules.0.action'],
    ['allow of drift', allow({ drift: {} }, { execute: 'block' }), 'rules.0.action'],
    ['allow of a mount that no rule refuses', allow({ mount: {} }), 'rules.0.action'],
    [
      'values for Exists',
      {
        ...block({ mount: {} }),
        selector: { podLabels: { matchExpressions: [{ key: 'a', operator: 'Exists', values: ['x'] }] } },
      },
      'selector.podLabels.matchExpressions.0.values',
    ],
    ['a name twice', { rules: [...block({ mount: {} }).rules, ...block({ drift: {} }).rules] }, 'rules.1.name'],
  ])('%s - refused with the path of the field', (_name, value, field) => {
    expect(errorOf(value).fields).toContain(field);
  });

  it.each<[string, object, object, string]>([
    [
      'allow and block',
      { action: 'allow', file: { paths: ['/a', '/b'] } },
      { action: 'block', file: { paths: ['/b', '/a'] } },
      'rules.1.action',
    ],
    ['block and kill', { action: 'block', mount: {} }, { action: 'kill', mount: {} }, 'rules.1.action'],
    [
      'the same twice',
      { action: 'block', capabilities: ['bpf', 'kill'] },
      { action: 'block', capabilities: ['kill', 'bpf'] },
      'rules.1',
    ],
  ])('%s of one match - refused', (_name, first, second, field) => {
    const value = {
      defaultPosture: { file: 'block' },
      rules: [
        { name: 'a', ...first },
        { name: 'b', ...second },
      ],
    };
    expect(errorOf(value).fields).toContain(field);
  });

  it('allow and block of one match by different programs - no contradiction', () => {
    const rule = (name: string, action: string, path: string) => ({
      name,
      action,
      fromSource: [{ path }],
      file: { paths: ['/a'] },
    });
    const value = {
      defaultPosture: { file: 'block' },
      rules: [rule('a', 'allow', '/bin/a'), rule('b', 'block', '/bin/b')],
    };
    expect(parseConfigValue(CLUSTER, JSON.stringify(value))).toBeTruthy();
  });

  it('namespace scope - selects only its own namespace', () => {
    const policy = block({ mount: {} });
    expect(parseConfigValue(SCOPED, JSON.stringify({ ...policy, selector: { containers: ['a'] } }))).toBeTruthy();
    expect(errorOf({ ...policy, selector: { namespaces: ['shop'] } }, SCOPED).fields).toEqual(['selector.namespaces']);
  });
});

describe('runtime words', () => {
  it.each([
    ['/', null],
    ['/usr/bin/[', null],
    ['/a/b.c', null],
    ['', 'must start'],
    ['/a//b', 'empty component'],
    ['/a/../b', '".."'],
    ['/a/[bc]', 'wildcard'],
    [`/${'a/'.repeat(64)}b`, 'components'],
    [`/${'a'.repeat(256)}`, 'bytes'],
    ['/a\0b', 'NUL'],
  ])('path %j', (text, problem) => {
    if (problem === null) expect(pathProblem(text)).toBeNull();
    else expect(pathProblem(text)).toContain(problem);
  });
  it.each([
    [80, { first: 80, last: 80 }],
    ['0-65535', { first: 0, last: 65535 }],
    ['2-1', null],
    ['1-65536', null],
  ])('ports %s', (range, ports) => expect(parsePorts(range)).toEqual(ports));
});
