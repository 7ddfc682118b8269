import { JetStreamApiError } from '@nats-io/jetstream';
import { errors } from '@nats-io/nats-core';
import { expect, test } from 'vitest';
import { BusError, type BusErrorCode, codeOfRefusal, toBusError } from './errors.ts';

const api = (err_code: number, description: string) => new JetStreamApiError({ code: 400, err_code, description });

test.each<[BusErrorCode, Error]>([
  ['BUS_CONFLICT', api(10071, 'wrong last sequence: 4')],
  ['BUS_NO_STREAM', api(10059, 'stream not found')],
  ['BUS_TIMEOUT', api(10158, 'duplicate message id is in process')],
  ['BUS_FULL', api(10077, 'maximum bytes exceeded')],
  ['BUS_FULL', api(10077, 'maximum messages per subject exceeded')],
  ['BUS_FULL', api(10077, 'write /data/jetstream/BAILIFF/streams/VERDICTS/msgs/1.blk: no space left on device')],
  ['BUS_FULL', api(10077, 'write /data/jetstream/BAILIFF/streams/VERDICTS/msgs/1.blk: disk quota exceeded')],
  ['BUS_REFUSED', api(10077, 'something else')],
  ['BUS_TOO_LARGE', api(10054, 'message size exceeds maximum allowed')],
  ['BUS_TIMEOUT', new errors.TimeoutError()],
  ['BUS_PERMISSION', new errors.PermissionViolationError('x', 'publish', 'a.b')],
  [
    'BUS_PERMISSION',
    new errors.RequestError('x', { cause: new errors.PermissionViolationError('x', 'publish', 'a.b') }),
  ],
  ['BUS_NO_STREAM', new errors.RequestError('x', { cause: new errors.NoRespondersError('a.b') })],
  ['BUS_AUTHENTICATION', new errors.AuthorizationError('Authorization Violation')],
  ['BUS_CLOSED', new errors.ClosedConnectionError()],
  ['BUS_CLOSED', new errors.DrainingConnectionError()],
  ['BUS_UNREACHABLE', new errors.ConnectionError('connection refused')],
  ['BUS_UNREACHABLE', new Error('connect ECONNREFUSED 127.0.0.1:4222')],
  ['BUS_TOO_LARGE', errors.InvalidArgumentError.format('payload', 'max_payload size exceeded')],
  ['BUS_REFUSED', new Error('who knows')],
])('errors - %s', (code, cause) => {
  const error = toBusError(cause, 'doing it');
  expect(error).toBeInstanceOf(BusError);
  expect(error.code).toBe(code);
  expect(error.cause).toBe(cause);
  expect(error.message).toMatch(/^doing it: /);
});

test('errors - a BusError passes through, and the number of JetStream is kept', () => {
  const error = new BusError('BUS_FULL', 'full');
  expect(toBusError(error, 'again')).toBe(error);
  expect(toBusError(api(10071, 'wrong last sequence: 4'), 'put').apiCode).toBe(10071);
  expect(codeOfRefusal(1, '')).toBe('BUS_REFUSED');
});
