import { expect, test } from 'vitest';
import { FIXED_ROLES, type Identity, inboxPrefixFor, inboxPrefixOf, userOf } from '../topology/identities.ts';
import { permissionsFor } from './permissions.ts';

const roles = FIXED_ROLES.filter((role) => role !== 'admin');
const identities: Identity[] = [{ role: 'collector', node: 'node-1.example' }, ...roles.map((role) => ({ role }))];

test.each(identities)('permissions - $role may not publish everywhere, nor subscribe beyond its own', (identity) => {
  const { publish, subscribe } = permissionsFor(identity);
  for (const subject of publish.allow) expect(subject).not.toMatch(/^(>|\*|\$JS\.API\.>|\$KV\.>|\$KV\.\*|_INBOX)/);
  for (const subject of subscribe.allow)
    expect(subject).toMatch(/^(_INBOX_|bailiff\.v1\.(push|siem|replay|capture|state|read)\.)/);
  expect(subscribe.allow).toContain(`${inboxPrefixFor(identity)}.>`);
  expect(new Set(publish.allow).size).toBe(publish.allow.length);
});

test.each(identities)('permissions - $role cannot change or make streams', (identity) => {
  for (const subject of permissionsFor(identity).publish.allow) {
    expect(subject).not.toMatch(/\$JS\.API\.STREAM\.(CREATE|UPDATE|DELETE|PURGE|MSG\.DELETE)/);
  }
});

test('permissions - a collector names only its own node', () => {
  const { publish, subscribe } = permissionsFor({ role: 'collector', node: 'node-1.example' });
  const perNode = [...publish.allow, ...subscribe.allow].filter((subject) => !subject.includes('bailiff_config'));
  for (const subject of perNode) expect(subject).toMatch(/node-1_example|_cluster/);
});

test('permissions - the inbox is derived from the user', () => {
  for (const identity of identities) expect(inboxPrefixOf(userOf(identity))).toBe(inboxPrefixFor(identity));
  expect(inboxPrefixOf('collector-node-1.example')).toBe('_INBOX_collector_node-1_example');
});
