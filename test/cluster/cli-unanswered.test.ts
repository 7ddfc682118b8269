// A command that writes several keys gets no response to one of its writes, for as long as it tries.
import { type Bus, BusError, readConfig } from '@bailiff/bus';
import { parseConfigKey } from '@bailiff/policy';
import { podIdentityOf, sampleLsmViolation, sampleOperation } from '@bailiff/schemas/testing';
import { describe, expect, it } from 'vitest';
import { SeenOperations } from '../../apps/cli/src/policies/learn/observed-operations.ts';
import { TemporaryPolicy } from '../../apps/cli/src/policies/learn/temporary-policy.ts';
import { writeAll } from '../../apps/cli/src/shared/config/change.ts';
import type { Session } from '../../apps/cli/src/shared/session.ts';
import { captureCli } from '../../apps/cli/src/testing.ts';
import { startBus } from '../support/bus.ts';
import { WEB } from './cli/world.ts';

const KEYS = ['spoof.namespace.a.default', 'spoof.namespace.b.default', 'spoof.namespace.c.default'] as const;
const UNANSWERED = `$KV.bailiff_config.${KEYS[1]}`;

/** @param isSent the server gets the write, and its response is lost; otherwise it gets nothing */
function losingAll(bus: Bus, isSent: boolean, unanswered = UNANSWERED): Bus {
  const send = async (...args: Parameters<Bus['requests']['send']>) => {
    if (args[0] !== unanswered) return bus.requests.send(...args);
    if (isSent) await bus.requests.send(...args);
    throw new BusError('BUS_TIMEOUT', `${args[0]}: lost`);
  };
  return new Proxy(bus, {
    get: (target, name) => (name === 'requests' ? { send } : Reflect.get(target, name, target)),
  });
}

describe.each([
  ['writes', { modes: { tunnel: 'audit' } }, [1, 1, 1], [0, 0, 0]],
  ['deletes', null, [0, 0, 0], [1, 1, 1]],
])('a command %s three keys, and gets no response about the second', (_what, next, after, before) => {
  const written = async (bus: Bus) =>
    Promise.all(KEYS.map(async (key) => ((await readConfig(bus, key)) === null ? 0 : 1)));

  it.each([
    ['the bus has stored it: all are written', true],
    ['the bus has not stored it: none is, and the error does not rule it out', false],
  ])('%s', { timeout: 30_000 }, async (_how, isSent) => {
    await using nats = await startBus();
    const bus = await nats.connect('cli');
    const { io } = captureCli();
    const session = (on: Bus) => ({ bus: on, io }) as Session;
    const change = async (key: string, value: Record<string, unknown> | null) => {
      const parsed = parseConfigKey(key);
      return { key: parsed, stored: await readConfig(bus, parsed), next: value, because: 'test' };
    };
    const changes = (value: Record<string, unknown> | null) => Promise.all(KEYS.map((key) => change(key, value)));
    if (!next) await writeAll(session(bus), await changes({ modes: { tunnel: 'off' } }), {});
    const writing = writeAll(session(losingAll(bus, isSent)), await changes(next), {});
    if (isSent) expect((await writing).map(({ key }) => key)).toEqual(KEYS);
    else await expect(writing).rejects.toThrow(/The change may be stored all the same/);
    expect(await written(bus)).toEqual(isSent ? after : before);
  });
});

describe('the temporary policy of `policy learn`', () => {
  const pod = { ...podIdentityOf(WEB, { labels: { app: 'web' } }), nodeName: 'node-a', listRevision: 1 };
  const key = 'runtime.namespace.shop.learn-web-0';

  it.each([
    ['is installed', 'renewed', false],
    ['is installed without a response', 'removed', true],
    ['is renewed without a response', 'renewed', true],
  ])('%s, and is then %s: it is removed', { timeout: 30_000 }, async (_how, then, isLost) => {
    await using nats = await startBus();
    const bus = await nats.connect('cli');
    const notes: string[] = [];
    const session = {
      bus,
      io: captureCli().io,
      out: { note: (text: string) => notes.push(text) },
    } as unknown as Session;
    const seen = new SeenOperations(pod);
    const see = (subject: string) =>
      seen.take(
        'node-a',
        sampleLsmViolation({
          vector: 'x/file-posture',
          pod: WEB,
          counterEpoch: subject,
          operation: sampleOperation({ outcome: 'audit', subject }),
        }),
      );
    const policy = new TemporaryPolicy(session, pod, { record: false, by: 'anna' });
    const lossy = () =>
      Object.assign(session, { bus: isLost ? losingAll(bus, true, `$KV.bailiff_config.${key}`) : bus });
    if (then === 'removed') {
      lossy();
      await expect(policy.install(seen)).rejects.toThrow(/may be stored/);
    } else {
      await policy.install(seen);
      see('/etc/passwd');
      lossy();
      expect(await policy.renew(seen)).toBe(!isLost);
      Object.assign(session, { bus });
      see('/etc/hosts');
      expect(await policy.renew(seen)).toBe(true);
    }
    Object.assign(session, { bus });
    expect(await readConfig(bus, key)).not.toBeNull();
    await policy.remove();
    expect([await readConfig(bus, key), notes.at(-1)]).toEqual([null, expect.stringMatching(/is deleted$/)]);
  });
});
