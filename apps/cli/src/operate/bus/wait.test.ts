import { BusError } from '@bailiff/bus';
import { describe, expect, it } from 'vitest';
import { CliError } from '../../shared/errors.ts';
import { captureCli } from '../../testing.ts';
import { canPass, untilTheBusIsUp } from './wait.ts';

const unreachable = (why: string) => new BusError('BUS_UNREACHABLE', why);

describe('what can pass', () => {
  it.each([
    ['no server yet', unreachable('connect ECONNREFUSED 10.96.0.7:4222'), true],
    ['a server without a response', new BusError('BUS_TIMEOUT', 'timeout'), true],
    ['a Secret that is being written', new BusError('BUS_AUTHENTICATION', 'Authorization Violation'), true],
    [
      'TLS that is not ready',
      new BusError('BUS_REFUSED', 'Client network socket disconnected before secure TLS connection was established'),
      true,
    ],
    ['too few servers of the cluster', new BusError('BUS_REFUSED', 'no suitable peers', { apiCode: 10005 }), true],
    ['JetStream without a leader', new BusError('BUS_NO_STREAM', 'unavailable', { apiCode: 10008 }), true],
    ['JetStream off', new CliError('CLI_BUS', 'off', { cause: new BusError('BUS_TIMEOUT', 'timeout') }), true],
    ['a refused reduction', new BusError('BUS_SHRINK', 'less'), false],
    ['no room', new BusError('BUS_FULL', 'no room', { apiCode: 10047 }), false],
    ['one server for three replicas', new BusError('BUS_REFUSED', 'replicas > 1', { apiCode: 10074 }), true],
    [
      'the same for a stream that exists',
      new BusError('BUS_TOPOLOGY', 'cannot be changed', { cause: new BusError('BUS_REFUSED', '', { apiCode: 10074 }) }),
      true,
    ],
    [
      'another stream that cannot be changed',
      new BusError('BUS_TOPOLOGY', 'cannot be changed', { cause: new BusError('BUS_REFUSED', '', { apiCode: 10052 }) }),
      false,
    ],
    ['a missing file', new CliError('CLI_CONTEXT', '--nats-ca-file: /x does not exist'), false],
    ['a bug', new TypeError('x is not a function'), false],
  ])('%s', (_, error, passes) => {
    expect(canPass(error)).toBe(passes);
  });
});

describe('waiting', () => {
  it('goes on until the bus is up, and reports each reason once', async () => {
    const { io, stderr } = captureCli();
    const failures = [unreachable('ECONNREFUSED'), unreachable('ECONNREFUSED'), new BusError('BUS_TIMEOUT', 'late')];
    let attempts = 0;
    await untilTheBusIsUp(io, 60_000, async () => {
      attempts += 1;
      const failure = failures.shift();
      if (failure) throw failure;
    });
    expect(attempts).toBe(4);
    expect(stderr().match(/waiting for the bus, for up to .* more: (ECONNREFUSED|late)\n/g)).toHaveLength(2);
  });

  it('ends with the last error when its time has passed', async () => {
    let now = 0;
    const { io, stderr } = captureCli({ nowMs: () => now });
    const attempt = async () => {
      now += 20_000;
      throw unreachable(`after ${now}`);
    };
    await expect(untilTheBusIsUp(io, 30_000, attempt)).rejects.toThrow('after 40000');
    expect(stderr()).toBe('waiting for the bus, for up to 10 s more: after 20000\n');
  });

  it.each([
    ['without a time to wait', 0, unreachable('no')],
    ['of an error that cannot pass', 60_000, new BusError('BUS_SHRINK', 'less')],
  ])('there is one attempt %s', async (_, waitMs, error) => {
    const { io, stderr } = captureCli();
    let attempts = 0;
    const attempt = async () => {
      attempts += 1;
      throw error;
    };
    await expect(untilTheBusIsUp(io, waitMs, attempt)).rejects.toBe(error);
    expect([attempts, stderr()]).toEqual([1, '']);
  });
});
