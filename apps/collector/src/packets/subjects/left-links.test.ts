import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { temporaryDirectory } from '@bailiff/service/testing';
import { beforeAll, expect, it } from 'vitest';
import { isLeft } from './left-links.ts';

const sysfs = temporaryDirectory();
beforeAll(() => {
  mkdirSync(path.join(sysfs, 'eth0/device'), { recursive: true });
  for (const name of ['lo', 'eth7', 'veth1', 'teql0']) mkdirSync(path.join(sysfs, name));
});

const mac = '02:00:00:00:00:07';
it.each([
  [true, 'a link without a kind and a device', { name: 'eth7' }],
  [false, 'a network card', { name: 'eth0' }],
  [false, 'loopback', { name: 'lo', ifindex: 1, mac: '00:00:00:00:00:00' }],
  [false, 'a link with a kind', { name: 'veth1', kind: 'veth' }],
  [false, 'a link that is no Ethernet', { name: 'teql0', mac: '' }],
  [false, 'a link that was renamed or deleted meanwhile', { name: 'gone' }],
])('left links - %s: %s', (expected, _what, link) => {
  expect(isLeft({ ifindex: 7, kind: '', mac, ...link }, sysfs)).toBe(expected);
});
