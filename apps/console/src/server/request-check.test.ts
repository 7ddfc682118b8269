import { describe, expect, it } from 'vitest';
import { type Asked, cookieIn, isOfOtherRun, refusalOf } from './request-check.ts';

const OWN = '127.0.0.1:9470';
const host = { host: OWN };
const origin = `http://${OWN}`;
const api = (method: string, headers: Asked['headers']) => ({ method, isApi: true, headers });
const page = (method: string, headers: Asked['headers']) => ({ method, isApi: false, headers });

describe('requests', () => {
  it.each<[string, Asked, string | null]>([
    ['a page', page('GET', host), null],
    ['a page from a link of another site', page('GET', { ...host, 'sec-fetch-site': 'cross-site' }), null],
    ['a page by another name', page('GET', { host: 'rebound.example:9470' }), 'host'],
    ['a page by a name of this machine', page('GET', { host: 'localhost:9470' }), 'host'],
    ['a page without a name', page('GET', {}), 'host'],
    ['a page at another port', page('GET', { host: '127.0.0.1:80' }), 'host'],
    ['a page by POST', page('POST', { ...host, origin }), 'method'],
    ['data', api('GET', host), null],
    ['data for the page', api('GET', { ...host, 'sec-fetch-site': 'same-origin' }), null],
    ['data for another port', api('GET', { ...host, 'sec-fetch-site': 'same-site' }), 'origin'],
    ['data for another site', api('GET', { ...host, 'sec-fetch-site': 'cross-site' }), 'origin'],
    ['data for another origin', api('GET', { ...host, origin: 'http://127.0.0.1:80' }), 'origin'],
    ['data by another name', api('GET', { host: 'rebound.example:9470' }), 'host'],
    ['a session', api('POST', { ...host, origin }), null],
    ['a session without an origin', api('POST', host), 'origin'],
    ['a session for another origin', api('POST', { ...host, origin: 'http://evil.example' }), 'origin'],
    ['a session for no origin', api('POST', { ...host, origin: 'null' }), 'origin'],
    ['another method', api('DELETE', { ...host, origin }), 'method'],
  ])('%s', (_, asked, refusal) => {
    expect(refusalOf(asked, origin)).toBe(refusal);
  });

  it.each([
    ['127.0.0.1:9470', true],
    ['[::1]:9470', true],
    ['localhost:9470', true],
    ['0123456789abcdef.localhost:9470', true],
    ['127.0.0.1', false],
    ['127.0.0.1:80', false],
    ['rebound.example:9470', false],
    ['localhost.evil.example:9470', false],
    ['evil.example/.localhost:9470', false],
  ])('a page at %s is of another run: %s', (host, isOther) => {
    expect(isOfOtherRun(page('GET', { host }), 'http://fedcba9876543210.localhost:9470')).toBe(isOther);
    expect(isOfOtherRun(api('GET', { host }), 'http://fedcba9876543210.localhost:9470')).toBe(false);
    expect(isOfOtherRun(page('GET', { host }), 'https://bailiff.example:9470')).toBe(false);
  });

  it.each([
    ['a=1; b=2', 'b', '2'],
    ['ab=1', 'b', ''],
    ['b=x=y', 'b', 'x=y'],
    [undefined, 'b', ''],
  ])('cookie - %s: %s', (header, name, value) => {
    expect(cookieIn(header, name)).toBe(value);
  });
});
