import { expect, test } from 'vitest';
import { CORE } from '../auth/accounts.ts';
import { permissionsFor } from '../auth/permissions.ts';
import { natsServerConf } from '../auth/server-conf.ts';
import type { Identity } from './identities.ts';
import { DEFAULT_MAX_FILE_BYTES, MAX_PAYLOAD_BYTES } from './server-limits.ts';
import { BUCKETS, COPIED_DUPLICATE_WINDOW_MS, consumerConfigs, requiredHorizonMs, streamConfigs } from './topology.ts';

test('topology - every stream has a limit by bytes, and their sum fits the default store', () => {
  const configs = streamConfigs();
  for (const { name, max_bytes } of configs) expect(max_bytes, name).toBeGreaterThan(0);
  const sum = configs.reduce((total, { max_bytes }) => total + (max_bytes ?? 0), 0);
  expect(sum).toBeLessThan(DEFAULT_MAX_FILE_BYTES);
});

test('topology - verdicts and responses outlive the replay horizon', () => {
  const options = { violationsMaxAgeMs: 3_600_000, longestTimespanMs: 600_000 };
  const nanos = requiredHorizonMs(3_600_000, 600_000) * 1_000_000;
  const ageOf = (name: string) => streamConfigs(options).find((config) => config.name === name)?.max_age;
  expect(ageOf('VERDICTS')).toBe(nanos);
  expect(ageOf('RESPONSES')).toBe(nanos);
  expect(nanos).toBe((3_600_000 + 600_000 + 86_400_000) * 1_000_000);
});

test('topology - the configuration log has no age, and keeps as many revisions of a key as the bucket', () => {
  const [bucket, log] = ['KV_bailiff_config', 'CONFIG_LOG'].map((of) =>
    streamConfigs().find(({ name }) => name === of),
  );
  expect([bucket, log].map((stream) => stream?.max_age)).toEqual([undefined, undefined]);
  expect(log?.max_msgs_per_subject).toBe(bucket?.max_msgs_per_subject);
});

test('topology - only SIEM, which no client outside the core can write, remembers ids for more than some seconds', () => {
  const roles = ['cli', 'console', 'evidence-log', 'reader', 'siem-reader', 'bus-auth'] as const;
  const outside: Identity[] = [...roles.map((role) => ({ role })), { role: 'collector', node: 'node-a' }];
  const published = outside.flatMap((identity) => permissionsFor(identity).publish.allow);
  const prefixOf = (subject: string) => subject.split('.', 3).join('.');
  for (const { name, subjects = [], duplicate_window = 0 } of streamConfigs()) {
    if (duplicate_window <= COPIED_DUPLICATE_WINDOW_MS * 1_000_000) continue;
    expect(name).toBe('SIEM');
    expect(published.map(prefixOf)).not.toContain(prefixOf(subjects[0] ?? ''));
  }
});

test('topology - a value of the largest size fits a message', () => {
  for (const { maxValueBytes } of BUCKETS) expect(maxValueBytes).toBeLessThan(MAX_PAYLOAD_BYTES);
});

test('topology - nats.conf quotes its values', () => {
  const conf = natsServerConf({
    host: '127.0.0.1',
    port: 4222,
    storeDir: '/var/lib/nats',
    users: [
      {
        user: 'a"b',
        account: CORE,
        password: '$x',
        permissions: { publish: { allow: ['$KV.>'] }, subscribe: { allow: [] } },
      },
    ],
  });
  expect(conf).toContain('user: "a\\"b", password: "$x"');
  expect(conf).toContain('allow: ["$KV.>"]');
});

test('topology - nats.conf syncs before each ack, unless another interval is set', () => {
  const conf = { host: '127.0.0.1', port: 4222, storeDir: '/var/lib/nats', users: [] };
  expect(natsServerConf(conf)).toContain('sync_interval: "always"');
  expect(natsServerConf({ ...conf, jetstream: { syncInterval: '2m' } })).toContain('sync_interval: "2m"');
});

test('topology - events for SIEMs are kept as long as violations, and each format has its consumer', () => {
  const age = (name: string) => streamConfigs().find((config) => config.name === name)?.max_age;
  expect(age('SIEM')).toBe(age('VIOLATIONS'));
  expect(consumerConfigs().map(({ config }) => [config.durable_name, config.filter_subject])).toEqual([
    ['siem-ocsf', 'bailiff.v1.siem.ocsf.>'],
    ['siem-ecs', 'bailiff.v1.siem.ecs.>'],
    ['siem-cef', 'bailiff.v1.siem.cef.>'],
  ]);
});
