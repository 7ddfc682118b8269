import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { buildConfig, busOptionsOf, busShape, envName, frameShape } from './config.ts';
import { exitCodeOf, ServiceError } from './errors.ts';
import { flagName, parseFlags, pathOfFlag } from './flags.ts';
import { redact } from './redact.ts';
import { leavesOf } from './schema-walk.ts';

const schema = z
  .strictObject({
    natsUrl: z.string().default('nats://127.0.0.1:4222'),
    limit: z.number().int().min(1).max(100).default(10),
    dryRun: z.boolean().default(true),
    namespaces: z.array(z.string()).default([]),
    sampling: z.strictObject({ perSecond: z.number().default(5), burst: z.number().default(8) }).prefault({}),
    weights: z.record(z.string(), z.number()).default({}),
    needed: z.string(),
    ...frameShape,
  })
  .strict();

const known = new Map(leavesOf(schema).map((leaf) => [leaf.path, { boolean: leaf.kind === 'boolean' }]));

function build(from: { defaults?: object; file?: unknown; env?: Record<string, string>; argv?: string[] }) {
  return buildConfig(schema, {
    name: 'ipam-sync',
    defaults: { needed: 'x', ...from.defaults },
    file: from.file === undefined ? null : { path: 'c.yaml', value: from.file },
    env: from.env ?? {},
    flags: parseFlags(from.argv ?? [], known).values,
  });
}

describe('config - precedence', () => {
  const sources = [
    { defaults: { limit: 1 } },
    { file: { limit: 2 } },
    { env: { BAILIFF_IPAM_SYNC_LIMIT: '3' } },
    { argv: ['--limit', '4'] },
  ];
  test.each([
    [0, 10],
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 4],
  ])('config - the last of %i sources holds', (count, expected) => {
    expect(build(Object.assign({}, ...sources.slice(0, count))).limit).toBe(expected);
  });
  test('config - a nested key from each source leaves its neighbours alone', () => {
    const config = build({
      file: { sampling: { perSecond: 7 } },
      env: { BAILIFF_IPAM_SYNC_SAMPLING__BURST: '9' },
    });
    expect(config.sampling).toEqual({ perSecond: 7, burst: 9 });
  });
  test.each([
    ['number', ['--limit=7'], { limit: 7 }],
    ['boolean alone', ['--dry-run'], { dryRun: true }],
    ['boolean negated', ['--no-dry-run'], { dryRun: false }],
    ['boolean with a value', ['--dry-run=false'], { dryRun: false }],
    ['list', ['--namespaces', 'a, b'], { namespaces: ['a', 'b'] }],
    ['empty list', ['--namespaces', ''], { namespaces: [] }],
    ['json', ['--weights', '{"a":1}'], { weights: { a: 1 } }],
    ['text that looks like a number', ['--needed', '12'], { needed: '12' }],
    ['given twice', ['--limit', '1', '--limit', '2'], { limit: 2 }],
  ])('config - flag of kind %s', (_, argv, expected) => {
    expect(build({ argv })).toMatchObject(expected);
  });
});

describe('config - refusals name the field and where it came from', () => {
  test.each<[string, Parameters<typeof build>[0], string, string, number]>([
    ['unknown key in the file', { file: { limitt: 3 } }, 'limitt', 'c.yaml', 6],
    ['unknown nested key', { file: { sampling: { x: 1 } } }, 'sampling.x', 'c.yaml', 6],
    ['wrong type in the file', { file: { limit: 'many' } }, 'limit', 'c.yaml', 6],
    ['out of range by variable', { env: { BAILIFF_IPAM_SYNC_LIMIT: '101' } }, 'limit', 'BAILIFF_IPAM_SYNC_LIMIT', 6],
    ['not a number by flag', { argv: ['--limit', 'ten'] }, 'limit', '--limit', 2],
    ['bad json by flag', { argv: ['--weights', '{'] }, 'weights', '--weights', 2],
    ['missing', { defaults: { needed: undefined } }, 'needed', 'needed', 6],
    ['unknown variable', { env: { BAILIFF_IPAM_SYNC_LIMITS: '1' } }, 'BAILIFF_IPAM_SYNC_LIMITS', 'no such key', 6],
    ['bad listen address', { argv: ['--metrics-address', '9090'] }, 'metricsAddress', '--metrics-address', 2],
    ['file that is a list', { file: [] }, '', 'must hold an object', 6],
  ])('config - %s', (_, from, field, text, exitCode) => {
    const error = catchError(() => build(from));
    expect(error).toBeInstanceOf(ServiceError);
    expect(error.message).toContain(text);
    expect(exitCodeOf(error)).toBe(exitCode);
    if (field) expect((error as ServiceError).fields).toContain(field);
  });
  test.each([['PORT'], ['SERVICE_HOST'], ['SERVICE_PORT_METRICS'], ['PORT_9090_TCP'], ['PORT_9090_TCP_ADDR']])(
    'config - a Kubernetes service link is no unknown key: %s',
    (suffix) => {
      expect(build({ env: { [`BAILIFF_IPAM_SYNC_${suffix}`]: 'tcp://10.0.0.1:9090' } }).limit).toBe(10);
    },
  );
  test('config - a key called __proto__ changes no prototype', () => {
    expect(() => build({ file: JSON.parse('{"__proto__":{"limit":3}}') })).toThrow(ServiceError);
    expect(({} as { limit?: number }).limit).toBeUndefined();
  });
  test.each([[['--unknown', '1']], [['stray']], [['--limit']], [['--']], [['--Limit', '1']], [['--no-limit']]])(
    'config - flags %j are refused with exit code 2',
    (argv) => {
      expect(exitCodeOf(catchError(() => parseFlags(argv, known)))).toBe(2);
    },
  );
});

test('config - flag names and paths are inverse', () => {
  const word = fc.stringMatching(/^[a-z]{1,6}([A-Z][a-z]{0,5}){0,3}$/);
  fc.assert(
    fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), (words) => {
      const path = words.join('.');
      expect(pathOfFlag(flagName(path))).toBe(path);
    }),
  );
});

test('config - variables of different keys differ', () => {
  const names = leavesOf(schema).map((leaf) => envName('ipam-sync', leaf.path));
  expect(new Set(names).size).toBe(names.length);
  expect(names).toContain('BAILIFF_IPAM_SYNC_SAMPLING__PER_SECOND');
});

test.each([
  [{ password: 'x' }, { password: '[redacted]' }],
  [{ natsPasswordFile: '/run/p' }, { natsPasswordFile: '/run/p' }],
  [{ apiToken: '' }, { apiToken: '' }],
  [{ redisUrl: 'redis://u:p@h:1' }, { redisUrl: 'redis://[redacted]@h:1' }],
  [{ urls: ['nats://a:b@h', 'nats://h'] }, { urls: ['nats://[redacted]@h', 'nats://h'] }],
  [{ deep: { clientSecret: 'x', n: 1 } }, { deep: { clientSecret: '[redacted]', n: 1 } }],
])('config - redaction of %j', (value, expected) => {
  expect(redact(value)).toEqual(expected);
});

test.each([
  [Object.assign(new Error('x'), { code: 'ECONNREFUSED' }), 7],
  [new Error('x', { cause: Object.assign(new Error('y'), { code: 'BUS_UNREACHABLE' }) }), 7],
  [Object.assign(new Error('x'), { code: 'EPERM' }), 4],
  [Object.assign(new Error('x'), { exitCode: 3 }), 3],
  [new TypeError('x'), 1],
  ['text', 1],
])('exit code - %s', (error, code) => {
  expect(exitCodeOf(error)).toBe(code);
});

function catchError(fn: () => unknown): Error {
  try {
    fn();
  } catch (error) {
    return error as Error;
  }
  throw new Error('did not throw');
}

test.each([
  [{}, { servers: ['nats://127.0.0.1:4222'], user: '' }],
  [
    { natsUrl: 'nats://a:1, nats://b:2', natsUser: 'u', natsPasswordFile: '/p' },
    { servers: ['nats://a:1', 'nats://b:2'], user: 'u', passwordFile: '/p' },
  ],
  [
    { natsCaFile: '/ca', natsCertFile: '/c', natsKeyFile: '/k' },
    { servers: ['nats://127.0.0.1:4222'], user: '', tls: { caFile: '/ca', certFile: '/c', keyFile: '/k' } },
  ],
])('config - bus options of %j', (given, expected) => {
  expect(busOptionsOf(z.strictObject(busShape).parse(given))).toEqual(expected);
});

test.each([
  ['nats://127.0.0.1:4222', true],
  ['nats://bus', true],
  ['tls://a.example:4222, nats://[2001:db8::1]:4222', true],
  ['bus:4222', true],
  ['garbage', false],
  ['', false],
  ['nats://', false],
  ['nats://bus:99999', false],
  ['http://bus:4222', false],
  ['nats://a:1,,nats://b:2', false],
  ['nats://a b', false],
])('config - the address of the bus %j is taken: %s', (natsUrl, isTaken) => {
  expect(z.strictObject(busShape).safeParse({ natsUrl }).success).toBe(isTaken);
});
