import type { EndedConnections, InstanceStatus } from '@bailiff/schemas';
import { expect, test } from 'vitest';
import { busAuthOf } from './bus-auth-status.ts';
import { instancesOf } from './service-health.ts';

const AT = 1_790_000_000_000;
const at = (seconds: number) => new Date(AT + seconds * 1_000).toISOString();
const instance = (name: string, watched: boolean, ended: EndedConnections[]): InstanceStatus => ({
  service: 'bus-auth',
  instance: name,
  version: '1',
  startedAt: at(-600),
  updatedAt: at(-1),
  configRevision: 0,
  configRefused: [],
  nodeConnections: { watched, ended },
});
const of = (...instances: InstanceStatus[]) => busAuthOf(instancesOf('bus-auth', instances, AT), AT);
const ended = { node: 'node-a', connections: 4, reason: 'too-many', host: '10.0.0.9', endedAt: at(-50) };

test('status of bus-auth - replicas end the same connections, and one that knows the ban is enough', () => {
  const newer = { ...ended, connections: 3, reason: 'flooding', endedAt: at(-20), keptOutUntil: at(40) };
  const other = { ...ended, node: 'node-b', endedAt: at(-5) };
  const status = of(instance('a', false, [ended]), instance('b', true, [newer, other]));
  expect(status).toMatchObject({ running: 2, watched: true });
  expect(status?.ended).toEqual([other, { ...newer, connections: 4 }]);
  expect(of(instance('b', true, [newer]), instance('a', false, [ended]))?.ended).toEqual([
    { ...newer, connections: 4 },
  ]);
});

test('status of bus-auth - without an instance there is none; without a running one, it has ended nothing', () => {
  expect(of()).toBeNull();
  const stopped = { ...instance('a', true, [ended]), stoppedAt: at(-1) };
  expect(of(stopped)).toMatchObject({ running: 0, watched: false, ended: [] });
});
