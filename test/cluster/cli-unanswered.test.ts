// A command that writes several keys gets no response to one of its writes, for as long as it tries.
import { type Bus, BusError, readConfig } from '@bailiff/bus';
import { parseConfigKey } from '@bailiff/policy';
import { describe, expect, it } from 'vitest';
import { writeAll } from '../../apps/cli/src/shared/config/change.ts';
import type { Session } from '../../apps/cli/src/shared/session.ts';
import { captureCli } from '../../apps/cli/src/testing.ts';
import { startBus } from '../support/bus.ts';

const KEYS = ['spoof.namespace.a.default', 'spoof.namespace.b.default', 'spoof.namespace.c.default'] as const;
const UNANSWERED = `$KV.bailiff_config.${KEYS[1]}`;

/** @param isSent the server gets the write, and its response is lost; otherwise it gets nothing */
function losingAll(bus: Bus, isSent: boolean): Bus {
  const send = async (...args: Parameters<Bus['requests']['send']>) => {
    if (args[0] !== UNANSWERED) return bus.requests.send(...args);
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
