import { expect, test } from 'vitest';
import { type BusStatus, onLoginRefused } from './connect.ts';
import { BusError } from './errors.ts';
import { retryDelayMs } from './login.ts';

test('connect - the wait before the next attempt doubles with each refusal of a token, up to a bound, and is spread', () => {
  const waits = (random: number) => [0, 1, 2, 3, 7, 1_000].map((refusals) => retryDelayMs(refusals, random));
  expect(waits(0)).toEqual([250, 250, 500, 1_000, 15_000, 15_000]);
  expect(waits(1)).toEqual([500, 750, 1_500, 3_000, 45_000, 45_000]);
});

test('connect - a refused login is reported once per connection, and no other error is', () => {
  const statusListeners = new Set<(status: BusStatus) => void>();
  const reported: string[] = [];
  onLoginRefused({ statusListeners }, ({ message }) => reported.push(message));
  const emit = (status: BusStatus) => {
    for (const listener of statusListeners) listener(status);
  };
  const refusal = (message: string): BusStatus => ({
    type: 'error',
    error: new BusError('BUS_AUTHENTICATION', message),
  });
  emit({ type: 'error', error: new BusError('BUS_PERMISSION', 'not there') });
  emit({ type: 'disconnected' });
  emit(refusal('first'));
  emit(refusal('again'));
  emit({ type: 'connected' });
  emit({ type: 'disconnected' });
  emit(refusal('second'));
  expect(reported).toEqual(['first', 'second']);
});
